/* A library that is preloaded into the program under test and makes one of its calls about files go wrong.
 *
 * Calls about paths below $FAULT_ROOT, and about what was opened there, are counted from 1. With $FAULT_LOG each one is written to that
 * file as "NUMBER NAME PATH". Call number $FAULT_AT goes wrong as $FAULT_KIND says:
 *   fail   it returns the error that a disk, a quota or a permission gives for such a call, and does nothing
 *   eintr  it returns EINTR and does nothing (only calls that a signal can interrupt; others succeed)
 *   short  it reads or writes one byte only (only reads and writes; others succeed)
 *   kill   the process ends by SIGKILL before the call
 *
 * It is for Linux with glibc, whose 64-bit names Rust's standard library calls.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { DESCRIPTORS = 4096, FOLDERS = 64 };

/* What a call is, as far as the ways to go wrong differ. */
enum { CAN_BE_INTERRUPTED = 1, MOVES_BYTES = 2 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long count;
static char *names[DESCRIPTORS]; /* the path behind each descriptor that is watched */
static DIR *folders[FOLDERS];    /* folders that are listed */

static int below_root(const char *path) {
    const char *root = getenv("FAULT_ROOT");
    return root && path && strncmp(path, root, strlen(root)) == 0;
}

static int is_watched(int descriptor) {
    return descriptor >= 0 && descriptor < DESCRIPTORS && names[descriptor] != NULL;
}

static void watch(int descriptor, const char *path) {
    if (descriptor < 0 || descriptor >= DESCRIPTORS) return;
    free(names[descriptor]);
    names[descriptor] = path ? strdup(path) : NULL;
}

static void note(long number, const char *name, const char *path) {
    const char *log = getenv("FAULT_LOG");
    if (!log) return;
    int file = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    char line[4400];
    int length = snprintf(line, sizeof line, "%ld %s %.4096s\n", number, name, path);
    if (file >= 0 && syscall(SYS_write, file, line, length) < 0) abort();
    syscall(SYS_close, file);
}

/* Counts a call. True where it is to go wrong: then errno is set to `error`, or to EINTR. For a short call *bytes becomes 1. */
static int goes_wrong(const char *name, const char *path, int what, int error, size_t *bytes) {
    const char *at = getenv("FAULT_AT"), *kind = getenv("FAULT_KIND");
    pthread_mutex_lock(&lock);
    long number = ++count;
    note(number, name, path);
    pthread_mutex_unlock(&lock);
    if (!at || !kind || number != atol(at)) return 0;
    if (strcmp(kind, "kill") == 0) kill(getpid(), SIGKILL);
    if (strcmp(kind, "short") == 0 && what & MOVES_BYTES && bytes && *bytes > 1) *bytes = 1;
    if (strcmp(kind, "eintr") == 0 && what & CAN_BE_INTERRUPTED) return errno = EINTR, 1;
    if (strcmp(kind, "fail") == 0) return errno = error, 1;
    return 0;
}

static void *next(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) abort();
    return found;
}
#define NEXT(type, name, ...) ((type (*)(__VA_ARGS__))next(#name))

/* Calls that open. */

static int opening(int where, const char *path, int flags) {
    if (!below_root(path) && !(path[0] != '/' && is_watched(where))) return 0;
    return goes_wrong("open", path, CAN_BE_INTERRUPTED, flags & O_CREAT ? ENOSPC : EACCES, NULL);
}

static int opened(int where, const char *path, int descriptor) {
    int is_ours = below_root(path) || (path[0] != '/' && is_watched(where));
    watch(descriptor, is_ours ? path : NULL);
    return descriptor;
}

#define MODE(flags) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | O_TMPFILE)) { va_list list; va_start(list, flags); mode = va_arg(list, mode_t); va_end(list); }

int open64(const char *path, int flags, ...) {
    MODE(flags)
    return opening(-1, path, flags) ? -1 : opened(-1, path, NEXT(int, open64, const char *, int, ...)(path, flags, mode));
}
int open(const char *path, int flags, ...) {
    MODE(flags)
    return opening(-1, path, flags) ? -1 : opened(-1, path, NEXT(int, open, const char *, int, ...)(path, flags, mode));
}
int openat64(int where, const char *path, int flags, ...) {
    MODE(flags)
    if (opening(where, path, flags)) return -1;
    return opened(where, path, NEXT(int, openat64, int, const char *, int, ...)(where, path, flags, mode));
}
int close(int descriptor) {
    watch(descriptor, NULL);
    return NEXT(int, close, int)(descriptor);
}

static DIR *listed(DIR *folder) {
    for (int i = 0; folder && i < FOLDERS; i++)
        if (!folders[i]) { folders[i] = folder; break; }
    return folder;
}
DIR *opendir(const char *path) {
    if (!below_root(path)) return NEXT(DIR *, opendir, const char *)(path);
    return goes_wrong("opendir", path, 0, EACCES, NULL) ? NULL : listed(NEXT(DIR *, opendir, const char *)(path));
}
DIR *fdopendir(int descriptor) {
    DIR *folder = NEXT(DIR *, fdopendir, int)(descriptor);
    return is_watched(descriptor) ? listed(folder) : folder;
}
struct dirent64 *readdir64(DIR *folder) {
    for (int i = 0; i < FOLDERS; i++)
        if (folders[i] == folder && goes_wrong("readdir", "", 0, EIO, NULL)) return NULL;
    return NEXT(struct dirent64 *, readdir64, DIR *)(folder);
}
int closedir(DIR *folder) {
    for (int i = 0; i < FOLDERS; i++)
        if (folders[i] == folder) folders[i] = NULL;
    return NEXT(int, closedir, DIR *)(folder);
}

