/*
 * A line of words as the command's arguments, in a directory with an input of every type: never a crash or a leak, one
 * of the documented statuses, and every error a line. The command runs in this process, so that its main and the state
 * of its messages are compiled in here.
 *
 * Nothing outside of the directory can be named: a '/' stays only behind a 'd' or a digit, which no option that takes a
 * file ends with, and ".." never. matmul-bench is parsed, and then refused: it would measure.
 */
#define _GNU_SOURCE /* memfd_create */
#pragma GCC diagnostic ignored "-Wshadow" /* two files in one */
#include "msg.c"
int s24_main(int argc, char **argv);
#define main s24_main
#include "main.c"
#undef main

#include <dirent.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "directory.h"

#define WORDS 24

/* The inputs, as they are before every run. */
typedef struct seed_file {
    const char *name;
    size_t n;
    uint8_t data[1024];
    struct stat st;
} seed_file;

static seed_file inputs[] = {{.name = "a.npy"}, {.name = "b.npy"}, {.name = "a.s24"}, {.name = "m.safetensors"},
                             {.name = "j.json"}, {.name = "r.raw"}, {.name = "d/m.safetensors"}};
static FILE *out, *told;
static int home; /* where libFuzzer has its files */

static void keep(seed_file *f, const void *data, size_t n)
{
    REQUIRE(n <= sizeof f->data);
    memcpy(f->data, data, n);
    f->n = n;
}

static void put(seed_file *f)
{
    FILE *const file = fopen(f->name, "wb");
    REQUIRE(file && fwrite(f->data, 1, f->n, file) == f->n && fclose(file) == 0);
    REQUIRE(stat(f->name, &f->st) == 0);
}

static void keep_inputs(void)
{
    static const char npy[] = "\x93NUMPY\1\0v\0{'descr': '<f4', 'fortran_order': False, 'shape': (2, 8), }",
                      st[] = "\x4e\0\0\0\0\0\0\0{\"w\":{\"dtype\":\"F32\",\"shape\":[4,4],\"data_offsets\":[0,64]},"
                             "\"b\":{\"dtype\":\"I8\",\"shape\":[4],\"data_offsets\":[64,68]}}";
    char file[512];
    memset(file, ' ', sizeof file);
    memcpy(file, npy, sizeof npy - 1);
    file[127] = '\n';
    for (size_t i = 0; i < 64; i++) {
        file[128 + i] = (char)(i % 4 < 3 ? i * 37 : 0x3f);
    }
    keep(&inputs[0], file, 192);
    keep(&inputs[1], file, 192);
    memcpy(file, st, sizeof st - 1);
    file[0] = (char)(sizeof st - 1 - 8);
    memset(file + sizeof st - 1, 0, 68);
    keep(&inputs[3], file, sizeof st - 1 + 68);
    keep(&inputs[6], file, sizeof st - 1 + 68);
    keep(&inputs[4], "[[1, 2, 3, 4], [0, 0, 7, 8]]", 28);
    keep(&inputs[5], file, 64);
}

static bool same_as_before(const seed_file *f)
{
    struct stat st;
    return stat(f->name, &st) == 0 && st.st_ino == f->st.st_ino && (size_t)st.st_size == f->n &&
           st.st_mtim.tv_sec == f->st.st_mtim.tv_sec && st.st_mtim.tv_nsec == f->st.st_mtim.tv_nsec;
}

static bool is_input(const char *name)
{
    bool found = strcmp(name, "d") == 0 || strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
    for (size_t i = 0; i < sizeof inputs / sizeof *inputs && !found; i++) {
        found = strcmp(inputs[i].name, name) == 0;
    }
    return found;
}

/* What a run made goes, what it replaced comes back. */
static void tidy(const char *where)
{
    DIR *const files = opendir(where);
    REQUIRE(files);
    for (struct dirent *e; (e = readdir(files));) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", where, e->d_name);
        if (!is_input(*where == '.' ? e->d_name : path) && strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
            nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
        }
    }
    closedir(files);
}

