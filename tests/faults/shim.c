/* A disk that fails on demand: preloaded, it sits between every library of a process and libc.

   It counts the calls that touch files below one folder ("steps") and, at step N or from N on,
   kills the process, sends it a signal, fails the call with an error number, or does half of it.
   It can write a journal of everything that reached the disk, from which `power.py` rebuilds what a
   power loss would have left. Everything is off until `fault_arm` is called. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum op { OPEN = 1, WRITE = 2, SYNC = 4, NAME = 8, UNLINK = 16, MKDIR = 32, TRUNCATE = 64,
          READ = 128, OPENREAD = 256 };
enum what { COUNT = 0, KILL = 1, ERROR = 2, SHORT = 3, SIGNAL = 4, BUDGET = 5 };

/* Shared by parent and child: what a killed child had counted can still be read. */
struct shared { long steps; long hits; long bytes; };

static struct shared *seen;
static char root[PATH_MAX];
static size_t root_length;
static int armed, what, mask, persistent, number, journal = -1;
static long at;
static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;
static __thread int inside;

/* Make fresh counters for the next child, and return them: steps, hits, bytes. */
long *fault_counters(void) {
    seen = mmap(NULL, sizeof *seen, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return (long *)seen;
}
void fault_forget(long *counters) { munmap(counters, sizeof *seen); }

/* The clock of the wall, moved by `clock_jump` seconds from its `clock_at`-th reading on. */
static long clock_jump, clock_at, clock_read;
void fault_clock(long seconds, long reading) { clock_jump = seconds; clock_at = reading; }
int clock_gettime(clockid_t which, struct timespec *now) {
    int done = syscall(SYS_clock_gettime, which, now);
    if (which == CLOCK_REALTIME && clock_jump && ++clock_read >= clock_at)
        now->tv_sec += clock_jump;
    return done;
}

/* Begin: `where` is the folder, `step` the first step (or the bytes of a BUDGET). */
void fault_arm(const char *where, int kind, long step, int operations, int error, int goes_on,
               const char *journal_path) {
    strncpy(root, where, sizeof root - 1);
    root_length = strlen(root);
    what = kind; at = step; mask = operations; number = error; persistent = goes_on;
    if (journal_path && *journal_path)
        journal = syscall(SYS_openat, AT_FDCWD, journal_path,
                          O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    armed = 1;
}

void fault_disarm(void) { armed = 0; }

static int is_below(const char *path) {
    return strncmp(path, root, root_length) == 0
        && (path[root_length] == '/' || path[root_length] == 0);
}

static int path_of(int descriptor, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, path, PATH_MAX - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return 1;
}

static int resolve(int folder, const char *name, char *path) {
    if (name[0] == '/') { strncpy(path, name, PATH_MAX - 1); path[PATH_MAX - 1] = 0; return 1; }
    char base[PATH_MAX];
    if (folder == AT_FDCWD) { if (syscall(SYS_getcwd, base, sizeof base) < 0) return 0; }
    else if (!path_of(folder, base)) return 0;
    return snprintf(path, PATH_MAX, "%s/%s", base, name) < PATH_MAX;
}

/* Whether a call on this path is watched now; leaves the absolute path in `path`. */
static int watched(int folder, const char *name, char *path) {
    return armed && !inside && resolve(folder, name, path) && is_below(path);
}

static int watched_fd(int descriptor, char *path) {
    if (!armed || inside) return 0;
    return path_of(descriptor, path) && is_below(path);
}

/* One line of the journal, then the bytes: "op ino offset length path\tother\n" */
static void note(const char *op, long ino, long offset, const void *data, long length,
                 const char *path, const char *other) {
    if (journal < 0) return;
    char line[3 * PATH_MAX];
    int size = snprintf(line, sizeof line, "%s %ld %ld %ld %s\t%s\n", op, ino, offset, length, path,
                        other);
    syscall(SYS_write, journal, line, size);
    const char *rest = data;
    while (length > 0) {
        ssize_t done = syscall(SYS_write, journal, rest, length);
        if (done <= 0) return;
        rest += done; length -= done;
    }
}

static long inode_of(int descriptor) {
    struct stat status;
    return fstat(descriptor, &status) == 0 ? (long)status.st_ino : -1;
}

/* Count a step. 0: go on; 1: do half of it; -1: fail with errno. */
static int step(int op) {
    if (!(mask & op)) return 0;
    long now = ++seen->steps;
    if (what == COUNT || what == BUDGET) return 0;
    if (!(now == at || (persistent && now >= at))) return 0;
    seen->hits++;
    switch (what) {
    case KILL:
        syscall(SYS_kill, getpid(), SIGKILL);
        for (;;) pause();
    case SIGNAL: {
        int was = inside;
        inside = 0;
        syscall(SYS_kill, getpid(), number);
        inside = was;
        return 0;
    }
    case SHORT: return 1;
    default: errno = number; return -1;
    }
}

#define ENTER pthread_mutex_lock(&guard); inside = 1
#define LEAVE do { int kept = errno; inside = 0; pthread_mutex_unlock(&guard); errno = kept; } \
    while (0)

/* --- open ------------------------------------------------------------------------------------ */

static int open_below(int folder, const char *name, int flags, mode_t mode, const char *path) {
    ENTER;
    int writes = (flags & O_ACCMODE) != O_RDONLY || (flags & (O_CREAT | O_TRUNC));
    int done = step(writes ? OPEN : OPENREAD) < 0 ? -1
        : (int)syscall(SYS_openat, folder, name, flags, mode);
    if (done >= 0 && writes)
        note(flags & O_TRUNC ? "opentrunc" : "open", inode_of(done), 0, NULL, 0, path, "");
    LEAVE;
    return done;
}

#define OPENS(name, ...) \
    va_list rest; va_start(rest, flags); \
    mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
    va_end(rest); \
    char path[PATH_MAX]

int open(const char *name, int flags, ...) {
    OPENS(name);
    if (watched(AT_FDCWD, name, path)) return open_below(AT_FDCWD, name, flags, mode, path);
    return syscall(SYS_openat, AT_FDCWD, name, flags, mode);
}
int open64(const char *name, int flags, ...) {
    OPENS(name);
    flags |= O_LARGEFILE;
    if (watched(AT_FDCWD, name, path)) return open_below(AT_FDCWD, name, flags, mode, path);
    return syscall(SYS_openat, AT_FDCWD, name, flags, mode);
}
int openat(int folder, const char *name, int flags, ...) {
    OPENS(name);
    if (watched(folder, name, path)) return open_below(folder, name, flags, mode, path);
    return syscall(SYS_openat, folder, name, flags, mode);
}
int openat64(int folder, const char *name, int flags, ...) {
    OPENS(name);
    flags |= O_LARGEFILE;
    if (watched(folder, name, path)) return open_below(folder, name, flags, mode, path);
    return syscall(SYS_openat, folder, name, flags, mode);
}

/* --- write ----------------------------------------------------------------------------------- */

/* How much of a write to do; -1: none, errno is set. */
static ssize_t allowed(size_t size) {
    int told = step(WRITE);
    if (told < 0) return -1;
    if (told > 0 && size > 1) return size / 2;
    if (what == BUDGET && (mask & WRITE)) {
        long left = at - seen->bytes;
        if (left <= 0) { seen->hits++; errno = number; return -1; }
        if ((size_t)left < size) { seen->hits++; return left; }
    }
    return size;
}

static ssize_t write_below(int descriptor, const void *data, size_t size, off_t offset,
                           const char *path) {
    ENTER;
    ssize_t done = -1, take = allowed(size);
    if (take >= 0) {
        long place = offset;
        if (offset < 0) {
            int flags = fcntl(descriptor, F_GETFL);
            place = lseek(descriptor, 0, flags & O_APPEND ? SEEK_END : SEEK_CUR);
            done = syscall(SYS_write, descriptor, data, take);
        } else {
            done = syscall(SYS_pwrite64, descriptor, data, take, offset);
        }
        if (done > 0) {
            seen->bytes += done;
            note("write", inode_of(descriptor), place, data, done, path, "");
        }
    }
    LEAVE;
    return done;
}

ssize_t write(int descriptor, const void *data, size_t size) {
    char path[PATH_MAX];
    if (watched_fd(descriptor, path)) return write_below(descriptor, data, size, -1, path);
    return syscall(SYS_write, descriptor, data, size);
}
ssize_t pwrite(int descriptor, const void *data, size_t size, off_t offset) {
    char path[PATH_MAX];
    if (watched_fd(descriptor, path)) return write_below(descriptor, data, size, offset, path);
    return syscall(SYS_pwrite64, descriptor, data, size, offset);
}
ssize_t pwrite64(int descriptor, const void *data, size_t size, off64_t offset) {
    return pwrite(descriptor, data, size, offset);
}
/* A vector is written piece by piece: a caller must take fewer bytes than it gave. */
ssize_t writev(int descriptor, const struct iovec *pieces, int count) {
    char path[PATH_MAX];
    if (!watched_fd(descriptor, path)) return syscall(SYS_writev, descriptor, pieces, count);
    for (int k = 0; k < count; k++)
        if (pieces[k].iov_len)
            return write_below(descriptor, pieces[k].iov_base, pieces[k].iov_len, -1, path);
    return 0;
}

/* --- read ------------------------------------------------------------------------------------ */

static ssize_t read_below(int descriptor, void *data, size_t size, off_t offset) {
    ENTER;
    int told = step(READ);
    size_t take = told > 0 && size > 1 ? size / 2 : size;
    ssize_t done = told < 0 ? -1
        : offset < 0 ? syscall(SYS_read, descriptor, data, take)
                     : syscall(SYS_pread64, descriptor, data, take, offset);
    LEAVE;
    return done;
}
ssize_t read(int descriptor, void *data, size_t size) {
    char path[PATH_MAX];
    if (armed && (mask & READ) && watched_fd(descriptor, path))
        return read_below(descriptor, data, size, -1);
    return syscall(SYS_read, descriptor, data, size);
}
ssize_t pread(int descriptor, void *data, size_t size, off_t offset) {
    char path[PATH_MAX];
    if (armed && (mask & READ) && watched_fd(descriptor, path))
        return read_below(descriptor, data, size, offset);
    return syscall(SYS_pread64, descriptor, data, size, offset);
}
ssize_t pread64(int descriptor, void *data, size_t size, off64_t offset) {
    return pread(descriptor, data, size, offset);
}

/* --- sync, truncate -------------------------------------------------------------------------- */

static int sync_below(int descriptor, const char *path) {
    ENTER;
    int done = step(SYNC) < 0 ? -1 : 0;  /* no disk needs to hear of it: the model decides */
    if (done == 0) note("sync", inode_of(descriptor), 0, NULL, 0, path, "");
    LEAVE;
    return done;
}
int fsync(int descriptor) {
    char path[PATH_MAX];
    if (watched_fd(descriptor, path)) return sync_below(descriptor, path);
    return syscall(SYS_fsync, descriptor);
}
int fdatasync(int descriptor) {
    char path[PATH_MAX];
    if (watched_fd(descriptor, path)) return sync_below(descriptor, path);
    return syscall(SYS_fdatasync, descriptor);
}

int ftruncate(int descriptor, off_t length) {
    char path[PATH_MAX];
    if (!watched_fd(descriptor, path)) return syscall(SYS_ftruncate, descriptor, length);
    ENTER;
    int done = step(TRUNCATE) < 0 ? -1 : (int)syscall(SYS_ftruncate, descriptor, length);
    if (done == 0) note("truncate", inode_of(descriptor), length, NULL, 0, path, "");
    LEAVE;
    return done;
}
int ftruncate64(int descriptor, off64_t length) { return ftruncate(descriptor, length); }

/* --- names ----------------------------------------------------------------------------------- */

static int rename_any(int from, const char *old, int to, const char *new, unsigned flags) {
    char source[PATH_MAX], target[PATH_MAX];
    int is_ours = watched(from, old, source) | watched(to, new, target);
    if (!is_ours) return syscall(SYS_renameat2, from, old, to, new, flags);
    resolve(from, old, source);
    resolve(to, new, target);
    ENTER;
    int done = step(NAME) < 0 ? -1 : (int)syscall(SYS_renameat2, from, old, to, new, flags);
    if (done == 0) note("rename", 0, 0, NULL, 0, source, target);
    LEAVE;
    return done;
}
int rename(const char *old, const char *new) {
    return rename_any(AT_FDCWD, old, AT_FDCWD, new, 0);
}
int renameat(int from, const char *old, int to, const char *new) {
    return rename_any(from, old, to, new, 0);
}
int renameat2(int from, const char *old, int to, const char *new, unsigned flags) {
    return rename_any(from, old, to, new, flags);
}

int linkat(int from, const char *old, int to, const char *new, int flags) {
    char source[PATH_MAX], target[PATH_MAX];
    if (!watched(to, new, target)) return syscall(SYS_linkat, from, old, to, new, flags);
    resolve(from, old, source);
    ENTER;
    int done = step(NAME) < 0 ? -1 : (int)syscall(SYS_linkat, from, old, to, new, flags);
    if (done == 0) note("link", 0, 0, NULL, 0, source, target);
    LEAVE;
    return done;
}
int link(const char *old, const char *new) { return linkat(AT_FDCWD, old, AT_FDCWD, new, 0); }

int unlinkat(int folder, const char *name, int flags) {
    char path[PATH_MAX];
    if (!watched(folder, name, path)) return syscall(SYS_unlinkat, folder, name, flags);
    ENTER;
    int done = step(UNLINK) < 0 ? -1 : (int)syscall(SYS_unlinkat, folder, name, flags);
    if (done == 0) note("unlink", 0, 0, NULL, 0, path, "");
    LEAVE;
    return done;
}
int unlink(const char *name) { return unlinkat(AT_FDCWD, name, 0); }
int rmdir(const char *name) { return unlinkat(AT_FDCWD, name, AT_REMOVEDIR); }

int mkdirat(int folder, const char *name, mode_t mode) {
    char path[PATH_MAX];
    if (!watched(folder, name, path)) return syscall(SYS_mkdirat, folder, name, mode);
    ENTER;
    int done = step(MKDIR) < 0 ? -1 : (int)syscall(SYS_mkdirat, folder, name, mode);
    if (done == 0) note("mkdir", 0, 0, NULL, 0, path, "");
    LEAVE;
    return done;
}
int mkdir(const char *name, mode_t mode) { return mkdirat(AT_FDCWD, name, mode); }
