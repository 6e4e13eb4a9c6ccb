/* Weights as JSON: forms, refusals by name and index, and numbers that come back bit for bit. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "format.h"
#include "st_header.h"

static char path[] = "/tmp/s24-test-XXXXXX";
static char noted[256];

static void take_note(void *user, const char *message)
{
    (void)user;
    snprintf(noted, sizeof noted, "%s", message);
}

static const s24_io io = {.force = true, .no_sync = true, .note = take_note};
static const s24_read_options as_json = {.format = "json"};

static void make_path(void)
{
    const int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    close(fd);
}

static void remove_path(void)
{
    unlink(path);
}

static void put_file(const char *text, size_t n)
{
    FILE *const f = fopen(path, "wb");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(text, 1, n, f), n);
    ck_assert_int_eq(fclose(f), 0);
}

static char *get_file(void)
{
    FILE *const f = fopen(path, "rb");
    struct stat st;
    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(fstat(fileno(f), &st), 0);
    char *const text = malloc((size_t)st.st_size + 1);
    ck_assert_ptr_nonnull(text);
    ck_assert_uint_eq(fread(text, 1, (size_t)st.st_size, f), (size_t)st.st_size);
    text[st.st_size] = '\0';
    fclose(f);
    return text;
}

/* The whole content as one line: NAME DTYPE[SHAPE]: values as f64, for each tensor. */
static void describe(s24_source *source, s24_text *text)
{
    for (size_t e = 0; e < source->contents.count; e++) {
        const s24_entry *const entry = &source->contents.entries[e];
        const s24_dtype_info *const info = s24_info(entry->dtype);
        unsigned char *const data = malloc((size_t)entry->bytes + 1);
        ck_assert_ptr_nonnull(data);
        ck_assert_int_eq(s24_input_read(source->in, entry->offset, data, (size_t)entry->bytes, NULL), S24_OK);
        s24_text_printf(text, "%s%s%s[", e ? "; " : "", entry->name, info->name);
        for (int d = 0; d < entry->rank; d++) {
            s24_text_printf(text, d ? ",%zu" : "%zu", entry->shape[d]);
        }
        s24_text_printf(text, "]:");
        for (size_t i = 0; i < entry->bytes / info->bytes; i++) {
            const uint64_t bits = s24_load(data, info->bytes, i);
            if (info->kind == S24_KIND_OPAQUE) {
                s24_text_printf(text, " 0x%llx", (unsigned long long)bits);
            } else {
                s24_text_printf(text, " %.17g", s24_decode(info, bits));
            }
        }
        free(data);
    }
}

/* ---------------------------------------------------------------- reading */

