/* Lets another process set what store_full.c and store_clock.c do to this one: a thread follows the numbers in the file
   that FAULTS_CONTROL names (every k-th write fails; seconds by which the clock is wrong), and says how many writes
   failed. LD_PRELOAD, with those two. Written for benchmarks/daemon_faults.py. */
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

void fail_every(long k);
long failed_calls(void);
void set_clock(long seconds);

static void *follow(void *place) {
  volatile long *wanted = place;
  long every = 0, shift = 0;
  for (;; usleep(500)) {
    if (wanted[0] != every) fail_every(every = wanted[0]);
    if (wanted[1] != shift) set_clock(shift = wanted[1]);
    wanted[2] = failed_calls();
  }
  return NULL;
}

__attribute__((constructor)) static void begin(void) {
  const char *path = getenv("FAULTS_CONTROL");
  int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
  pthread_t thread;
  if (fd < 0) return;
  void *place = mmap(NULL, 3 * sizeof(long), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (place != MAP_FAILED) pthread_create(&thread, NULL, follow, place);
}
