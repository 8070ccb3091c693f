/* Preloaded into a role: remembers how to undo what it changes under the folder SHIM_ROOT and has not
 * synced, so that power can be lost after it was killed (power-loss.ts undoes). Also: syncs take as many
 * milliseconds longer as stand in the file SHIM_SYNC, and fail when a word stands there.
 *
 * SHIM_UNDO/data-INODE: before each change of a file: kind, offset, length, size before (u64 each, kind 1
 * write, 2 truncate), and the bytes that were there. After a sync it is emptied, or kind 3 follows with
 * the number of bytes of it that the sync covers.
 * SHIM_UNDO/names: a line before each change of a name: C path, R from to shadow, U path shadow; S folder
 * count after a sync of a folder. SHIM_SHADOW keeps links to what was replaced or removed. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define FDS 65536
#define REAL(type, name, ...)                                     \
  static type (*real)(__VA_ARGS__);                               \
  if (!real) real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

enum { OTHER, FILE_FD, FOLDER_FD };
static struct {
  int kind;
  ino_t inode;
  char *path;
} fds[FDS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *root, *undo, *shadow, *control;
static unsigned long links;

__attribute__((constructor)) static void begin(void) {
  root = getenv("SHIM_ROOT");
  undo = getenv("SHIM_UNDO");
  shadow = getenv("SHIM_SHADOW");
  control = getenv("SHIM_SYNC");
}

static int is_ours(const char *path) {
  if (!root || !undo || !shadow || !path || strncmp(path, root, strlen(root)) != 0) return 0;
  return path[strlen(root)] == '/' || path[strlen(root)] == 0;
}

static ssize_t real_pwrite(int fd, const void *bytes, size_t count, off64_t at) {
  REAL(ssize_t, "pwrite64", int, const void *, size_t, off64_t);
  return real(fd, bytes, count, at);
}

static ssize_t real_write(int fd, const void *bytes, size_t count) {
  REAL(ssize_t, "write", int, const void *, size_t);
  return real(fd, bytes, count);
}

static int real_open(const char *path, int flags, mode_t mode) {
  REAL(int, "open64", const char *, int, ...);
  return real(path, flags, mode);
}

static int real_close(int fd) {
  REAL(int, "close", int);
  return real(fd);
}

static void must(int holds) {
  if (!holds) abort();
}

static void log_path(char *path, ino_t inode) {
  if (inode) snprintf(path, 4096, "%s/data-%lu", undo, (unsigned long)inode);
  else snprintf(path, 4096, "%s/names", undo);
}

static off_t log_size(ino_t inode) {
  char path[4096];
  struct stat state;
  log_path(path, inode);
  return stat(path, &state) == 0 ? state.st_size : 0;
}

/* One write, so that a kill leaves it whole or at the end of the log. */
static void log_add(ino_t inode, const void *bytes, size_t count) {
  char path[4096];
  log_path(path, inode);
  int file = real_open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  must(file >= 0 && real_write(file, bytes, count) == (ssize_t)count);
  real_close(file);
}

static void log_name(const char *format, ...) {
  char line[8192];
  va_list args;
  va_start(args, format);
  int count = vsnprintf(line, sizeof line, format, args);
  va_end(args);
  must(count < (int)sizeof line);
  log_add(0, line, (size_t)count);
}

/* A link to what is at the path, or "-" when nothing is. */
static void keep(const char *path, char *kept) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  snprintf(kept, 4096, "%s/%d-%ld-%lu", shadow, getpid(), now.tv_nsec, links++);
  if (link(path, kept) != 0) strcpy(kept, "-");
}

static int is_tracked(int fd) {
  struct stat state;
  if (fd < 0 || fd >= FDS || fds[fd].kind != FILE_FD) return 0;
  if (fstat(fd, &state) == 0 && S_ISREG(state.st_mode) && state.st_ino == fds[fd].inode) return 1;
  fds[fd].kind = OTHER;
  return 0;
}

