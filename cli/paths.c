#include "paths.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

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

char *path_beside(const char *input, const char *format)
{
    const char *base = base_of(input);
    return join(input, (size_t)(base - input), "", base, format);
}

char *path_inside(const char *directory, const char *input, const char *format)
{
    const size_t n = strlen(directory);
    return join(directory, n, n && directory[n - 1] == '/' ? "" : "/", base_of(input), format);
}