static const struct {
    const char *json, *content;
} good[] = {
    {"[[1,2],[3,4]]", "f64[2,2]: 1 2 3 4"},
    {"[0.5,-0.0,1e-400]", "f64[3]: 0.5 -0 0"},
    {"[]", "f64[0]:"},
    {"[[],[]]", "f64[2,0]:"},
    {"[[[]],[[]]]", "f64[2,1,0]:"},
    {"[[[1],[2]]]", "f64[1,2,1]: 1 2"},
    {"3.5", "f64[]: 3.5"},
    {"{}", ""},
    {"{\"dtype\":\"f32\",\"shape\":[2,2],\"data\":[[1,2],[3,4]]}", "f32[2,2]: 1 2 3 4"},
    {"{\"data\":[1,2,3,4],\"shape\":[2,2],\"dtype\":\"f16\"}", "f16[2,2]: 1 2 3 4"},
    {"{\"dtype\":\"f32\",\"shape\":[],\"data\":7}", "f32[]: 7"},
    {"{\"dtype\":\"f32\",\"shape\":[],\"data\":[7]}", "f32[]: 7"},
    {"{\"dtype\":\"f32\",\"shape\":[1],\"data\":[7]}", "f32[1]: 7"},
    {"{\"dtype\":\"f32\",\"shape\":[0,3],\"data\":[]}", "f32[0,3]:"},
    {"{\"dtype\":\"f32\",\"shape\":[3,0],\"data\":[]}", "f32[3,0]:"},
    {"{\"dtype\":\"f32\",\"shape\":[2,0],\"data\":[[],[]]}", "f32[2,0]:"},
    {"{\"dtype\":\"f32\",\"shape\":[1000000000,0],\"data\":[]}", "f32[1000000000,0]:"},
    /* rounding to nearest, ties to even */
    {"{\"dtype\":\"f32\",\"shape\":[3],\"data\":[0.1,16777217,16777219]}",
     "f32[3]: 0.10000000149011612 16777216 16777220"},
    {"{\"dtype\":\"f16\",\"shape\":[4],\"data\":[2049,2051,65519.99,1e-9]}", "f16[4]: 2048 2052 65504 0"},
    {"{\"dtype\":\"bf16\",\"shape\":[2],\"data\":[257,-259]}", "bf16[2]: 256 -260"},
    {"{\"dtype\":\"f8e4m3\",\"shape\":[3],\"data\":[448,17,-0.0]}", "f8e4m3[3]: 448 16 -0"},
    {"{\"dtype\":\"i8\",\"shape\":[3],\"data\":[-128,127,1e2]}", "i8[3]: -128 127 100"},
    {"{\"dtype\":\"i64\",\"shape\":[3],\"data\":[-1,9007199254740991,-0.0]}",
     "i64[3]: 0xffffffffffffffff 0x1fffffffffffff 0x0"},
    {"{\"dtype\":\"u16\",\"shape\":[1],\"data\":[65535]}", "u16[1]: 0xffff"},
    /* models */
    {"{\"w\":[[1,2]],\"b\":3}", "wf64[1,2]: 1 2; bf64[]: 3"},
    {"{\"w\":{\"dtype\":\"f32\",\"shape\":[1],\"data\":[1]},\"b\":[2]}", "wf32[1]: 1; bf64[1]: 2"},
    {"{\"a\\u00e9\\n\":[1],\"A\":[2],\"\":[3]}", "a\xc3\xa9\nf64[1]: 1; Af64[1]: 2; f64[1]: 3"},
    {"{\"data\":[1],\"b\":[2]}", "dataf64[1]: 1; bf64[1]: 2"},
    {"{\"dtype\":[1]}", "dtypef64[1]: 1"},
    {"{\"dtype\":{\"dtype\":\"i8\",\"shape\":[1],\"data\":[1]}}", "dtypei8[1]: 1"},
    {"{\"dtype\":[1],\"Data\":[2]}", "dtypef64[1]: 1; Dataf64[1]: 2"},
    {"{\"d\\u0061ta\":[3,4],\"\\u0073hape\":[2],\"dtyp\\u0065\":\"f\\u00332\"}", "f32[2]: 3 4"},
    /* blanks wherever there may be some */
    {" [ [ 1 , 2 ] , [ 3 , 4 ] ] ", "f64[2,2]: 1 2 3 4"},
    {"\r\n{ \"a\" : [ [ ] , [ ] ] ,\t\"b\" : { \"shape\" : [ 1 , 2 ] , \"data\" : [ 5 , 6 ] , \"dtype\" : \"i8\" } }\n",
     "af64[2,0]:; bi8[1,2]: 5 6"},
    {"{\"dtype\":\"f32\",\"shape\":[2e0,1.0],\"data\":[[1],[2]]}", "f32[2,1]: 1 2"},
    {"{\"dtype\":\"f64\",\"shape\":[-0],\"data\":[]}", "f64[0]:"},
};

START_TEST(good_texts)
{
    s24_source *source = NULL;
    s24_error err;
    s24_text text = {0};
    put_file(good[_i].json, strlen(good[_i].json));
    ck_assert_msg(s24_source_open(&source, &io, path, &as_json, &err) == S24_OK, "%s: %s", good[_i].json, err.message);
    s24_text_add(&text, "", 0);
    describe(source, &text);
    ck_assert_str_eq(text.text, good[_i].content);
    ck_assert_str_eq(source->in->name, path);
    uint64_t end = 0;
    for (size_t i = 0; i < source->contents.count; i++) {
        end = source->contents.entries[i].offset + source->contents.entries[i].bytes;
    }
    ck_assert_int_eq(s24_input_expect_end(source->in, end, &err), S24_OK);
    s24_text_free(&text);
    s24_source_close(source);
}
END_TEST