/* The lock is held. Bytes [from, to) of the file are about to change, or to go. */
static void note(int fd, uint64_t kind, off64_t from, off64_t to) {
  struct stat state;
  must(fstat(fd, &state) == 0);
  uint64_t head[4] = {kind, (uint64_t)from, (uint64_t)(to - from), (uint64_t)state.st_size};
  off64_t end = to < state.st_size ? to : state.st_size;
  size_t there = end > from ? (size_t)(end - from) : 0, got = 0;
  char *record = malloc(sizeof head + there);
  must(record != NULL);
  memcpy(record, head, sizeof head);
  int reader = fd;
  if (there > 0 && (fcntl(fd, F_GETFL) & O_ACCMODE) == O_WRONLY) {
    char self[64];
    snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
    reader = real_open(self, O_RDONLY | O_CLOEXEC, 0);
  }
  while (got < there) {
    ssize_t count = pread64(reader, record + sizeof head + got, there - got, from + (off64_t)got);
    must(count > 0);
    got += (size_t)count;
  }
  if (reader != fd) real_close(reader);
  log_add(fds[fd].inode, record, sizeof head + there);
  free(record);
}

static off64_t place_of(int fd) {
  struct stat state;
  if (!(fcntl(fd, F_GETFL) & O_APPEND)) return lseek64(fd, 0, SEEK_CUR);
  must(fstat(fd, &state) == 0);
  return state.st_size;
}

#define CHANGING(call, fd, change, from, to)    \
  do {                                        \
    if (!undo || fd < 0 || fd >= FDS || fds[fd].kind != FILE_FD) return call; \
    pthread_mutex_lock(&lock);                \
    int tracked = is_tracked(fd);             \
    if (tracked) note(fd, change, from, to);  \
    if (!tracked) pthread_mutex_unlock(&lock);\
    __typeof__(call) result = call;           \
    int error = errno;                        \
    if (tracked) pthread_mutex_unlock(&lock); \
    errno = error;                            \
    return result;                            \
  } while (0)

static off64_t bytes_of(const struct iovec *parts, int count) {
  off64_t bytes = 0;
  for (int at = 0; at < count; at++) bytes += (off64_t)parts[at].iov_len;
  return bytes;
}

ssize_t write(int fd, const void *bytes, size_t count) {
  CHANGING(real_write(fd, bytes, count), fd, 1, place_of(fd), place_of(fd) + (off64_t)count);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
  CHANGING(real_pwrite(fd, bytes, count, at), fd, 1, at, at + (off64_t)count);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) {
  return pwrite64(fd, bytes, count, at);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
  REAL(ssize_t, "writev", int, const struct iovec *, int);
  CHANGING(real(fd, parts, count), fd, 1, place_of(fd), place_of(fd) + bytes_of(parts, count));
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t at) {
  REAL(ssize_t, "pwritev64", int, const struct iovec *, int, off64_t);
  CHANGING(real(fd, parts, count, at), fd, 1, at, at + bytes_of(parts, count));
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) {
  return pwritev64(fd, parts, count, at);
}

static off64_t end_of(int fd, off64_t length) {
  struct stat state;
  return fstat(fd, &state) == 0 && state.st_size > length ? state.st_size : length;
}

int ftruncate64(int fd, off64_t length) {
  REAL(int, "ftruncate64", int, off64_t);
  CHANGING(real(fd, length), fd, 2, length, end_of(fd, length));
}

int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

