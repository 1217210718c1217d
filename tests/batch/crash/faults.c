/* Counts a process's file operations below a directory, and lets one of them go wrong.
 *
 * Loaded with LD_PRELOAD. It does nothing until armed: by the environment when the process starts
 * (FAULT_BELOW, FAULT_KIND, FAULT_AT, FAULT_LOG, FAULT_DISK), or by a call of fault_arm(), which also starts
 * counting anew and serves a process that was forked from a prepared one.
 *
 * Each operation adds a line to the log, "NUMBER OPERATION BYTES PATH"; the one that goes wrong
 * adds "! NUMBER OPERATION SECONDS PATH" before it does. What is written through mmap, as SQLite's
 * index of its write-ahead log is, is not seen.
 *
 * To simulate a power cut, FAULT_DISK names a directory that gets what is safe on disk: "f..." is
 * the content of a file when it was last flushed; "d..." lists what was in a directory when that
 * was, in the order of their numbers.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum kind { COUNT, KILL_BEFORE, KILL_AFTER, TORN, EIO_ONCE, ENOSPC_ONCE, SHORT, ENOSPC_FOREVER };
static const char *const kinds[] = {"count", "kill-before", "kill-after", "torn",
                                    "eio",   "enospc",      "short",      "enospc-forever"};
/* What an operation is like: which faults can hit it. */
enum trait { READS = 0, GROWS = 1, WRITES = 3 };

static char below[PATH_MAX], disk[PATH_MAX - 100];
static size_t below_length;
static int armed, log_fd = -1;
static enum kind kind;
static long at, counter, listings;

static void say(const char *format, ...) {
    char line[PATH_MAX + 200];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (length > 0 && log_fd >= 0)
        syscall(SYS_write, log_fd, line, (size_t)length < sizeof line ? (size_t)length : sizeof line - 1);
}

static void keep_all(const char *path);

/* Returns 0, or -1 if an argument makes no sense. */
int fault_arm(const char *directory, const char *name, long number, const char *log, const char *safe) {
    armed = 0;
    snprintf(disk, sizeof disk, "%s", safe ? safe : "");
    if (!realpath(directory, below)) return -1;
    below_length = strlen(below);
    kind = (enum kind)-1;
    for (int each = 0; each <= ENOSPC_FOREVER; each++)
        if (!strcmp(name, kinds[each])) kind = each;
    if (kind == (enum kind)-1) return -1;
    /* A number that the process does not come to close by accident. */
    int opened = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (opened < 0) return -1;
    log_fd = (int)syscall(SYS_fcntl, opened, F_DUPFD_CLOEXEC, 900);
    syscall(SYS_close, opened);
    if (log_fd < 0) return -1;
    at = number;
    counter = listings = 0;
    if (*disk) keep_all(below);
    armed = 1;
    return 0;
}

__attribute__((constructor)) static void from_environment(void) {
    const char *directory = getenv("FAULT_BELOW"), *name = getenv("FAULT_KIND");
    const char *number = getenv("FAULT_AT"), *log = getenv("FAULT_LOG");
    if (directory && name && log) fault_arm(directory, name, number ? atol(number) : 0, log, getenv("FAULT_DISK"));
}

static int is_below(const char *path) {
    return !strncmp(path, below, below_length) && (path[below_length] == '/' || !path[below_length]);
}

static int path_of(int fd, char *path) {
    char link[40];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    long length = syscall(SYS_readlinkat, AT_FDCWD, link, path, PATH_MAX - 1);
    path[length > 0 ? length : 0] = 0;
    return length > 0;
}

/* The directory's own name may be spelled in another way: links in it are not followed. */
static int named(int directory, const char *name, char *path) {
    if (!armed || !name) return 0;
    if (name[0] == '/') {
        snprintf(path, PATH_MAX, "%s", name);
    } else {
        char folder[PATH_MAX];
        if (directory == AT_FDCWD ? !getcwd(folder, sizeof folder) : !path_of(directory, folder)) return 0;
        if (snprintf(path, PATH_MAX, "%s/%s", folder, name) >= PATH_MAX) return 0;
    }
    return is_below(path);
}

static int opened(int fd, char *path) { return armed && path_of(fd, path) && is_below(path); }

static void die(void) {
    syscall(SYS_kill, getpid(), SIGKILL);
    for (;;) pause();
}

enum verdict { GO, FAIL, HALF, DIE_AFTER, DIE_HALF };

