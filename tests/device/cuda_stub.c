/* A stub of the CUDA driver (libcuda.so.1) for tests: one "GPU" whose memory is this machine's. Nothing runs on a GPU.
 * The environment variable CUDA_STUB names a file; a number in it is what every call answers from then on, 0 is success. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int status(void) {
    int told = 0;
    const char *path = getenv("CUDA_STUB");
    FILE *file = path ? fopen(path, "r") : NULL;
    if (file) {
        if (fscanf(file, "%d", &told) != 1) told = 0;
        fclose(file);
    }
    return told;
}

int cuInit(unsigned flags) { (void)flags; return status(); }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return status(); }
int cuDeviceGetName(char *name, int size, int device) { (void)device; snprintf(name, size, "Orin (stub)"); return status(); }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    (void)device;
    *value = attribute == 75 ? 8 : 7; /* compute capability 8.7 */
    return status();
}
int cuDevicePrimaryCtxRetain(void **context, int device) { (void)device; *context = (void *)1; return status(); }
int cuCtxSetCurrent(void *context) { return context == (void *)1 ? status() : 201; }
int cuStreamCreate(void **stream, unsigned flags) { (void)flags; *stream = (void *)2; return status(); }
int cuMemAlloc_v2(uint64_t *address, size_t size) { *address = (uint64_t)malloc(size); return status(); }
int cuMemcpyHtoDAsync_v2(uint64_t device, const void *host, size_t size, void *stream) {
    if (stream != (void *)2) return 400;
    memcpy((void *)device, host, size);
    return status();
}
int cuMemcpyDtoHAsync_v2(void *host, uint64_t device, size_t size, void *stream) {
    if (stream != (void *)2) return 400;
    memcpy(host, (void *)device, size);
    return status();
}
int cuStreamSynchronize(void *stream) { return stream == (void *)2 ? status() : 400; }