static const struct {
    const char *json, *message;
} bad[] = {
    {"", "not complete"},
    {"[1,2", "byte 4: the text ends here"},
    {"[NaN]", "byte 1: JSON has no infinity and no NaN; use .npy"},
    {"[1,-Infinity]", "use .npy"},
    {"[1e999]", "beyond the range of f64"},
    {"\"text\"", "the tensor is a string"},
    {"null", "the tensor is null"},
    {"true", "the tensor is a boolean"},
    {"[[1,2],[3]]", "[1] has length 1 where 2 is expected"},
    {"[[1,2],[3,4,5]]", "[1] has length 3 where 2 is expected"},
    {"[[[1],[2]],[[3],[4,5]]]", "[1,1] has length 2 where 1 is expected"},
    {"[[],[1]]", "[1] has length 1 where 0 is expected"},
    {"[1,[2]]", "[1] is a list where a number is expected"},
    {"[[1],2]", "[1] is a number where a list of 1 is expected"},
    {"[[1,2],[3,\"4\"]]", "[1,1] is a string where a number is expected"},
    {"[[1,2],[null,4]]", "[1,0] is null where a number is expected"},
    {"[true]", "[0] is a boolean where a number is expected"},
    {"[[1],{\"a\":1}]", "[1] is an object where a list of 1 is expected"},
    {"{\"w\":\"x\"}", "w: the tensor is a string"},
    {"{\"w\":[[1,2],[3]]}", "w: [1] has length 1"},
    {"{\"a\\n\":null}", "a\\n: the tensor is null"},
    {"{\"w\":[1],\"w\":[1]}", "\"w\" occurs twice"},
    {"{\"w\":{}}", "w: the tensor has no \"dtype\""},
    {"{\"w\":{\"dtype\":\"f32\",\"shape\":[1]}}", "w: the tensor has no \"data\""},
    {"{\"shape\":[1],\"data\":[1]}", "the tensor has no \"dtype\""},
    {"{\"dtype\":\"f32\",\"data\":[1]}", "the tensor has no \"shape\""},
    {"{\"dtype\":\"f32\",\"shape\":[1],\"data\":[1],\"more\\t\":1}", "has an unknown member \"more\\t\""},
    {"{\"dtype\":\"F32\",\"shape\":[1],\"data\":[1]}", "has the unknown dtype \"F32\"; known are f64 f32"},
    {"{\"dtype\":\"c64\",\"shape\":[1],\"data\":[1]}", "has the unknown dtype \"c64\""},
    {"{\"dtype\":\"bool\",\"shape\":[1],\"data\":[1]}", "has the unknown dtype \"bool\""},
    {"{\"w\":{\"dtype\":1,\"shape\":[1],\"data\":[1]}}", "w: the tensor has a \"dtype\" that is not a string"},
    {"{\"dtype\":1,\"data\":[1],\"shape\":[1]}", "the tensor has a \"dtype\" that is not a string"},
    {"{\"dtype\":\"f32\",\"shape\":1,\"data\":[1]}", "has a \"shape\" that is not a list"},
    {"{\"dtype\":\"f32\",\"shape\":[-1],\"data\":[1]}", "not a list of whole numbers"},
    {"{\"dtype\":\"f32\",\"shape\":[1.5],\"data\":[1]}", "not a list of whole numbers"},
    {"{\"dtype\":\"f32\",\"shape\":[1e30],\"data\":[1]}", "not a list of whole numbers"},
    {"{\"dtype\":\"f32\",\"shape\":[2,3],\"data\":[1,2,3,4,5]}", "the data has length 5, but the shape has 6 elements"},
    {"{\"dtype\":\"f32\",\"shape\":[2,3],\"data\":[]}", "the data has length 0, but the shape has 6 elements"},
    {"{\"dtype\":\"f32\",\"shape\":[2,2],\"data\":[[1,2]]}", "the data has length 1 where 2 is expected"},
    {"{\"dtype\":\"f32\",\"shape\":[2],\"data\":[1,2,3]}", "the data has length 3 where 2 is expected"},
    {"{\"dtype\":\"f32\",\"shape\":[2,2],\"data\":[1,2,3,[4]]}", "[3] is a list where a number is expected"},
    {"{\"dtype\":\"f32\",\"shape\":[2],\"data\":1}", "the data is a number where a list of 2 is expected"},
    {"{\"dtype\":\"f32\",\"shape\":[2],\"data\":{}}", "the data is an object where a list of 2 is expected"},
    {"{\"dtype\":\"f32\",\"shape\":[1000000,1000000],\"data\":[1]}",
     "has length 1, but the shape has 1000000000000 elements"},
    {"{\"dtype\":\"f64\",\"shape\":[4294967296,4294967296],\"data\":[1]}", "the shape"},
    {"{\"dtype\":\"f32\",\"shape\":[2],\"data\":[1,3.5e38]}", "[1] (3.5e+38) is beyond the range of f32"},
    {"{\"dtype\":\"f16\",\"shape\":[1],\"data\":[65520]}", "[0] (65520) is beyond the range of f16"},
    {"{\"dtype\":\"f8e4m3\",\"shape\":[1],\"data\":[480]}", "[0] (480) is beyond the range of f8e4m3"},
    {"{\"dtype\":\"i8\",\"shape\":[1],\"data\":[128]}", "[0] (128) is not an integer of i8 (-128 to 127)"},
    {"{\"dtype\":\"i8\",\"shape\":[1],\"data\":[0.5]}", "[0] (0.5) is not an integer of i8"},
    {"{\"dtype\":\"u8\",\"shape\":[1],\"data\":[-1]}", "is not an integer of u8 (0 to 255)"},
    {"{\"dtype\":\"i64\",\"shape\":[1],\"data\":[9007199254740993]}", "is not an integer of i64"},
    /* more than the text can hold: nothing is allocated for it */
    {"{\"dtype\":\"f64\",\"shape\":[100000000,100],\"data\":[[1,2]]}", "[0] has length 2 where 100 is expected"},
    {"{\"a\":{\"dtype\":\"f64\",\"shape\":[2,1000000000000],\"data\":[[1],[2]]},\"b\":[\"x\"]}",
     "a: [0] has length 1 where 1000000000000 is expected"},
    {"{\"a\":[\"x\"],\"b\":{\"dtype\":\"f64\",\"shape\":[2,1000000000000],\"data\":[[1],[2]]}}", "a: [0] is a string"},
    {"[[[1,2],[3,4]],[[5,6],[7,8],[9]]]", "[1] has length 3 where 2 is expected"},
    {"[[1,2],[3,4,[5],{\"]\":[6]},\"]\"]]", "[1] has length 5 where 2 is expected"},
    {"[[1,2],{\"a\":[1,2]}]", "[1] is an object where a list of 2 is expected"},
    {"{\"w\":false}", "w: the tensor is a boolean"},
    {"{\"dtype\":\"f32\",\"shape\":[\"1\"],\"data\":[1]}", "not a list of whole numbers"},
    {"{\"dtype\":\"f32\",\"shape\":[[1]],\"data\":[1]}", "not a list of whole numbers"},
    {"{\"dtype\":\"f32\",\"shape\":[9007199254740994],\"data\":[1]}", "not a list of whole numbers"},
    {"{\"dtype\":\"f32\",\"x\":1,\"shape\":[1],\"y\":2,\"data\":[1]}", "has an unknown member \"x\""},
};