/* Calls about an open file. */

#define ABOUT_DESCRIPTOR(type, name, what, error, bytes, parameters, arguments, ...) \
    type name parameters { \
        if (is_watched(descriptor) && goes_wrong(#name, names[descriptor], what, error, bytes)) return -1; \
        return NEXT(type, name, __VA_ARGS__) arguments; \
    }

ABOUT_DESCRIPTOR(ssize_t, read, CAN_BE_INTERRUPTED | MOVES_BYTES, EIO, &length,
                 (int descriptor, void *to, size_t length), (descriptor, to, length), int, void *, size_t)
ABOUT_DESCRIPTOR(ssize_t, write, CAN_BE_INTERRUPTED | MOVES_BYTES, ENOSPC, &length,
                 (int descriptor, const void *from, size_t length), (descriptor, from, length), int, const void *, size_t)
ABOUT_DESCRIPTOR(ssize_t, writev, CAN_BE_INTERRUPTED, ENOSPC, NULL,
                 (int descriptor, const struct iovec *parts, int length), (descriptor, parts, length), int, const struct iovec *, int)
ABOUT_DESCRIPTOR(off64_t, lseek64, 0, EIO, NULL, (int descriptor, off64_t to, int from), (descriptor, to, from), int, off64_t, int)
ABOUT_DESCRIPTOR(int, fstat64, 0, EIO, NULL, (int descriptor, struct stat64 *about), (descriptor, about), int, struct stat64 *)
ABOUT_DESCRIPTOR(int, fsync, CAN_BE_INTERRUPTED, EIO, NULL, (int descriptor), (descriptor), int)
ABOUT_DESCRIPTOR(int, fchmod, 0, EPERM, NULL, (int descriptor, mode_t mode), (descriptor, mode), int, mode_t)
ABOUT_DESCRIPTOR(int, fchown, 0, EPERM, NULL, (int descriptor, uid_t owner, gid_t group), (descriptor, owner, group), int, uid_t, gid_t)
ABOUT_DESCRIPTOR(int, ftruncate64, CAN_BE_INTERRUPTED, ENOSPC, NULL, (int descriptor, off64_t length), (descriptor, length), int, off64_t)
ABOUT_DESCRIPTOR(int, flock, 0, ENOLCK, NULL, (int descriptor, int operation), (descriptor, operation), int, int)

/* Calls about a path. */

#define ABOUT_PATH(type, wrong, name, error, parameters, arguments, ...) \
    type name parameters { \
        if (below_root(path) && goes_wrong(#name, path, 0, error, NULL)) return wrong; \
        return NEXT(type, name, __VA_ARGS__) arguments; \
    }

ABOUT_PATH(int, -1, stat64, EACCES, (const char *path, struct stat64 *about), (path, about), const char *, struct stat64 *)
ABOUT_PATH(int, -1, lstat64, EACCES, (const char *path, struct stat64 *about), (path, about), const char *, struct stat64 *)
ABOUT_PATH(int, -1, mkdir, ENOSPC, (const char *path, mode_t mode), (path, mode), const char *, mode_t)
ABOUT_PATH(int, -1, unlink, EACCES, (const char *path), (path), const char *)
ABOUT_PATH(int, -1, rename, ENOSPC, (const char *path, const char *to), (path, to), const char *, const char *)
ABOUT_PATH(ssize_t, -1, readlink, EIO, (const char *path, char *to, size_t length), (path, to, length), const char *, char *, size_t)
ABOUT_PATH(char *, NULL, realpath, EACCES, (const char *path, char *to), (path, to), const char *, char *)

int statx(int where, const char *path, int flags, unsigned mask, struct statx *about) {
    int is_ours = below_root(path) || (path[0] == 0 && is_watched(where));
    if (is_ours && goes_wrong("statx", path[0] ? path : names[where], 0, path[0] ? EACCES : EIO, NULL)) return -1;
    return NEXT(int, statx, int, const char *, int, unsigned, struct statx *)(where, path, flags, mask, about);
}
int unlinkat(int where, const char *path, int flags) {
    if ((below_root(path) || is_watched(where)) && goes_wrong("unlinkat", path, 0, EACCES, NULL)) return -1;
    return NEXT(int, unlinkat, int, const char *, int)(where, path, flags);
}
int linkat(int from, const char *path, int to, const char *link, int flags) {
    if (below_root(path) && goes_wrong("linkat", path, 0, ENOSPC, NULL)) return -1;
    return NEXT(int, linkat, int, const char *, int, const char *, int)(from, path, to, link, flags);
}
int symlink(const char *target, const char *path) {
    if (below_root(path) && goes_wrong("symlink", path, 0, ENOSPC, NULL)) return -1;
    return NEXT(int, symlink, const char *, const char *)(target, path);
}
int renameat2(int from, const char *path, int to, const char *place, unsigned flags) {
    if (below_root(path) && goes_wrong("renameat2", path, 0, EIO, NULL)) return -1;
    return NEXT(int, renameat2, int, const char *, int, const char *, unsigned)(from, path, to, place, flags);
}