/* Counts an operation and says what is to become of it. */
static enum verdict judge(const char *operation, enum trait trait, size_t bytes, const char *path) {
    long number = __atomic_add_fetch(&counter, 1, __ATOMIC_SEQ_CST);
    say("%ld %s %zu %s\n", number, operation, bytes, path);
    if (kind == COUNT || number < at || (number > at && kind != ENOSPC_FOREVER)) return GO;
    if ((kind == ENOSPC_ONCE || kind == ENOSPC_FOREVER) && !(trait & GROWS)) return GO;
    if ((kind == SHORT || kind == TORN) && (trait != WRITES || bytes < 2)) return GO;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    say("! %ld %s %lld.%09ld %s\n", number, operation, (long long)now.tv_sec, now.tv_nsec, path);
    switch (kind) {
    case KILL_BEFORE: die(); /* fall through */
    case KILL_AFTER: return DIE_AFTER;
    case TORN: return DIE_HALF;
    case SHORT: return HALF;
    case EIO_ONCE: errno = EIO; return FAIL;
    default: errno = ENOSPC; return FAIL;
    }
}

#define REAL(name) static __typeof__(&name) real; if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)
#define DO(type, call)                                   \
    do {                                                 \
        type value = (call);                             \
        if (verdict == DIE_AFTER || verdict == DIE_HALF) die(); \
        return value;                                    \
    } while (0)

/* --- opening ---------------------------------------------------------------------------------- */

static enum verdict judge_open(int directory, const char *name, int flags) {
    char path[PATH_MAX];
    if (!named(directory, name, path)) return GO;
    return judge(flags & O_CREAT ? "create" : "open", flags & O_CREAT ? GROWS : READS, 0, path);
}

#define MODE                                             \
    mode_t mode = 0;                                     \
    if (flags & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY))) { \
        va_list arguments;                               \
        va_start(arguments, flags);                      \
        mode = va_arg(arguments, mode_t);                \
        va_end(arguments);                               \
    }

#define OPEN(name)                                       \
    int name(const char *file, int flags, ...) {         \
        REAL(name);                                      \
        MODE                                             \
        enum verdict verdict = judge_open(AT_FDCWD, file, flags); \
        if (verdict == FAIL) return -1;                  \
        DO(int, real(file, flags, mode));                \
    }
#define OPENAT(name)                                     \
    int name(int directory, const char *file, int flags, ...) { \
        REAL(name);                                      \
        MODE                                             \
        enum verdict verdict = judge_open(directory, file, flags); \
        if (verdict == FAIL) return -1;                  \
        DO(int, real(directory, file, flags, mode));     \
    }
#define CREAT(name)                                      \
    int name(const char *file, mode_t mode) {            \
        REAL(name);                                      \
        enum verdict verdict = judge_open(AT_FDCWD, file, O_CREAT); \
        if (verdict == FAIL) return -1;                  \
        DO(int, real(file, mode));                       \
    }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)
CREAT(creat)
CREAT(creat64)

/* --- writing and reading ---------------------------------------------------------------------- */