START_TEST(bad_texts)
{
    s24_source *source = NULL;
    s24_error err = {0};
    put_file(bad[_i].json, strlen(bad[_i].json));
    ck_assert_msg(s24_source_open(&source, &io, path, &as_json, &err) == S24_ERR_DATA, "%s", bad[_i].json);
    ck_assert_msg(strstr(err.message, bad[_i].message), "%s: %s", bad[_i].json, err.message);
    ck_assert_ptr_null(strchr(err.message, '\n'));
    ck_assert_int_eq(s24_source_open(&source, &io, path, &as_json, NULL), S24_ERR_DATA);
}
END_TEST

START_TEST(dimensions_have_a_limit)
{
    char text[140];
    s24_source *source = NULL;
    s24_error err;
    for (size_t rank = 64; rank <= 65; rank++) {
        memset(text, '[', rank);
        memset(text + rank, ']', rank);
        put_file(text, 2 * rank);
        const s24_status status = s24_source_open(&source, &io, path, NULL, &err);
        ck_assert_int_eq(status, rank == 64 ? S24_OK : S24_ERR_DATA);
        if (status == S24_OK) {
            s24_source_close(source);
        }
    }
    ck_assert_ptr_nonnull(strstr(err.message, "more than 64 dimensions"));
}
END_TEST

