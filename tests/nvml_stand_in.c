/* A stand-in for libnvidia-ml.so.1 on machines without a GPU: three devices, one cut into slices, one lost, behind the
 * driver library's own calls. Tests load it through the dynamic linker, so that everything from nvml.py down to the
 * call is what runs beside a real driver. It leaves out what older drivers lack, and answers "not supported" where
 * products do. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { OK = 0, INVALID = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, TOO_SMALL = 7, LOST = 15 };

struct memory { unsigned long long total, free, used; };
struct use { unsigned gpu, memory; };
struct process { unsigned pid; unsigned long long used; unsigned gpu_instance, compute_instance; };

/* A handle is the address of one of these bytes: 0 plain, 1 cut, 2 lost, 3 and 4 the slices of 1. */
static char devices[5];
static int number(void *handle) { return (int)((char *)handle - devices); }

int nvmlInitWithFlags(unsigned flags) { (void)flags; return OK; }
int nvmlShutdown(void) { return OK; }
const char *nvmlErrorString(int code) { return code == LOST ? "GPU is lost" : "not so"; }
int nvmlSystemGetDriverVersion(char *text, unsigned length) { snprintf(text, length, "550.1"); return OK; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 3; return OK; }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) {
    if (index == 2) return LOST;
    *handle = devices + index;
    return OK;
}

int nvmlDeviceGetUUID(void *handle, char *text, unsigned length) {
    static const char *uuids[] = {"GPU-aaaa", "GPU-bbbb", "", "MIG-cccc", "MIG-dddd"};
    snprintf(text, length, "%s", uuids[number(handle)]);
    return OK;
}

int nvmlDeviceGetName(void *handle, char *text, unsigned length) {
    snprintf(text, length, "Stand-in %d", number(handle));
    return OK;
}

int nvmlDeviceGetMemoryInfo(void *handle, struct memory *memory) {
    if (number(handle) == 1) return NOT_SUPPORTED;
    memory->total = 1000;
    memory->used = 100 + (unsigned)number(handle);
    memory->free = memory->total - memory->used;
    return OK;
}

int nvmlDeviceGetCudaComputeCapability(void *handle, int *major, int *minor) {
    (void)handle;
    *major = 9;
    *minor = 0;
    return OK;
}

int nvmlDeviceGetMigMode(void *handle, unsigned *now, unsigned *pending) {
    if (number(handle) == 0) return NOT_SUPPORTED;
    *now = *pending = 1;
    return OK;
}

int nvmlDeviceGetMaxMigDeviceCount(void *handle, unsigned *count) { (void)handle; *count = 4; return OK; }

/* Slices lie in places 1 and 3. */
int nvmlDeviceGetMigDeviceHandleByIndex(void *handle, unsigned place, void **slice) {
    (void)handle;
    if (place % 2 == 0) return NOT_FOUND;
    *slice = devices + 3 + place / 2;
    return OK;
}

int nvmlDeviceGetGpuInstanceId(void *handle, unsigned *id) { *id = 10u + (unsigned)number(handle); return OK; }
int nvmlDeviceGetComputeInstanceId(void *handle, unsigned *id) { (void)handle; *id = 0; return OK; }

int nvmlDeviceGetTotalEccErrors(void *handle, unsigned type, unsigned counter, unsigned long long *count) {
    if (number(handle) != 0) return NOT_SUPPORTED;
    if (type != 1 || counter != 0) return INVALID;
    *count = 5;
    return OK;
}

int nvmlDeviceGetComputeMode(void *handle, unsigned *mode) { *mode = number(handle) == 0 ? 3 : 0; return OK; }

/* The newer nvmlDeviceGetCurrentClocksEventReasons is missing. 0x1 is idle, 0x4 the power cap. */
int nvmlDeviceGetCurrentClocksThrottleReasons(void *handle, unsigned long long *reasons) {
    *reasons = number(handle) == 0 ? 0x5 : 0x1;
    return OK;
}

/* The test's own process and one other compute on the first device. */
int nvmlDeviceGetComputeRunningProcesses_v3(void *handle, unsigned *count, struct process *processes) {
    extern int getpid(void);
    if (number(handle) != 0) { *count = 0; return OK; }
    if (processes == NULL || *count < 2) { *count = 2; return TOO_SMALL; }
    *count = 2;
    memset(processes, 0, 2 * sizeof *processes);
    processes[0].pid = 4000000;
    processes[0].used = 77;
    processes[1].pid = (unsigned)getpid();
    processes[1].used = ~0ull;
    return OK;
}

int nvmlDeviceGetCpuAffinity(void *handle, unsigned words, unsigned long *mask) {
    (void)handle;
    memset(mask, 0, words * sizeof *mask);
    mask[0] = 0x5;
    return OK;
}

int nvmlDeviceGetUtilizationRates(void *handle, struct use *use) {
    static int asked;
    if (number(handle) != 0) return INVALID;
    if (asked++) return LOST; /* the first device is lost after its first sample */
    use->gpu = 42;
    return OK;
}

int nvmlDeviceGetPowerUsage(void *handle, unsigned *milliwatts) {
    if (number(handle) != 0) return INVALID;
    *milliwatts = 12500;
    return OK;
}

int nvmlDeviceGetTemperature(void *handle, unsigned sensor, unsigned *degrees) {
    (void)handle;
    (void)sensor;
    (void)degrees;
    return NOT_SUPPORTED;
}
