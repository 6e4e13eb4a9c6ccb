/*
 * A line of options as a user gives them, and behind it any bytes as raw data: told what is wrong, or a tensor that has
 * just those bytes, each element turned round where they are big-endian.
 */
#include "fuzz.h"
#include "options.h"

#define WORDS 16

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    REQUIRE((stderr = fopen("/dev/null", "w"))); /* what the parser tells is fuzz_args's to look at */
    return 0;
}

/* Where the data begin; a line that is no option leaves *read as it is. */
static size_t parse_line(const uint8_t *data, size_t n, s24_read_options *read)
{
    static const args_group groups[] = {{"Input", read_options, 0}, {NULL, NULL, 0}};
    static char line[1024];
    const uint8_t *const end = memchr(data, '\n', n);
    const size_t length = end ? (size_t)(end - data) : 0;
    char *words[WORDS + 1] = {NULL};
    args a = {.command = "prune", .argv = words, .scopes = {{groups, read}}};
    if (length == 0 || length >= sizeof line) {
        return 0;
    }
    memcpy(line, data, length);
    line[length] = '\0';
    a.argc = cut_words(line, words, WORDS);
    args_parse(&a);
    read->format = NULL; /* it lives as long as the words */
    args_free(&a);
    return length + 1;
}

/* The data as the entry has them, byte for byte. */
static void check_data(const s24_entry *e, bool big_endian, const uint8_t *data)
{
    const unsigned bytes = s24_info(e->dtype)->bytes, unit = e->dtype == S24_C64 ? 4 : bytes;
    const size_t cols = e->rank ? e->shape[e->rank - 1] : 1, n = (size_t)e->bytes;
    if (bytes == 0 || n == 0) {
        return;
    }
    uint8_t *const read = malloc(n), *const scratch = malloc(n);
    REQUIRE(read && scratch);
    REQUIRE(s24_source_read_rows(e, e->rank ? e->rank - 1 : 0, 0, n / bytes / cols, 0, cols, read, scratch, NULL) == S24_OK);
    for (size_t i = 0; i < n; i++) {
        REQUIRE(read[i] == data[big_endian ? i / unit * unit + unit - 1 - i % unit : i]);
    }
    free(read);
    free(scratch);
}

static void open_once(const uint8_t *data, size_t n, const s24_read_options *read)
{
    s24_source *const source = source_of(&s24_format_raw, read, data, n);
    s24_error err = {0};
    const s24_status status = s24_source_parse(source, &err);
    require_told(status, &err);
    REQUIRE(status == S24_OK || status == S24_ERR_USAGE || status == S24_ERR_DATA);
    if (status == S24_OK) {
        const s24_entry *const e = source->contents.entries;
        REQUIRE(source->contents.count == 1 && e->offset == read->offset && e->offset + e->bytes == n);
        REQUIRE(e->dtype == read->dtype && e->rank == read->rank);
        check_data(e, read->big_endian, data + e->offset);
    }
    s24_source_close(source);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    s24_read_options read = {0};
    const size_t from = parse_line(data, n, &read);
    open_once(data + from, n - from, &read);
    return 0;
}