/* Said, and not counted from the brackets. */
START_TEST(dimensions_said_have_a_limit)
{
    s24_source *source = NULL;
    s24_error err;
    for (int rank = 64; rank <= 65; rank++) {
        s24_text text = {0};
        s24_text_printf(&text, "{\"dtype\":\"f32\",\"shape\":[0");
        for (int d = 1; d < rank; d++) {
            s24_text_printf(&text, ",1");
        }
        s24_text_printf(&text, "],\"data\":[]}");
        put_file(text.text, text.length);
        s24_text_free(&text);
        ck_assert_int_eq(s24_source_open(&source, &io, path, NULL, &err), rank == 64 ? S24_OK : S24_ERR_DATA);
        if (rank == 64) {
            ck_assert_int_eq(source->contents.entries->rank, 64);
            s24_source_close(source);
        }
    }
    ck_assert_ptr_nonnull(strstr(err.message, "has more than 64 dimensions"));
}
END_TEST

START_TEST(found_by_content)
{
    static const struct {
        const char *head;
        size_t n;
        bool json;
    } heads[] = {
        {"[", 1, true},
        {" \t\r\n{", 5, true},
        {"", 0, false},
        {"   ", 3, false},
        {"1", 1, false},
        {"-1", 2, false},
        {"x[", 2, false},
        {"[\0\0\0\0\0\0\0{\"a\"", 12, false},  /* safetensors with a header of 91 bytes */
        {" \0\0\0\0\0\0\0{\"a\"", 12, false},  /* of 32 */
        {"{\0\0\0\0\0\0\0{\"a\"", 12, false},  /* of 123 */
    };
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        const unsigned char *const head = (const unsigned char *)heads[i].head;
        ck_assert_msg(s24_format_json.probe(head, heads[i].n) == heads[i].json, "%zu", i);
    }
}
END_TEST

/* From a pipe, longer than its buffer and than the first step of reading; and every truncation of a short text. */
START_TEST(pipes_and_truncations)
{
    s24_text text = {0};
    s24_source *source = NULL;
    s24_error err;
    int fds[2];
    char name[32];
    s24_text_add(&text, "[0", 2);
    for (int i = 1; i < 100000; i++) {
        s24_text_printf(&text, ",%d.5", i);
    }
    s24_text_add(&text, "]", 1);
    ck_assert_int_eq(pipe(fds), 0);
    const pid_t child = fork();
    if (child == 0) {
        close(fds[0]);
        FILE *const f = fdopen(fds[1], "wb");
        fwrite(text.text, 1, text.length, f);
        fclose(f);
        _exit(0);
    }
    close(fds[1]);
    snprintf(name, sizeof name, "/dev/fd/%d", fds[0]);
    ck_assert_int_eq(s24_source_open(&source, &io, name, NULL, &err), S24_OK);
    waitpid(child, NULL, 0);
    ck_assert_uint_eq(source->contents.entries[0].shape[0], 100000);
    double last;
    ck_assert_int_eq(s24_input_read(source->in, 8 * 99999, &last, 8, &err), S24_OK);
    ck_assert_double_eq(last, 99999.5);
    s24_source_close(source);
    close(fds[0]);
    s24_text_free(&text);

    static const char model[] = "{\"w\":{\"dtype\":\"f32\",\"shape\":[1,2],\"data\":[[-1.5e3,2]]},\"b\":[3]}";
    for (size_t n = 0; n < sizeof model - 1; n++) {
        put_file(model, n);
        ck_assert_int_eq(s24_source_open(&source, &io, path, &as_json, &err), S24_ERR_DATA);
        ck_assert_ptr_nonnull(strstr(err.message, "byte "));
    }
}
END_TEST

