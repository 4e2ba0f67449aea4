/* A wall clock that jumps. Loaded before the C library (LD_PRELOAD), it adds to the time of day an offset that is
 * another one at every seventh call: hours forward, hours back, days back. CLOCK_JUMP_BASE (seconds) is added to all of
 * them. Monotonic clocks are the system's own. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

static const long OFFSETS[] = {0, 3 * 3600, -5 * 3600, 26 * 3600, -3 * 86400, 40};

static long offset(void)
{
    static atomic_ulong calls;
    const char *base = getenv("CLOCK_JUMP_BASE");
    unsigned long number = atomic_fetch_add(&calls, 1) / 7;
    return OFFSETS[number % (sizeof OFFSETS / sizeof *OFFSETS)] + (base == NULL ? 0 : atol(base));
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    static int (*real)(clockid_t, struct timespec *);
    if (real == NULL) {
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    }
    int result = real(clock, now);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        now->tv_sec += offset();
    }
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    struct timespec precise;
    (void)zone;
    int result = clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return result;
}

time_t time(time_t *place)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (place != NULL) {
        *place = now.tv_sec;
    }
    return now.tv_sec;
}
