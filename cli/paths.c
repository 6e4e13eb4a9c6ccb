#include "paths.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "checkpoint.h"
#include "format.h"

bool path_is_std(const char *path)
{
    return strcmp(path, "-") == 0;
}

bool path_is_directory(const char *path)
{
    struct stat st;
    const size_t n = strlen(path);
    return (n && path[n - 1] == '/') || (stat(path, &st) == 0 && S_ISDIR(st.st_mode));
}

bool path_is_checkpoint(const char *path)
{
    return s24_checkpoint_is(path, false);
}

/* The directory that a file is in; NULL: no memory. The caller frees it. */
static char *parent_of(const char *path)
{
    const char *const slash = strrchr(path, '/');
    return !slash ? strdup(".") : slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
}

static bool same_place(const struct stat *a, const char *path)
{
    struct stat b;
    return stat(path, &b) == 0 && a->st_dev == b.st_dev && a->st_ino == b.st_ino;
}

static bool beside(const char *path, const char *directory)
{
    struct stat st;
    char *const where = parent_of(path), *const there = path_is_directory(directory) ? strdup(directory) : parent_of(directory);
    const bool same = where && there && stat(where, &st) == 0 && same_place(&st, there);
    free(where);
    free(there);
    return same;
}

bool path_is_of(const char *path, const char *input)
{
    struct stat st;
    if (path_is_std(path) || path_is_std(input) || stat(path, &st) != 0) {
        return false;
    }
    return same_place(&st, input) || (path_is_checkpoint(input) && beside(path, input));
}

bool path_for_checkpoint(const char *path)
{
    const char *format;
    return !path_is_std(path) && (path_is_directory(path) || path_format(path, &format) == PATH_SAYS_NOTHING);
}

bool path_format_of_shards(const char *format)
{
    const s24_format *f = s24_format_by_name(format);
    return strcmp(format, "same") == 0 || f == &s24_format_s24 || f == &s24_format_safetensors || (f && f->unfit);
}

static const char *base_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

path_suffix path_format(const char *path, const char **format)
{
    static const char *const foreign[] = {".pt", ".pth", ".ckpt", ".onnx", ".gguf", ".h5", ".pkl", ".tflite"};
    const char *dot = strrchr(base_of(path), '.');
    const s24_format *f = s24_format_by_suffix(path);
    *format = f ? f->name : NULL;
    if (f) {
        return PATH_SAYS;
    }
    for (size_t i = 0; dot && i < sizeof foreign / sizeof *foreign; i++) {
        if (strcmp(dot, foreign[i]) == 0) {
            return PATH_SAYS_FOREIGN;
        }
    }
    return PATH_SAYS_NOTHING;
}

/* How much of a base name stays when its suffix is replaced: all of it when the suffix is no format's. */
static int stem_length(const char *base)
{
    const char *dot = strrchr(base, '.');
    const char *format;
    return (int)(dot && dot > base && path_format(base, &format) == PATH_SAYS ? (size_t)(dot - base) : strlen(base));
}

/* directory (n characters of it), "/" where wanted, and the base name with the format's suffix. */
static char *join(const char *directory, size_t n, const char *slash, const char *base, const char *format)
{
    const s24_format *f = s24_format_by_name(format); /* NULL: "same" */
    const char *suffixes = f ? f->suffixes : "";
    const int stem = f ? stem_length(base) : (int)strlen(base);
    const int suffix = (int)strcspn(suffixes, " "); /* the first is the usual one */
    const size_t size = n + strlen(slash) + (size_t)stem + (size_t)suffix + 1;
    char *path = malloc(size);
    if (path) {
        snprintf(path, size, "%.*s%s%.*s%.*s", (int)n, directory, slash, stem, base, suffix, suffixes);
    }
    return path;
}

/* The name without slashes at its end; NULL: nothing is left that could name an output. */
static char *trimmed(const char *path)
{
    size_t n = strlen(path);
    while (n && path[n - 1] == '/') {
        n--;
    }
    char *copy = strndup(path, n);
    const char *base = copy ? base_of(copy) : "";
    if (strcmp(base, "") == 0 || strcmp(base, ".") == 0 || strcmp(base, "..") == 0) {
        free(copy);
        return NULL;
    }
    return copy;
}

char *path_beside(const char *input, const char *format)
{
    char *const whole = trimmed(input);
    const char *base = whole ? base_of(whole) : NULL;
    char *const path = base ? join(whole, (size_t)(base - whole), "", base, format) : NULL;
    free(whole);
    return path;
}

char *path_inside(const char *directory, const char *input, const char *format)
{
    const size_t n = strlen(directory);
    char *const whole = trimmed(input);
    char *const path = whole ? join(directory, n, n && directory[n - 1] == '/' ? "" : "/", base_of(whole), format) : NULL;
    free(whole);
    return path;
}
