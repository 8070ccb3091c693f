/* Preloaded into a role: syncs take SHIM_SYNC_MS longer, the wall clock is ahead by the whole number of
 * seconds that stands in the file SHIM_CLOCK, and syncs fail once the file SHIM_BROKEN is there. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static void wait_as_told(void) {
  const char *told = getenv("SHIM_SYNC_MS");
  long ms = told ? atol(told) : 0;
  struct timespec pause = {ms / 1000, (ms % 1000) * 1000000};
  if (ms > 0) nanosleep(&pause, NULL);
}

static long ahead_seconds(void) {
  const char *path = getenv("SHIM_CLOCK");
  char text[32] = {0};
  int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (file < 0) return 0;
  if (read(file, text, sizeof text - 1) < 0) text[0] = 0;
  close(file);
  return atol(text);
}

static int is_broken(void) {
  const char *path = getenv("SHIM_BROKEN");
  return path && access(path, F_OK) == 0;
}

static int sync_by(const char *name, int file) {
  int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
  wait_as_told();
  if (is_broken()) {
    errno = EIO;
    return -1;
  }
  return real(file);
}

int fdatasync(int file) { return sync_by("fdatasync", file); }

int fsync(int file) { return sync_by("fsync", file); }

int clock_gettime(clockid_t clock, struct timespec *time) {
  int (*real)(clockid_t, struct timespec *) =
      (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
  int result = real(clock, time);
  if (clock == CLOCK_REALTIME && result == 0) time->tv_sec += ahead_seconds();
  return result;
}

int gettimeofday(struct timeval *time, void *zone) {
  int (*real)(struct timeval *, void *) =
      (int (*)(struct timeval *, void *))dlsym(RTLD_NEXT, "gettimeofday");
  int result = real(time, zone);
  if (result == 0) time->tv_sec += ahead_seconds();
  return result;
}
