/* Counts what a frame makes the C library do; loaded before it (LD_PRELOAD), asked through ctypes.

   Only while counting: blocks of memory of at least LARGE bytes, bytes copied in pieces of at least a ROW (by memcpy and
   memmove; OpenCV's and NumPy's loops of SIMD instructions are not seen), and flushes of files to the disk. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>

enum { LARGE = 16384, ROW = 512, BLOCKS = 0, BYTES = 1, COPIED = 2, FLUSHES = 3 };

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

static atomic_int counting;
static atomic_long found[4];

void count_frames(int on) { counting = on; }

long counted(int which) { return atomic_exchange(&found[which], 0); }

static void took(size_t size) {
    if (counting && size >= LARGE) {
        atomic_fetch_add(&found[BLOCKS], 1);
        atomic_fetch_add(&found[BYTES], (long)size);
    }
}

void *malloc(size_t size) { took(size); return __libc_malloc(size); }

void *calloc(size_t count, size_t size) { took(count * size); return __libc_calloc(count, size); }

void *realloc(void *block, size_t size) { took(size); return __libc_realloc(block, size); }

void *aligned_alloc(size_t alignment, size_t size) { took(size); return __libc_memalign(alignment, size); }

int posix_memalign(void **block, size_t alignment, size_t size) {
    took(size);
    *block = __libc_memalign(alignment, size);
    return *block ? 0 : ENOMEM;
}

typedef void *(*copy_t)(void *, const void *, size_t);

static void *copy(copy_t *real, const char *name, void *to, const void *from, size_t size) {
    if (counting && size >= ROW)
        atomic_fetch_add(&found[COPIED], (long)size);
    if (!*real)
        *real = (copy_t)dlsym(RTLD_NEXT, name);
    return (*real)(to, from, size);
}

void *memcpy(void *to, const void *from, size_t size) {
    static copy_t real;
    return copy(&real, "memcpy", to, from, size);
}

void *memmove(void *to, const void *from, size_t size) {
    static copy_t real;
    return copy(&real, "memmove", to, from, size);
}

static int flush(const char *name, int file) {
    if (counting)
        atomic_fetch_add(&found[FLUSHES], 1);
    return ((int (*)(int))dlsym(RTLD_NEXT, name))(file);
}

int fsync(int file) { return flush("fsync", file); }

int fdatasync(int file) { return flush("fdatasync", file); }