START_TEST(too_much_text)
{
    s24_source *source = NULL;
    s24_error err;
    put_file("[", 1);
    ck_assert_int_eq(truncate(path, 64000001), 0);
    ck_assert_int_eq(s24_source_open(&source, &io, path, &as_json, &err), S24_ERR_DATA);
    ck_assert_ptr_nonnull(strstr(err.message, "more than 64 MB; use .npy"));
    ck_assert_int_eq(truncate(path, 64000000), 0);
    ck_assert_int_eq(s24_source_open(&source, &io, path, &as_json, &err), S24_ERR_DATA);
    ck_assert_ptr_nonnull(strstr(err.message, "byte 1: a value is missing"));
}
END_TEST

/* ---------------------------------------------------------------- writing */

/* Writes a plan whose entries' data lie behind one another in `data`, `piece` elements at a time. */
static s24_status write_pieces(s24_contents *contents, const void *data, size_t piece, s24_error *err)
{
    s24_output *out = NULL;
    s24_sink *sink = NULL;
    ck_assert_int_eq(s24_output_open(&out, &io, path, NULL, 0, err), S24_OK);
    ck_assert_int_eq(s24_sink_open(&sink, &s24_format_json, out, contents, err), S24_OK);
    const unsigned char *from = data;
    for (size_t e = 0; e < sink->contents.count; e++) {
        const size_t bytes = s24_info(sink->contents.entries[e].dtype)->bytes;
        const size_t elements = (size_t)sink->contents.entries[e].bytes / bytes;
        if (elements == 0 && piece % 2) { /* none of it: nobody has to write that */
            ck_assert_int_eq(s24_format_json.write(sink, e, 0, 0, from, err), S24_OK);
        }
        for (size_t i = 0; i < elements;) {
            const size_t n = elements - i < piece ? elements - i : piece;
            const s24_status status = s24_format_json.write(sink, e, i, n, from, err);
            if (status != S24_OK) {
                s24_sink_abort(sink);
                return status;
            }
            from += n * bytes;
            i += n;
        }
    }
    return s24_sink_commit(sink, err);
}

START_TEST(forms_written)
{
    static const size_t square[] = {2, 2}, cube[] = {2, 1, 2}, empty[] = {1000000000, 0};
    static const double f64s[] = {1, -0.0, 0.1, 1e300};
    static const float f32s[] = {1, 2, 0.1f, 3e38f};
    static const int8_t i8s[] = {-128, 0, 127, 1};
    static const uint64_t u64s[] = {0, 9007199254740991, 1, 2};
    const struct {
        const char *name;
        s24_dtype dtype;
        int rank;
        const size_t *shape;
        const void *data;
        const char *json;
    } cases[] = {
        {"", S24_F64, 2, square, f64s, "[[1,-0.0],[0.1,1e+300]]\n"},
        {"", S24_F64, 3, cube, f64s, "[[[1,-0.0]],[[0.1,1e+300]]]\n"},
        {"", S24_F64, 1, square, f64s, "[1,-0.0]\n"},
        {"", S24_F64, 0, square, f64s, "{\"dtype\":\"f64\",\"shape\":[],\"data\":1}\n"},
        {"", S24_F64, 2, empty, f64s, "{\"dtype\":\"f64\",\"shape\":[1000000000,0],\"data\":[]}\n"},
        {"", S24_F32, 2, square, f32s, "{\"dtype\":\"f32\",\"shape\":[2,2],\"data\":[[1,2],[0.1,3e+38]]}\n"},
        {"", S24_I8, 2, square, i8s, "{\"dtype\":\"i8\",\"shape\":[2,2],\"data\":[[-128,0],[127,1]]}\n"},
        {"", S24_U64, 2, square, u64s, "{\"dtype\":\"u64\",\"shape\":[2,2],\"data\":[[0,9007199254740991],[1,2]]}\n"},
        {"a\"b", S24_F64, 1, square, f64s, "{\"a\\\"b\":{\"dtype\":\"f64\",\"shape\":[2],\"data\":[1,-0.0]}}\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (size_t piece = 1; piece <= 5; piece++) {
            s24_contents contents = {0};
            s24_error err;
            s24_contents_add(&contents, cases[i].name, cases[i].dtype, cases[i].rank, cases[i].shape, NULL);
            ck_assert_int_eq(write_pieces(&contents, cases[i].data, piece, &err), S24_OK);
            char *const text = get_file();
            ck_assert_str_eq(text, cases[i].json);
            free(text);
        }
    }
}
END_TEST

