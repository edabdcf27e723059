/* Makes every k-th write to a file fail as a full disk does, and every k-th flush as a failing one. LD_PRELOAD.
   Written for benchmarks/store_full.py, which sets k. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <sys/types.h>
#include <unistd.h>

static atomic_long every, calls;
void fail_every(long k) { every = k; calls = 0; }
long failed_calls(void) { return every ? calls / every : 0; }

static int fails(int fd) { return fd > 2 && every && ++calls % every == 0; }
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int fd, const void *data, size_t size) {
  if (fails(fd)) { errno = ENOSPC; return -1; }
  return REAL(write)(fd, data, size);
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
  if (fails(fd)) { errno = ENOSPC; return -1; }
  return REAL(pwrite)(fd, data, size, at);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
  if (fails(fd)) { errno = ENOSPC; return -1; }
  return REAL(pwrite64)(fd, data, size, at);
}
int ftruncate64(int fd, off64_t size) {
  if (fails(fd)) { errno = ENOSPC; return -1; }
  return REAL(ftruncate64)(fd, size);
}
int fsync(int fd) {
  if (fails(fd)) { errno = EIO; return -1; }
  return REAL(fsync)(fd);
}
int fdatasync(int fd) {
  if (fails(fd)) { errno = EIO; return -1; }
  return REAL(fdatasync)(fd);
}
