/* Makes every k-th write to a file fail as a full disk does, and every k-th flush as a failing one. LD_PRELOAD.
   Written for benchmarks/store_full.py, which sets k. With FULL_UNDER in the environment only files below that folder. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static atomic_long every, calls;
void fail_every(long k) { every = k; calls = 0; }
long failed_calls(void) { return every ? calls / every : 0; }

static int inside(int fd) {
  const char *folder = getenv("FULL_UNDER");
  char link[32], path[4096];
  if (folder == NULL) return 1;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t size = readlink(link, path, sizeof path);
  return size >= (ssize_t)strlen(folder) && memcmp(path, folder, strlen(folder)) == 0;
}

static int fails(int fd) { return fd > 2 && every && inside(fd) && ++calls % every == 0; }
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