START_TEST(models_written)
{
    static const size_t shape[] = {2, 0};
    static const double f64s[] = {1, 2, 3, 4};
    s24_contents contents = {0};
    s24_error err;
    s24_contents_add(&contents, "e", S24_F32, 2, shape, NULL);
    s24_contents_add(&contents, "a", S24_F64, 1, shape, NULL);
    s24_contents_add(&contents, "f", S24_F32, 2, shape, NULL);
    s24_contents_add(&contents, "b", S24_F64, 1, shape, NULL);
    s24_contents_add(&contents, "g", S24_F32, 2, shape, NULL);
    s24_contents_add_pair(&contents, "k", "v", NULL);
    noted[0] = '\0';
    ck_assert_int_eq(write_pieces(&contents, f64s, 1, &err), S24_OK);
    ck_assert_ptr_nonnull(strstr(noted, "metadata"));
    char *text = get_file();
    ck_assert_str_eq(text, "{\"e\":{\"dtype\":\"f32\",\"shape\":[2,0],\"data\":[]},"
                           "\"a\":{\"dtype\":\"f64\",\"shape\":[2],\"data\":[1,2]},"
                           "\"f\":{\"dtype\":\"f32\",\"shape\":[2,0],\"data\":[]},"
                           "\"b\":{\"dtype\":\"f64\",\"shape\":[2],\"data\":[3,4]},"
                           "\"g\":{\"dtype\":\"f32\",\"shape\":[2,0],\"data\":[]}}\n");
    free(text);
    ck_assert_int_eq(write_pieces(&contents, f64s, 1, &err), S24_OK); /* no tensors at all */
    text = get_file();
    ck_assert_str_eq(text, "{}\n");
    free(text);
}
END_TEST