#define WRITE(name, parameters, arguments, halved)       \
    ssize_t name parameters {                            \
        REAL(name);                                      \
        char path[PATH_MAX];                             \
        enum verdict verdict = opened(fd, path) ? judge(#name, WRITES, size, path) : GO; \
        if (verdict == FAIL) return -1;                  \
        if (verdict == HALF || verdict == DIE_HALF) DO(ssize_t, real halved); \
        DO(ssize_t, real arguments);                     \
    }
WRITE(write, (int fd, const void *data, size_t size), (fd, data, size), (fd, data, size / 2))
WRITE(pwrite, (int fd, const void *data, size_t size, off_t offset), (fd, data, size, offset),
      (fd, data, size / 2, offset))
WRITE(pwrite64, (int fd, const void *data, size_t size, off64_t offset), (fd, data, size, offset),
      (fd, data, size / 2, offset))

/* Of several pieces, the first one alone: what else a short write may be, write() shows. */
#define WRITEV(name, parameters, arguments, halved)      \
    ssize_t name parameters {                            \
        REAL(name);                                      \
        char path[PATH_MAX];                             \
        size_t size = count < 2 ? 0 : pieces[0].iov_len + 2; \
        enum verdict verdict = opened(fd, path) ? judge(#name, WRITES, size, path) : GO; \
        if (verdict == FAIL) return -1;                  \
        if (verdict == HALF || verdict == DIE_HALF) DO(ssize_t, real halved); \
        DO(ssize_t, real arguments);                     \
    }
WRITEV(writev, (int fd, const struct iovec *pieces, int count), (fd, pieces, count), (fd, pieces, 1))
WRITEV(pwritev, (int fd, const struct iovec *pieces, int count, off_t offset),
       (fd, pieces, count, offset), (fd, pieces, 1, offset))
WRITEV(pwritev64, (int fd, const struct iovec *pieces, int count, off64_t offset),
       (fd, pieces, count, offset), (fd, pieces, 1, offset))

#define READ(name, parameters, arguments)                \
    ssize_t name parameters {                            \
        REAL(name);                                      \
        char path[PATH_MAX];                             \
        enum verdict verdict = opened(fd, path) ? judge(#name, READS, 0, path) : GO; \
        if (verdict == FAIL) return -1;                  \
        DO(ssize_t, real arguments);                     \
    }
READ(read, (int fd, void *data, size_t size), (fd, data, size))
READ(pread, (int fd, void *data, size_t size, off_t offset), (fd, data, size, offset))
READ(pread64, (int fd, void *data, size_t size, off64_t offset), (fd, data, size, offset))

#define COPY(name, type, target, parameters, arguments)  \
    ssize_t name parameters {                            \
        REAL(name);                                      \
        char path[PATH_MAX];                             \
        enum verdict verdict = opened(target, path) ? judge(#name, GROWS, size, path) : GO; \
        if (verdict == FAIL) return -1;                  \
        DO(ssize_t, real arguments);                     \
    }
COPY(copy_file_range, off64_t, to,
     (int from, off64_t *from_offset, int to, off64_t *to_offset, size_t size, unsigned flags),
     (from, from_offset, to, to_offset, size, flags))
COPY(sendfile, off_t, to, (int to, int from, off_t *offset, size_t size), (to, from, offset, size))
COPY(sendfile64, off64_t, to, (int to, int from, off64_t *offset, size_t size), (to, from, offset, size))

/* --- flushing --------------------------------------------------------------------------------- */

/* Tells a file from a later one that got the same inode. */
static int identity(int fd, const char *name, char *text, struct statx *info) {
    if (syscall(SYS_statx, fd, name, *name ? AT_SYMLINK_NOFOLLOW : AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_BTIME, info))
        return 0;
    snprintf(text, 100, "f%llu-%lld.%09u", (unsigned long long)info->stx_ino, (long long)info->stx_btime.tv_sec,
             info->stx_btime.tv_nsec);
    return 1;
}

/* Another thread may let the process die meanwhile: it gets its name when it is whole. */
static int safe_file(const char *name) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/new-%s", disk, name);
    return (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
}

static void name_safe_file(int copy, const char *name) {
    char path[PATH_MAX], new_path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", disk, name);
    snprintf(new_path, sizeof new_path, "%s/new-%s", disk, name);
    syscall(SYS_close, copy);
    syscall(SYS_renameat2, AT_FDCWD, new_path, AT_FDCWD, path, 0);
}

static void keep_directory(const char *path) {
    char name[100], entry[100], line[PATH_MAX + 200];
    struct statx info;
    DIR *directory = opendir(path);
    if (!directory) return;
    snprintf(name, sizeof name, "d%ld", __atomic_add_fetch(&listings, 1, __ATOMIC_SEQ_CST));
    int copy = safe_file(name);
    syscall(SYS_write, copy, line, (size_t)snprintf(line, sizeof line, "%s\n", path));
    for (struct dirent *each; (each = readdir(directory));)
        if (identity(dirfd(directory), each->d_name, entry, &info) && S_ISREG(info.stx_mode))
            syscall(SYS_write, copy, line, (size_t)snprintf(line, sizeof line, "%s %s\n", entry, each->d_name));
    name_safe_file(copy, name);
    closedir(directory);
}

static void keep_file(int fd, const char *name, const struct statx *info) {
    char data[65536];
    /* The descriptor itself may be for writing only. */
    snprintf(data, sizeof data, "/proc/self/fd/%d", fd);
    int original = (int)syscall(SYS_openat, AT_FDCWD, data, O_RDONLY | O_CLOEXEC), copy = safe_file(name);
    long got;
    while ((got = syscall(SYS_read, original, data, sizeof data)) > 0) syscall(SYS_write, copy, data, (size_t)got);
    syscall(SYS_close, original);
    struct timespec times[2] = {{info->stx_mtime.tv_sec, info->stx_mtime.tv_nsec},
                                {info->stx_mtime.tv_sec, info->stx_mtime.tv_nsec}};
    futimens(copy, times);
    name_safe_file(copy, name);
}

/* What is there at the start, from earlier runs, is safe. */
static void keep_all(const char *path) {
    char inside[PATH_MAX], name[100];
    struct statx info;
    keep_directory(path);
    DIR *directory = opendir(path);
    if (!directory) return;
    for (struct dirent *each; (each = readdir(directory));) {
        if (!strcmp(each->d_name, ".") || !strcmp(each->d_name, "..")) continue;
        if (snprintf(inside, sizeof inside, "%s/%s", path, each->d_name) >= PATH_MAX) continue;
        int fd = (int)syscall(SYS_openat, AT_FDCWD, inside, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        if (fd < 0 || !identity(fd, "", name, &info)) continue;
        if (S_ISDIR(info.stx_mode)) keep_all(inside);
        if (S_ISREG(info.stx_mode)) keep_file(fd, name, &info);
        syscall(SYS_close, fd);
    }
    closedir(directory);
}

static void keep(int fd, const char *path) {
    char name[100];
    struct statx info;
    int before = errno;
    if (!identity(fd, "", name, &info)) return;
    if (S_ISDIR(info.stx_mode)) keep_directory(path);
    else keep_file(fd, name, &info);
    errno = before;
}

#define SYNC(name)                                       \
    int name(int fd) {                                   \
        REAL(name);                                      \
        char path[PATH_MAX];                             \
        int mine = opened(fd, path);                     \
        enum verdict verdict = mine ? judge(#name, GROWS, 0, path) : GO; \
        if (verdict == FAIL) return -1;                  \
        int result = real(fd);                           \
        if (mine && *disk && !result) keep(fd, path);    \
        DO(int, result);                                 \
    }
SYNC(fsync)
SYNC(fdatasync)

/* --- what else is done to an open file --------------------------------------------------------- */

#define ON_FD(name, trait, parameters, arguments)        \
    int name parameters {                                \
        REAL(name);                                      \
        char path[PATH_MAX];                             \
        enum verdict verdict = opened(fd, path) ? judge(#name, trait, 0, path) : GO; \
        if (verdict == FAIL) return -1;                  \
        DO(int, real arguments);                         \
    }
ON_FD(ftruncate, READS, (int fd, off_t size), (fd, size))
ON_FD(ftruncate64, READS, (int fd, off64_t size), (fd, size))
ON_FD(fallocate, GROWS, (int fd, int mode, off_t offset, off_t size), (fd, mode, offset, size))
ON_FD(fallocate64, GROWS, (int fd, int mode, off64_t offset, off64_t size), (fd, mode, offset, size))
ON_FD(fchmod, READS, (int fd, mode_t mode), (fd, mode))

/* --- names ------------------------------------------------------------------------------------- */

#define ON_NAME(name, operation, trait, directory, file, parameters, arguments) \
    int name parameters {                                \
        REAL(name);                                      \
        char path[PATH_MAX];                             \
        enum verdict verdict = named(directory, file, path) ? judge(operation, trait, 0, path) : GO; \
        if (verdict == FAIL) return -1;                  \
        DO(int, real arguments);                         \
    }
ON_NAME(rename, "rename", GROWS, AT_FDCWD, to, (const char *from, const char *to), (from, to))
ON_NAME(renameat, "rename", GROWS, in, to, (int out, const char *from, int in, const char *to), (out, from, in, to))
ON_NAME(renameat2, "rename", GROWS, in, to,
        (int out, const char *from, int in, const char *to, unsigned flags), (out, from, in, to, flags))
ON_NAME(link, "link", GROWS, AT_FDCWD, to, (const char *from, const char *to), (from, to))
ON_NAME(linkat, "link", GROWS, in, to,
        (int out, const char *from, int in, const char *to, int flags), (out, from, in, to, flags))
ON_NAME(symlink, "symlink", GROWS, AT_FDCWD, to, (const char *from, const char *to), (from, to))
ON_NAME(unlink, "unlink", READS, AT_FDCWD, file, (const char *file), (file))
ON_NAME(unlinkat, "unlink", READS, in, file, (int in, const char *file, int flags), (in, file, flags))
ON_NAME(remove, "unlink", READS, AT_FDCWD, file, (const char *file), (file))
ON_NAME(rmdir, "rmdir", READS, AT_FDCWD, file, (const char *file), (file))
ON_NAME(mkdir, "mkdir", GROWS, AT_FDCWD, file, (const char *file, mode_t mode), (file, mode))
ON_NAME(mkdirat, "mkdir", GROWS, in, file, (int in, const char *file, mode_t mode), (in, file, mode))
ON_NAME(truncate, "truncate", READS, AT_FDCWD, file, (const char *file, off_t size), (file, size))
ON_NAME(truncate64, "truncate", READS, AT_FDCWD, file, (const char *file, off64_t size), (file, size))
