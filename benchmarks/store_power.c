/* Writes down every change that a process makes to files below $STORE_LOG_ROOT, in order. LD_PRELOAD.
   Written for benchmarks/store_power.py, which plays the log back up to a cut of the power.
   One record: kind, file number, offset, length of what follows (a path or bytes). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static int out = -1;
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static void record(char kind, uint64_t node, uint64_t at, const void *data, uint64_t size) {
  char head[25];
  if (out < 0) out = REAL(open64)(getenv("STORE_LOG"), O_WRONLY | O_CREAT | O_APPEND, 0600);
  head[0] = kind;
  memcpy(head + 1, &node, 8); memcpy(head + 9, &at, 8); memcpy(head + 17, &size, 8);
  REAL(write)(out, head, 25);
  if (size) REAL(write)(out, data, size);
}
static uint64_t node_of(int fd) {
  char link[64], path[PATH_MAX];
  struct stat about;
  const char *root = getenv("STORE_LOG_ROOT");
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = 0;
  if (root == NULL || strncmp(path, root, strlen(root)) || fstat(fd, &about)) return 0;
  return about.st_ino;
}
#define LOGGED(call, kind, at, data, size) \
  pthread_mutex_lock(&turn); \
  __typeof__(call) code = call; \
  uint64_t node = code >= 0 ? node_of(fd) : 0; \
  if (node) record(kind, node, at, data, size); \
  pthread_mutex_unlock(&turn); \
  return code;

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
  LOGGED(REAL(pwrite64)(fd, data, size, at), 'w', at, data, (uint64_t)code)
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) { return pwrite64(fd, data, size, at); }
ssize_t write(int fd, const void *data, size_t size) {
  off64_t at = lseek64(fd, 0, SEEK_CUR);
  LOGGED(REAL(write)(fd, data, size), 'w', at, data, (uint64_t)code)
}
int ftruncate64(int fd, off64_t size) { LOGGED(REAL(ftruncate64)(fd, size), 't', size, NULL, 0) }
int fsync(int fd) { LOGGED(REAL(fsync)(fd), 's', 0, NULL, 0) }
int fdatasync(int fd) { LOGGED(REAL(fdatasync)(fd), 's', 0, NULL, 0) }

static int opened(int fd, const char *path, int flags) {
  if (fd >= 0 && flags & (O_CREAT | O_TRUNC)) {
    uint64_t node = node_of(fd);
    char full[PATH_MAX];
    if (node && realpath(path, full)) {
      record('n', node, 0, full, strlen(full));
      if (flags & O_TRUNC) record('t', node, 0, NULL, 0);
    }
  }
  return fd;
}
int open64(const char *path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  int mode = va_arg(more, int);
  va_end(more);
  pthread_mutex_lock(&turn);
  int fd = opened(REAL(open64)(path, flags, mode), path, flags);
  pthread_mutex_unlock(&turn);
  return fd;
}
int open(const char *path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  int mode = va_arg(more, int);
  va_end(more);
  return open64(path, flags, mode);
}
int mkdir(const char *path, mode_t mode) {
  pthread_mutex_lock(&turn);
  int code = REAL(mkdir)(path, mode);
  if (code == 0) { struct stat about; if (!stat(path, &about)) record('d', about.st_ino, 0, path, strlen(path)); }
  pthread_mutex_unlock(&turn);
  return code;
}
static int moved(int code, const char *from, const char *to) {
  struct stat about;
  if (code == 0 && !stat(to, &about)) {
    record('r', about.st_ino, 0, from, strlen(from));
    record('n', about.st_ino, 0, to, strlen(to));
  }
  return code;
}
int rename(const char *from, const char *to) {
  pthread_mutex_lock(&turn);
  int code = moved(REAL(rename)(from, to), from, to);
  pthread_mutex_unlock(&turn);
  return code;
}
int unlink(const char *path) {
  pthread_mutex_lock(&turn);
  int code = REAL(unlink)(path);
  if (code == 0) record('r', 0, 0, path, strlen(path));
  pthread_mutex_unlock(&turn);
  return code;
}
/* The promise: called when a result has been acknowledged. */
void acknowledged(long number) {
  pthread_mutex_lock(&turn);
  record('a', number, 0, NULL, 0);
  pthread_mutex_unlock(&turn);
}
