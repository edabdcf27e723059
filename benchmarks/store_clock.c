/* A wall clock that can be set without being root: CLOCK_REALTIME shifted by what set_clock was given. LD_PRELOAD.
   Written for benchmarks/store_clock.py. Monotonic clocks are left alone, as the kernel leaves them. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <sys/time.h>
#include <time.h>

static long shift;
void set_clock(long seconds) { shift = seconds; }
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int clock_gettime(clockid_t which, struct timespec *now) {
  int code = REAL(clock_gettime)(which, now);
  if (code == 0 && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE)) now->tv_sec += shift;
  return code;
}
int gettimeofday(struct timeval *now, void *zone) {
  int code = REAL(gettimeofday)(now, zone);
  if (code == 0) now->tv_sec += shift;
  return code;
}
time_t time(time_t *out) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (out != NULL) *out = now.tv_sec;
  return now.tv_sec;
}