static int opened(const char *path, int flags, mode_t mode) {
  if (!is_ours(path)) return real_open(path, flags, mode);
  struct stat state;
  pthread_mutex_lock(&lock);
  int was_there = stat(path, &state) == 0;
  if (!was_there && (flags & O_CREAT)) log_name("C\t%s\n", path);
  int fd = real_open(path, flags & ~O_TRUNC, mode);
  int error = errno;
  if (fd >= 0 && fd < FDS && fstat(fd, &state) == 0) {
    fds[fd].kind = S_ISDIR(state.st_mode) ? FOLDER_FD : S_ISREG(state.st_mode) ? FILE_FD : OTHER;
    fds[fd].inode = state.st_ino;
    free(fds[fd].path);
    fds[fd].path = strdup(path);
    if (!was_there) {
      /* Another file may have had the inode before. */
      char log[4096];
      log_path(log, state.st_ino);
      unlink(log);
    }
  }
  pthread_mutex_unlock(&lock);
  if (fd >= 0 && (flags & O_TRUNC)) must(ftruncate64(fd, 0) == 0);
  errno = error;
  return fd;
}

#define OPEN(name)                            \
  int name(const char *path, int flags, ...) { \
    va_list args;                             \
    va_start(args, flags);                    \
    mode_t mode = va_arg(args, mode_t);       \
    va_end(args);                             \
    return opened(path, flags, mode);         \
  }
OPEN(open)
OPEN(open64)

int close(int fd) {
  if (undo && fd >= 0 && fd < FDS && fds[fd].kind != OTHER) {
    pthread_mutex_lock(&lock);
    fds[fd].kind = OTHER;
    pthread_mutex_unlock(&lock);
  }
  return real_close(fd);
}

int rename(const char *from, const char *to) {
  REAL(int, "rename", const char *, const char *);
  if (!is_ours(to)) return real(from, to);
  char kept[4096];
  pthread_mutex_lock(&lock);
  keep(to, kept);
  log_name("R\t%s\t%s\t%s\n", from, to, kept);
  int result = real(from, to), error = errno;
  pthread_mutex_unlock(&lock);
  errno = error;
  return result;
}

int unlink(const char *path) {
  REAL(int, "unlink", const char *);
  if (!is_ours(path)) return real(path);
  char kept[4096];
  pthread_mutex_lock(&lock);
  keep(path, kept);
  if (strcmp(kept, "-") != 0) log_name("U\t%s\t%s\n", path, kept);
  int result = real(path), error = errno;
  pthread_mutex_unlock(&lock);
  errno = error;
  return result;
}

static int is_told_to_fail(void) {
  char text[32] = {0};
  int file = control ? real_open(control, O_RDONLY | O_CLOEXEC, 0) : -1;
  if (file < 0) return 0;
  if (read(file, text, sizeof text - 1) < 0) text[0] = 0;
  real_close(file);
  long ms = atol(text);
  struct timespec pause = {ms / 1000, (ms % 1000) * 1000000};
  if (ms > 0) nanosleep(&pause, NULL);
  return text[0] >= 'a';
}

static int synced(int fd, int (*real)(int)) {
  int kind = OTHER;
  char folder[4096] = "";
  ino_t inode = 0;
  off_t covered = 0;
  if (undo && fd >= 0 && fd < FDS && fds[fd].kind != OTHER) {
    pthread_mutex_lock(&lock);
    kind = fds[fd].kind;
    inode = kind == FILE_FD ? fds[fd].inode : 0;
    snprintf(folder, sizeof folder, "%s", fds[fd].path);
    covered = log_size(inode);
    pthread_mutex_unlock(&lock);
  }
  if (is_told_to_fail()) {
    errno = EIO;
    return -1;
  }
  int result = real(fd), error = errno;
  if (result == 0 && kind != OTHER && covered > 0) {
    pthread_mutex_lock(&lock);
    char log[4096];
    uint64_t head[4] = {3, (uint64_t)covered, 0, 0};
    log_path(log, inode);
    if (kind == FOLDER_FD) log_name("S\t%s\t%ld\n", folder, (long)covered);
    else if (log_size(inode) == covered) must(truncate(log, 0) == 0);
    else log_add(inode, head, sizeof head);
    pthread_mutex_unlock(&lock);
  }
  errno = error;
  return result;
}

int fdatasync(int fd) {
  REAL(int, "fdatasync", int);
  return synced(fd, real);
}

int fsync(int fd) {
  REAL(int, "fsync", int);
  return synced(fd, real);
}
