/* What libFuzzer calls, how a target says that something must hold, and what several targets do. */
#ifndef S24_FUZZ_H
#define S24_FUZZ_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "format.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t most, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t n, size_t most); /* its own */

#define REQUIRE(condition) \
    do { \
        if (!(condition)) { \
            dprintf(STDERR_FILENO, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
            abort(); \
        } \
    } while (0)

/* Names stand in messages as the file has them, line ends and all; the command escapes what it prints. */
static inline void require_told(s24_status status, const s24_error *err)
{
    REQUIRE(status == S24_OK || (err->status == status && err->message[0]));
}

/* A copy of the bytes, to be parsed and closed. */
static inline s24_source *source_of(const s24_format *format, const s24_read_options *options, const uint8_t *data,
                                    size_t n)
{
    static const s24_read_options none;
    static const s24_io io = {.threads = 1};
    s24_source *const source = calloc(1, sizeof *source);
    void *const copy = malloc(n + 1);
    REQUIRE(source && copy);
    memcpy(copy, data, n);
    *source = (s24_source){.format = format, .options = options ? options : &none, .io = &io};
    REQUIRE(s24_input_memory(&source->in, &io, "fuzz", copy, n, NULL) == S24_OK);
    return source;
}

/*
 * What takes many times as long as the rest is done with one input in `of`; always the same, so that a finding stays one.
 */
static inline bool is_chosen(const uint8_t *data, size_t n, uint32_t of)
{
    uint64_t hash = n;
    for (size_t i = 0; i < n; i += 8) { /* FNV-1a, a word at a time, and its upper bits mixed in */
        uint64_t word = 0;
        memcpy(&word, data + i, n - i < 8 ? n - i : 8);
        hash = (hash ^ word ^ hash >> 32) * UINT64_C(1099511628211);
    }
    return (hash ^ hash >> 40) % of == 0;
}

/* Cuts a line at its blanks; "" is a word, too. How many there are, at most `most`. */
static inline int cut_words(char *line, char **words, int most)
{
    int count = 0;
    for (char *next = line; next && count < most; count++) {
        words[count] = next;
        next = strchr(next, ' ');
        if (next) {
            *next++ = '\0';
        }
    }
    return count;
}

#endif
