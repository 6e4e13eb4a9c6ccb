#define _GNU_SOURCE /* dirfd */
#include "temporary.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#define MARK ".s24-"
#define TAG_DIGITS 8
#define RANDOM_LETTERS 6
#define ENTRIES_MAX 10000 /* of a directory: a script that fills a larger one shall not read all of it for each file */
#define NAME_KEPT 200 /* of a name near NAME_MAX, which leaves no room for the rest: it need not be whole */

static uint32_t hash(uint32_t sum, const void *data, size_t n) /* FNV-1a */
{
    for (size_t i = 0; i < n; i++) {
        sum = (sum ^ ((const unsigned char *)data)[i]) * 16777619u;
    }
    return sum;
}

/* Where this process's number is one; 0: that cannot be known. */
static uint32_t tag_of_machine(void)
{
    struct utsname machine;
    struct stat processes;
    if (uname(&machine) != 0 || stat("/proc/self/ns/pid", &processes) != 0) {
        return 0;
    }
    const uint32_t sum = hash(2166136261u, machine.nodename, strlen(machine.nodename));
    return hash(sum, &processes.st_ino, sizeof processes.st_ino);
}

/* Whether it is the name of a file of this machine's whose process is no more. */
static bool is_left(const char *name, uint32_t tag)
{
    const char *mark = NULL;
    for (const char *at = name; *name == '.' && (at = strstr(at, MARK)) != NULL; at++) {
        mark = at;
    }
    unsigned found;
    long pid;
    int length = 0;
    return mark && sscanf(mark, MARK "%8x-%ld-%n", &found, &pid, &length) == 2 && found == tag && pid > 0 &&
           strlen(mark) == (size_t)length + RANDOM_LETTERS && kill((pid_t)pid, 0) != 0 && errno == ESRCH;
}

static void sweep(const s24_io *io, const char *directory, uint32_t tag)
{
    DIR *d = tag ? opendir(directory) : NULL;
    const struct dirent *e;
    for (int i = 0; d && i < ENTRIES_MAX && (e = readdir(d)) != NULL; i++) {
        struct stat st;
        if (is_left(e->d_name, tag) && fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
            unlinkat(dirfd(d), e->d_name, 0) == 0) {
            s24_io_note(io, "%s: removed; a command that was killed left it behind", e->d_name);
        }
    }
    if (d) {
        closedir(d);
    }
}

s24_status s24_temporary_open(const s24_io *io, const char *target, char **path, int *fd, s24_error *err)
{
    const char *slash = strrchr(target, '/'), *base = slash ? slash + 1 : target;
    const int dir = (int)(base - target), keep = strlen(base) > NAME_KEPT ? NAME_KEPT : (int)strlen(base);
    const size_t size = (size_t)(dir + keep) + sizeof("." MARK "-XXXXXX") + TAG_DIGITS + 3 * sizeof(long);
    const uint32_t tag = tag_of_machine();
    char *name = s24_calloc(size, 1, err);
    if (!name) {
        return S24_ERR_SYSTEM;
    }
    snprintf(name, size, "%.*s", dir ? dir : 1, dir ? target : ".");
    sweep(io, name, tag);
    snprintf(name, size, "%.*s.%.*s" MARK "%0*x-%ld-XXXXXX", dir, target, keep, base, TAG_DIGITS, tag, (long)getpid());
    *fd = mkstemp(name);
    if (*fd < 0) {
        const int e = errno;
        free(name);
        return s24_fail_errno(err, e, "cannot make a file in that directory");
    }
    fcntl(*fd, F_SETFD, FD_CLOEXEC);
    *path = name;
    return S24_OK;
}
