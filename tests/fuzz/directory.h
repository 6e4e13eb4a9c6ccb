/* A directory of the target's own, in $TMPDIR (which tests/tools/fuzz has in memory, and empties whatever happens). */
#ifndef S24_FUZZ_DIRECTORY_H
#define S24_FUZZ_DIRECTORY_H

#include <ftw.h>

#include "fuzz.h"

static char directory[256];

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static void remove_directory(void)
{
    nftw(directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void make_directory(void)
{
    const char *const in = getenv("TMPDIR");
    snprintf(directory, sizeof directory, "%s/s24-fuzz-XXXXXX", in ? in : "/tmp");
    REQUIRE(mkdtemp(directory));
    atexit(remove_directory);
}

#endif