START_TEST(not_writable)
{
    static const size_t shape[] = {2, 2};
    static const double nan_at_3[] = {1, 2, 3, NAN};
    static const float infinite_at_2[] = {1, 2, -INFINITY, 4};
    static const int64_t large_at_1[] = {1, 9007199254740993, 3, 4}, low_at_0[] = {-9007199254740993, 2, 3, 4};
    const struct {
        const char *name;
        s24_dtype dtype;
        const void *data;
        const char *message;
    } cases[] = {
        {"", S24_F64, nan_at_3, "[1,1] is NaN, which JSON does not have"},
        {"w", S24_F32, infinite_at_2, "w: [1,0] is infinite"},
        {"w", S24_I64, large_at_1, "w: [0,1] is beyond 2^53"},
        {"", S24_I64, low_at_0, "[0,0] is beyond 2^53"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        s24_contents contents = {0};
        s24_error err;
        s24_contents_add(&contents, cases[i].name, cases[i].dtype, 2, shape, NULL);
        ck_assert_int_eq(write_pieces(&contents, cases[i].data, 3, &err), S24_ERR_DATA);
        ck_assert_msg(strstr(err.message, cases[i].message), "%s", err.message);
    }
    for (int i = 0; i < S24_DTYPES; i++) {
        const s24_entry entry = {.dtype = (s24_dtype)i};
        const bool number = s24_dtype_prunable(entry.dtype) || (i >= S24_I64 && i <= S24_U8);
        ck_assert_int_eq(s24_format_json.accepts(&entry, NULL), number ? S24_OK : S24_ERR_DATA);
    }
}
END_TEST

/* ---------------------------------------------------------------- there and back */

static uint64_t seed;

static uint64_t random_bits(void) /* splitmix64 */
{
    uint64_t z = seed += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* Random bits of every dtype (all of those of 16 bits and fewer) come back, bit for bit. */
START_TEST(every_value_comes_back)
{
    const s24_dtype_info *const info = s24_info((s24_dtype)_i);
    const size_t n = 65536;
    const s24_entry entry = {.dtype = info->id};
    if (s24_format_json.accepts(&entry, NULL) != S24_OK) {
        return;
    }
    uint64_t *const data = calloc(n, 8), *const again = calloc(n, 8);
    ck_assert_ptr_nonnull(data);
    ck_assert_ptr_nonnull(again);
    for (size_t i = 0; i < n; i++) {
        const bool large = info->kind == S24_KIND_OPAQUE && info->bits == 64;
        uint64_t bits = info->bits <= 16 ? i : random_bits() >> (large ? 11 : 0);
        if (info->kind != S24_KIND_OPAQUE && info->kind != S24_KIND_INT &&
            (bits & info->magnitude_mask) >= info->nonfinite_key) {
            bits = 0;
        }
        s24_store(data, info->bytes, i, bits);
    }
    const size_t shape[] = {256, 256};
    s24_contents contents = {0};
    s24_source *source = NULL;
    s24_error err;
    s24_contents_add(&contents, "", info->id, 2, shape, NULL);
    ck_assert_msg(write_pieces(&contents, data, 1000, &err) == S24_OK, "%s", err.message);
    ck_assert_msg(s24_source_open(&source, &io, path, NULL, &err) == S24_OK, "%s", err.message);
    ck_assert_int_eq(source->contents.entries[0].dtype, info->id);
    ck_assert_int_eq(s24_input_read(source->in, 0, again, n * info->bytes, &err), S24_OK);
    ck_assert_mem_eq(data, again, n * info->bytes);
    s24_source_close(source);
    free(data);
    free(again);
}
END_TEST

START_TEST(fewest_digits)
{
    static const double f64s[] = {0.1, 0.30000000000000004, 5e-324, 1e22, 123456789012345680, 100};
    static const float f32s[] = {0.1f, 16777216, 0.3f, 1.17549435e-38f};
    static const size_t six[] = {6}, four[] = {4};
    s24_contents contents = {0};
    s24_error err;
    s24_contents_add(&contents, "", S24_F64, 1, six, NULL);
    ck_assert_int_eq(write_pieces(&contents, f64s, 6, &err), S24_OK);
    char *text = get_file();
    ck_assert_str_eq(text, "[0.1,0.30000000000000004,5e-324,1e+22,1.2345678901234568e+17,100]\n");
    free(text);
    s24_contents_add(&contents, "", S24_F32, 1, four, NULL);
    ck_assert_int_eq(write_pieces(&contents, f32s, 4, &err), S24_OK);
    text = get_file();
    ck_assert_str_eq(text, "{\"dtype\":\"f32\",\"shape\":[4],\"data\":[0.1,16777216,0.3,1.1754944e-38]}\n");
    free(text);
}
END_TEST

int main(void)
{
    const char *const given = getenv("S24_SEED");
    seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
    printf("test_json: S24_SEED=%llu\n", (unsigned long long)seed);
    Suite *const suite = suite_create("json");
    TCase *const tcase = tcase_create("all");
    tcase_add_checked_fixture(tcase, make_path, remove_path);
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, good_texts, 0, (int)(sizeof good / sizeof *good));
    tcase_add_loop_test(tcase, bad_texts, 0, (int)(sizeof bad / sizeof *bad));
    tcase_add_test(tcase, dimensions_have_a_limit);
    tcase_add_test(tcase, dimensions_said_have_a_limit);
    tcase_add_test(tcase, found_by_content);
    tcase_add_test(tcase, pipes_and_truncations);
    tcase_add_test(tcase, too_much_text);
    tcase_add_test(tcase, forms_written);
    tcase_add_test(tcase, models_written);
    tcase_add_test(tcase, not_writable);
    tcase_add_loop_test(tcase, every_value_comes_back, 0, S24_DTYPES);
    tcase_add_test(tcase, fewest_digits);
    suite_add_tcase(suite, tcase);
    SRunner *const runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