static void restore(void)
{
    tidy(".");
    tidy("d");
    for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++) {
        if (!same_as_before(&inputs[i])) {
            put(&inputs[i]);
        }
    }
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static const s24_io io = {.no_sync = true, .threads = 1};
    static const s24_prune_request prune = {.input = "a.npy", .output = "a.s24", .dtype = S24_SAME, .panel_groups = 2,
                                            .panel_bytes = 64};
    (void)argc, (void)argv;
    home = open(".", O_RDONLY | O_DIRECTORY);
    REQUIRE(home >= 0);
    make_directory();
    keep_inputs();
    REQUIRE(chdir(directory) == 0 && mkdir("d", 0700) == 0);
    put(&inputs[0]);
    REQUIRE(s24_prune_file(&io, &prune, NULL, NULL) == S24_OK);
    FILE *const made = fopen("a.s24", "rb");
    REQUIRE(made);
    inputs[2].n = fread(inputs[2].data, 1, sizeof inputs[2].data, made);
    fclose(made);
    unlink("a.s24");
    /* What the command writes goes nowhere, or where it can be read; libFuzzer keeps the streams that it had. */
    const int nowhere = open("/dev/null", O_RDWR);
    REQUIRE(nowhere >= 0 && dup2(nowhere, STDIN_FILENO) == STDIN_FILENO && dup2(nowhere, STDOUT_FILENO) == STDOUT_FILENO);
    out = fdopen(memfd_create("stdout", 0), "w");
    told = fdopen(memfd_create("stderr", 0), "w");
    REQUIRE(out && told);
    restore();
    REQUIRE(fchdir(home) == 0);
    return 0;
}

static int make_words(const uint8_t *data, size_t n, char *line, char **words)
{
    memcpy(line, data, n);
    line[n] = '\0';
    for (char *c = line; *c; c++) {
        const char before = c > line ? c[-1] : ' ';
        if ((*c == '/' && before != 'd' && (before < '0' || before > '9')) || (*c == '.' && before == '.')) {
            *c = '_';
        }
    }
    words[0] = (char[]){"s24"};
    return 1 + cut_words(line, words + 1, WORDS);
}

/* Twice: the first may be another option's value. */
static int measure_nothing(char **words, int count)
{
    static char nothing[] = "--reps=0";
    for (int i = 1; i < count; i++) {
        if (strcmp(words[i], "--") == 0) {
            words[i][1] = '\0';
        }
    }
    words[count++] = nothing;
    words[count++] = nothing;
    return count;
}

/* A line an error, and no byte that a terminal would obey. */
static void check_told(int status, bool plain)
{
    static char text[1 << 16];
    const ssize_t n = pread(fileno(told), text, sizeof text, 0);
    REQUIRE(n >= 0 && (n == 0 || text[n - 1] == '\n' || n == sizeof text));
    for (ssize_t i = 0; i < n && plain; i++) {
        REQUIRE((unsigned char)text[i] >= ' ' || text[i] == '\n');
    }
    REQUIRE(status < S24_ERR_USAGE || (n > 0 && n < (ssize_t)sizeof text));
    if (status == S24_ERR_USAGE && plain && strncmp(text, "usage: ", 7) != 0) { /* of several inputs it may be the last's */
        REQUIRE(strncmp(text, "s24: ", 5) == 0 || memmem(text, (size_t)n, "\ns24: ", 6));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static char line[1024];
    char *words[WORDS + 4] = {NULL};
    FILE *const streams[] = {stdout, stderr};
    if (n >= sizeof line) {
        return 0;
    }
    int count = make_words(data, n, line, words);
    bool plain = true, bench = false;
    for (int i = 1; i < count; i++) {
        plain = plain && !strstr(words[i], "co");
        bench = bench || strcmp(words[i], "matmul-bench") == 0;
    }
    count = bench ? measure_nothing(words, count) : count;
    words[count] = NULL;
    apply_globals(&(const globals){0}); /* as in a new process, and the status, too */
    worst = S24_OK;
    REQUIRE(chdir(directory) == 0 && ftruncate(fileno(told), 0) == 0 && ftruncate(fileno(out), 0) == 0);
    rewind(told);
    rewind(out);
    stdout = out;
    stderr = told;
    const int status = s24_main(count, words);
    fflush(told);
    stdout = streams[0];
    stderr = streams[1];
    REQUIRE(status >= S24_OK && status <= S24_ERR_NOTHING);
    check_told(status, plain);
    restore();
    REQUIRE(fchdir(home) == 0);
    return 0;
}
