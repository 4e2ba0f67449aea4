/* A disk that is full for some files only. Loaded before the C library (LD_PRELOAD), it lets write calls fail with
 * "No space left on device" once a file whose path contains FULL_DISK would grow beyond FULL_DISK_BYTES, after
 * writing the part that still fits, as a real disk does. Files below a folder in FULL_DISK cannot be made then either,
 * if FULL_DISK_BYTES is 0. While the file FULL_DISK_UNLESS exists, there is room. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static long long limit_of(const char *path)
{
    const char *part = getenv("FULL_DISK"), *bytes = getenv("FULL_DISK_BYTES"), *unless = getenv("FULL_DISK_UNLESS");
    if (part == NULL || strstr(path, part) == NULL || (unless != NULL && access(unless, F_OK) == 0)) {
        return -1;
    }
    return bytes == NULL ? 0 : atoll(bytes);
}

/* How many of `count` bytes at `offset` (-1: at the end) fit; -1 when none does. */
static ssize_t fitting(int file, size_t count, long long offset)
{
    char link[64], path[4096];
    struct stat state;
    int saved = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    errno = saved;
    if (length < 0 || count == 0) {
        return (ssize_t)count;
    }
    path[length] = '\0';
    long long limit = limit_of(path);
    if (limit < 0 || fstat(file, &state) != 0 || !S_ISREG(state.st_mode)) {
        return (ssize_t)count;
    }
    long long room = limit - (offset < 0 ? (long long)state.st_size : offset);
    if (room <= 0) {
        errno = ENOSPC;
        return -1;
    }
    return room < (long long)count ? (ssize_t)room : (ssize_t)count;
}

ssize_t write(int file, const void *bytes, size_t count)
{
    static ssize_t (*real)(int, const void *, size_t);
    if (real == NULL) {
        real = dlsym(RTLD_NEXT, "write");
    }
    ssize_t fits = fitting(file, count, -1);
    return fits < 0 ? -1 : real(file, bytes, (size_t)fits);
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t offset)
{
    static ssize_t (*real)(int, const void *, size_t, off64_t);
    if (real == NULL) {
        real = dlsym(RTLD_NEXT, "pwrite64");
    }
    ssize_t fits = fitting(file, count, offset);
    return fits < 0 ? -1 : real(file, bytes, (size_t)fits, offset);
}

ssize_t pwrite(int file, const void *bytes, size_t count, off_t offset)
{
    return pwrite64(file, bytes, count, offset);
}

ssize_t writev(int file, const struct iovec *pieces, int count)
{
    for (int number = 0; number < count; number++) {
        if (pieces[number].iov_len > 0) { /* a short write is allowed */
            return write(file, pieces[number].iov_base, pieces[number].iov_len);
        }
    }
    return 0;
}
