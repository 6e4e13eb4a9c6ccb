/*
 * Checkpoints: which files of a directory are a model's, what its index may say, and that the tensors gathered from all
 * shards are still those of the files that they came from.
 */
#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "checkpoint.h"
#include "st_header.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define INDEX "model.safetensors.index.json"

static char directory[] = "/tmp/s24-test-XXXXXX";
static char notes[1024];

static void note(void *user, const char *message)
{
    (void)user;
    snprintf(notes + strlen(notes), sizeof notes - strlen(notes), "%s\n", message);
}

static const s24_io io = {.threads = 1, .note = note};

/* ---------------------------------------------------------------- files */

static void empty_directory(const char *path)
{
    DIR *const d = opendir(path);
    for (const struct dirent *e; d && (e = readdir(d));) {
        char name[512];
        snprintf(name, sizeof name, "%s/%s", path, e->d_name);
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 && unlink(name) != 0) {
            empty_directory(name);
            rmdir(name);
        }
    }
    if (d) {
        closedir(d);
    }
}

static void make_directory(void)
{
    ck_assert_ptr_nonnull(mkdtemp(directory));
    ck_assert_int_eq(chdir(directory), 0);
}

static void remove_directory(void)
{
    empty_directory(directory);
    ck_assert_int_eq(chdir("/"), 0);
    rmdir(directory);
}

static void put(const char *path, const void *data, size_t n)
{
    FILE *const f = fopen(path, "wb");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(data, 1, n, f), n);
    ck_assert_int_eq(fclose(f), 0);
}

static void put_text(const char *path, const char *text)
{
    put(path, text, strlen(text));
}

/* An empty directory "ck". */
static void start(void)
{
    empty_directory("ck");
    mkdir("ck", 0777);
    notes[0] = '\0';
}

/* A safetensors file: a header, and n bytes that are all `fill`. */
static void put_file(const char *path, const char *header, unsigned fill, size_t n)
{
    const size_t length = strlen(header);
    FILE *const f = fopen(path, "wb");
    ck_assert_ptr_nonnull(f);
    for (int i = 0; i < 8; i++) {
        fputc((int)((uint64_t)length >> 8 * i & 0xff), f);
    }
    fputs(header, f);
    while (n--) {
        fputc((int)fill, f);
    }
    ck_assert_int_eq(fclose(f), 0);
}

/* A shard of f32 tensors of 2x4, whose bytes are all `fill`; names as JSON spells them. metadata: "" or "\"a\":\"b\"". */
static void put_shard(const char *path, const char *metadata, unsigned fill, const char *const *names, size_t count)
{
    s24_text text = {0};
    s24_text_printf(&text, "{\"__metadata__\":{%s}", metadata);
    for (size_t i = 0; i < count; i++) {
        s24_text_printf(&text, ",\"%s\":{\"dtype\":\"F32\",\"shape\":[2,4],\"data_offsets\":[%zu,%zu]}", names[i], 32 * i,
                        32 * (i + 1));
    }
    s24_text_printf(&text, "}");
    put_file(path, text.text, fill, 32 * count);
    s24_text_free(&text);
}

static void put_one(const char *path, const char *metadata, unsigned fill, const char *name)
{
    put_shard(path, metadata, fill, &name, 1);
}

/* Two shards with a tensor each, and their index. */
static void two_shards(void)
{
    start();
    put_one("ck/1.safetensors", "", 1, "a");
    put_one("ck/2.safetensors", "", 2, "b");
    put_text("ck/" INDEX, "{\"weight_map\":{\"a\":\"1.safetensors\",\"b\":\"2.safetensors\"}}");
}

/* ---------------------------------------------------------------- opening */

static s24_source *must_open(const char *path)
{
    s24_source *source = NULL;
    s24_error err = {0};
    const s24_status status = s24_source_open(&source, &io, path, NULL, &err);
    ck_assert_msg(status == S24_OK, "%s: %s", path, err.message);
    return source;
}

static void refuse_as(const char *path, const char *format, s24_status expected, const char *piece)
{
    const s24_read_options options = {.format = format};
    s24_source *source = NULL;
    s24_error err = {0};
    const s24_status status = s24_source_open(&source, &io, path, &options, &err);
    if (status == S24_OK) {
        s24_source_close(source);
    }
    ck_assert_msg(status == expected && err.status == expected, "status %d instead of %d: %s", status, expected, err.message);
    ck_assert_msg(strstr(err.message, piece), "\"%s\" has no \"%s\"", err.message, piece);
}

static void refuse(const char *path, const char *piece)
{
    refuse_as(path, NULL, S24_ERR_DATA, piece);
}

/* What holds of every checkpoint: each part's contents are its range of all, and each entry knows its file. */
static void check_parts(s24_source *source)
{
    size_t at = 0;
    ck_assert_uint_eq(s24_source_files(source), source->part_count);
    for (size_t i = 0; i < source->part_count; i++) {
        s24_source *const part = s24_source_file(source, i);
        ck_assert(part->is_part && !part->checkpoint && part->format == source->format);
        ck_assert(part->contents.count == 0 || part->contents.entries == source->contents.entries + at);
        for (size_t k = 0; k < part->contents.count; k++) {
            ck_assert_ptr_eq(source->contents.entries[at + k].source, part);
            ck_assert_ptr_eq(source->contents.entries[at + k].in, part->in);
        }
        at += part->contents.count;
    }
    ck_assert_uint_eq(at, source->contents.count);
}

static unsigned first_byte(const s24_entry *e)
{
    unsigned char row[16], scratch[16];
    s24_error err = {0};
    ck_assert_msg(s24_source_read_rows(e, e->rank - 1, 0, 1, 0, 4, row, scratch, &err) == S24_OK, "%s", err.message);
    return row[0];
}

static unsigned byte_of(s24_source *source, const char *name)
{
    const s24_entry *const e = s24_source_find_entry(source, name);
    ck_assert_msg(e, "no tensor %s", name);
    return first_byte(e);
}

/* ---------------------------------------------------------------- which files */

START_TEST(what_is_a_checkpoint)
{
    two_shards();
    put_text("index.json", "{}");
    ck_assert(s24_checkpoint_is("ck", false) && s24_checkpoint_is("ck/", true));
    ck_assert(s24_checkpoint_is("ck/" INDEX, false) && !s24_checkpoint_is("ck/" INDEX, true));
    ck_assert(s24_checkpoint_is("nowhere/x.index.json", false)); /* by its name */
    ck_assert(!s24_checkpoint_is("ck/1.safetensors", false) && !s24_checkpoint_is("index.json", false));
    ck_assert(!s24_checkpoint_is("nowhere", false) && !s24_checkpoint_is("-", false));
}
END_TEST

START_TEST(a_directory_without_an_index)
{
    start();
    refuse("ck", "has no .safetensors and no .s24 files");
    put_text("ck/config.json", "{}");
    put_text("ck/.hidden.safetensors", "x"); /* nobody's weights */
    put_text("ck/safetensors", "x");
    put_text("ck/.safetensors", "x");
    refuse("ck", "has no .safetensors and no .s24 files");
    put_text("ck/pytorch_model.bin", "x");
    refuse("ck", "safetensors.torch.save_file");
    put_one("ck/one.safetensors", "\"format\":\"pt\"", 7, "a");
    s24_source *const source = must_open("ck");
    ck_assert(!source->checkpoint->index && source->part_count == 1 && source->contents.count == 1);
    ck_assert_uint_eq(source->contents.pairs, 1);
    check_parts(source);
    ck_assert_uint_eq(byte_of(source, "a"), 7);
    ck_assert(s24_source_is_model(source));
    s24_source_close(source);
    put_one("ck/a.safetensors", "", 7, "b");
    refuse("ck", "has 2 weights files, a.safetensors first, and no index");
    unlink("ck/a.safetensors");
    put_shard("ck/one.safetensors", "", 7, NULL, 0);
    s24_source *const nothing = must_open("ck");
    ck_assert(nothing->part_count == 1 && nothing->contents.count == 0);
    s24_source_close(nothing);
}
END_TEST

START_TEST(indexes_and_other_files)
{
    two_shards();
    put_one("ck/0.safetensors", "", 3, "c");
    refuse("ck", "0.safetensors is not in " INDEX "; move it away");
    s24_source *const source = must_open("ck/" INDEX); /* names what is meant */
    ck_assert_uint_eq(source->contents.count, 2);
    s24_source_close(source);
    unlink("ck/0.safetensors");
    put_text("ck/left.s24", "x");
    refuse("ck", "left.s24 is not in");
    unlink("ck/left.s24");
    put_text("ck/a.s24.index.json", "{}");
    refuse("ck", "has 2 indexes, a.s24.index.json first");
    unlink("ck/a.s24.index.json");
    put_text("ck/z.s24.index.json", "{}"); /* whichever the directory lists first */
    refuse("ck", "has 2 indexes, " INDEX " first");
    unlink("ck/z.s24.index.json");
    put_text("ck/other.index.json", "{}"); /* of something else than weights */
    s24_source_close(must_open("ck"));
    refuse_as("nowhere/" INDEX, NULL, S24_ERR_SYSTEM, "No such file");
}
END_TEST

/* An index named with a type is a file like any other; a directory cannot be another type than it is. */
START_TEST(a_type_is_given)
{
    s24_source *source;
    s24_error err;
    static const s24_read_options right = {.format = "safetensors"};
    two_shards();
    refuse_as("ck/" INDEX, "json", S24_ERR_DATA, "weight_map");
    refuse_as("ck", "npy", S24_ERR_DATA, "is a checkpoint of .safetensors files, not .npy");
    refuse_as("ck", "s24", S24_ERR_DATA, "is a checkpoint of .safetensors files, not .s24");
    ck_assert_int_eq(s24_source_open(&source, &io, "ck", &right, &err), S24_OK);
    check_parts(source);
    s24_source_close(source);
}
END_TEST

/* An index in the directory where one stands, without a slash. */
START_TEST(an_index_by_its_bare_name)
{
    two_shards();
    ck_assert_int_eq(chdir("ck"), 0);
    s24_source *source = must_open(INDEX);
    check_parts(source);
    s24_source_close(source);
    source = must_open(".");
    ck_assert_uint_eq(byte_of(source, "b"), 2);
    s24_source_close(source);
    ck_assert_int_eq(chdir(directory), 0);
}
END_TEST

/* ---------------------------------------------------------------- what an index says */

static const struct bad_index {
    const char *text, *message;
} bad_indexes[] = {
    {"", ""},
    {"{", ""},
    {"[]", "has no weight_map"},
    {"null", "has no weight_map"},
    {"{}", "has no weight_map"},
    {"{\"weight_map\":[]}", "has no weight_map"},
    {"{\"Weight_Map\":{\"a\":\"1.safetensors\"}}", "has no weight_map"},
    {"{\"weight_map\":{}}", "its weight_map is empty"},
    {"{\"weight_map\":{\"a\":1}}", "weight_map: a: the file's name is not a string"},
    {"{\"weight_map\":{\"a\":null}}", "weight_map: a: the file's name is not a string"},
    {"{\"weight_map\":{\"a\":[\"1.safetensors\"]}}", "weight_map: a: the file's name is not a string"},
    {"{\"weight_map\":{\"a\":\"\"}}", "is not the name of a file beside the index"},
    {"{\"weight_map\":{\"a\":\"../1.safetensors\"}}", "is not the name of a file beside the index"},
    {"{\"weight_map\":{\"a\":\"./1.safetensors\"}}", "is not the name of a file beside the index"},
    {"{\"weight_map\":{\"a\":\"/tmp/1.safetensors\"}}", "is not the name of a file beside the index"},
    {"{\"weight_map\":{\"a\":\"sub/1.safetensors\"}}", "is not the name of a file beside the index"},
    {"{\"weight_map\":{\"a\":\".1.safetensors\"}}", "is not the name of a file beside the index"},
    {"{\"weight_map\":{\"a\":\"1\\u001b.safetensors\"}}", "is not the name of a file beside the index"},
    {"{\"weight_map\":{\"a\":\"1\\u007f.safetensors\"}}", "is not the name of a file beside the index"},
    {"{\"weight_map\":{\"a\":\"1\\n.safetensors\"}}", "is not the name of a file beside the index"},
    {"{\"weight_map\":{\"a\":\"1.safetensors\\u0000\"}}", ""},
    {"{\"weight_map\":{\"a\":\".safetensors\"}}", "is not the name of a file beside the index"},
    {"{\"weight_map\":{\"a\":\"1.bin\"}}", "is neither .safetensors nor .s24"},
    {"{\"weight_map\":{\"a\":\"1.safetensors \"}}", "is neither .safetensors nor .s24"},
    {"{\"weight_map\":{\"a\":\"1.safetensors\",\"a\":\"1.safetensors\"}}", "a"},
    {"{\"weight_map\":{\"a\":\"1.safetensors\",\"\\u0061\":\"2.safetensors\"}}", "a"},
    {"{\"weight_map\":{\"a\":\"1.safetensors\",\"b\":\"2.safetensors\"}}x", ""},
};

START_TEST(a_bad_index)
{
    const struct bad_index *const bad = &bad_indexes[_i];
    two_shards();
    put_text("ck/" INDEX, bad->text);
    refuse("ck/" INDEX, bad->message);
    refuse("ck", bad->message);
    refuse("ck", INDEX); /* of the directory's files it is named */
}
END_TEST

START_TEST(an_index_that_is_too_large)
{
    two_shards();
    ck_assert_int_eq(truncate("ck/" INDEX, 100000001), 0);
    refuse("ck", "is no index: it is larger than 100 MB");
}
END_TEST

START_TEST(joined_paths)
{
    static const char *const joined[][3] = {{"ck", "x", "ck/x"}, {"ck/", "x", "ck/x"}, {"/", "x", "/x"}, {"", "x", "x"}};
    for (size_t i = 0; i < COUNT(joined); i++) {
        char *const path = s24_path_join(joined[i][0], joined[i][1], NULL);
        ck_assert_str_eq(path, joined[i][2]);
        free(path);
    }
}
END_TEST

START_TEST(tensors_and_their_shards)
{
    static const char *const both[] = {"b", "a"};
    s24_source *source;
    two_shards();
    unlink("ck/2.safetensors");
    refuse("ck", "2.safetensors is missing: 1 of the ");
    ck_assert_int_eq(s24_source_open(&source, &io, "ck", NULL, NULL), S24_ERR_DATA); /* nobody asks why */
    ck_assert_int_eq(symlink("nowhere", "ck/2.safetensors"), 0);
    refuse("ck", "2.safetensors is missing: 1 of the ");
    unlink("ck/2.safetensors");
    ck_assert_int_eq(symlink("2.safetensors", "ck/2.safetensors"), 0); /* there is something, whatever it is */
    refuse_as("ck", NULL, S24_ERR_SYSTEM, "2.safetensors: cannot open: ");
    unlink("ck/2.safetensors");
    ck_assert_int_eq(mkdir("ck/2.safetensors", 0777), 0);
    refuse_as("ck", NULL, S24_ERR_DATA, "2.safetensors: ");
    two_shards();
    put_one("ck/2.safetensors", "", 2, "c");
    refuse("ck", "2.safetensors: tensor c is in it, but not in the index");
    put_one("ck/2.safetensors", "", 2, "a");
    refuse("ck", "2.safetensors: tensor a is in it, but the index says in 1.safetensors");
    put_shard("ck/2.safetensors", "", 2, both, 2); /* a tensor in two shards */
    refuse("ck", "2.safetensors: tensor a is in it, but the index says in 1.safetensors");
    put_shard("ck/2.safetensors", "", 2, both, 0);
    refuse("ck", "2.safetensors: has no tensor b, which the index says is in it");
    two_shards();
    put_text("ck/" INDEX, "{\"weight_map\":{\"a\":\"1.safetensors\",\"b\":\"2.safetensors\",\"c\":\"1.safetensors\"}}");
    refuse("ck", "1.safetensors: has no tensor c");
}
END_TEST

START_TEST(shards_that_are_something_else)
{
    static const char npy[] = "\x93NUMPY\1\0\x76\0{'descr': '<f4', 'fortran_order': False, 'shape': (1, 4), }";
    static const char *const names[] = {"b", "c"};
    char file[128 + 16] = {0};
    memset(file, ' ', 128);
    memcpy(file, npy, sizeof npy - 1);
    file[127] = '\n';
    two_shards();
    put("ck/2.safetensors", file, sizeof file);
    refuse("ck", "2.safetensors: is .npy, other shards are .safetensors: they are not of one model");
    put("ck/2.safetensors", "", 0);
    refuse("ck", "2.safetensors: is empty");
    put_text("ck/2.safetensors", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n");
    refuse("ck", "2.safetensors: ");
    put_shard("ck/2.safetensors", "", 2, names, 2);
    ck_assert_int_eq(truncate("ck/2.safetensors", 100), 0);
    refuse("ck", "2.safetensors: ");
    put_one("ck/2.safetensors", "", 2, "b");
    struct stat st;
    ck_assert_int_eq(stat("ck/2.safetensors", &st), 0);
    ck_assert_int_eq(truncate("ck/2.safetensors", st.st_size - 1), 0);
    refuse("ck", "2.safetensors: ");
    ck_assert_int_eq(truncate("ck/2.safetensors", st.st_size + 1), 0);
    refuse("ck", "2.safetensors: ");
    put_text("ck/" INDEX, "{\"weight_map\":{\"a\":\"1.safetensors\",\"b\":\"1.s24\"}}");
    put_one("ck/1.s24", "", 2, "b"); /* by its content one like the other, but they would become the same file */
    refuse("ck/" INDEX, "lists 1.s24 and 1.safetensors: they are not of one model");
}
END_TEST

/* ---------------------------------------------------------------- what is gathered */

START_TEST(metadata_of_all_shards)
{
    two_shards();
    put_one("ck/1.safetensors", "\"x\":\"1\",\"format\":\"pt\"", 1, "a");
    put_one("ck/2.safetensors", "\"format\":\"pt\",\"x\":\"2\",\"y\":\"3\"", 2, "b");
    s24_source *const source = must_open("ck");
    static const char *const expected[][2] = {{"x", "1"}, {"format", "pt"}, {"y", "3"}};
    ck_assert_uint_eq(source->contents.pairs, COUNT(expected));
    for (size_t i = 0; i < COUNT(expected); i++) {
        ck_assert_str_eq(source->contents.metadata[i].key, expected[i][0]);
        ck_assert_str_eq(source->contents.metadata[i].value, expected[i][1]);
    }
    ck_assert_str_eq(notes, "ck/2.safetensors: metadata x differs from that of the shards before\n");
    ck_assert_uint_eq(s24_source_file(source, 1)->contents.pairs, 3); /* each shard keeps its own */
    s24_source_close(source);
}
END_TEST

/* So many that comparing each with each would not end within the test's time. */
START_TEST(metadata_without_end)
{
    const size_t pairs = 150000;
    s24_text text = {0};
    two_shards();
    for (size_t i = 0; i < pairs; i++) {
        s24_text_printf(&text, "%s\"k%zu\":\"\"", i ? "," : "", i);
    }
    put_one("ck/1.safetensors", text.text, 1, "a");
    put_one("ck/2.safetensors", text.text, 2, "b");
    s24_text_free(&text);
    s24_source *const source = must_open("ck");
    ck_assert_uint_eq(source->contents.pairs, pairs);
    ck_assert_str_eq(source->contents.metadata[pairs - 1].key, "k149999");
    s24_source_close(source);
}
END_TEST

/* The index may spell names in another way than the shards do. */
START_TEST(names_of_all_kinds)
{
    static const char *const first[] = {"\\u00e9", "\xf0\x9f\x92\xbe", "a\\tb"}, *const second[] = {"", "a/../b", "-"};
    start();
    put_shard("ck/caf\xc3\xa9 1.safetensors", "", 1, first, 3);
    put_shard("ck/-2.safetensors", "", 2, second, 3);
    put_text("ck/" INDEX, "{\"metadata\":{},\"weight_map\":{\"\xc3\xa9\":\"caf\\u00e9\\u00201.safetensors\","
             "\"\\ud83d\\udcbe\":\"caf\xc3\xa9 1.safetensors\",\"a\\u0009b\":\"caf\xc3\xa9 1.safetensors\","
             "\"\":\"-2.safetensors\",\"a\\/..\\/b\":\"-2.safetensors\",\"-\":\"\\u002d2.safetensors\"}}");
    s24_source *const source = must_open("ck");
    check_parts(source);
    ck_assert_uint_eq(source->contents.count, 6);
    ck_assert_uint_eq(byte_of(source, "\xc3\xa9"), 1);
    ck_assert_uint_eq(byte_of(source, "\xf0\x9f\x92\xbe"), 1);
    ck_assert_uint_eq(byte_of(source, "a\tb"), 1);
    ck_assert_uint_eq(byte_of(source, ""), 2);
    ck_assert_uint_eq(byte_of(source, "a/../b"), 2);
    ck_assert_ptr_null(s24_source_find_entry(source, "a"));
    s24_source_close(source);
}
END_TEST

enum { TENSORS = 2000, SHARDS = 50 };

static void many_shards(uint64_t *state)
{
    static char names[TENSORS][16];
    static const char *lists[SHARDS][TENSORS / SHARDS];
    size_t order[TENSORS];
    s24_text text = {0};
    char path[64];
    start();
    for (size_t i = 0; i < TENSORS; i++) {
        snprintf(names[i], sizeof names[i], "t%zu", i);
        lists[i % SHARDS][i / SHARDS] = names[i];
        order[i] = i;
    }
    for (size_t i = 0; i < SHARDS; i++) {
        snprintf(path, sizeof path, "ck/%zu.safetensors", i);
        put_shard(path, "", (unsigned)i, lists[i], TENSORS / SHARDS);
    }
    s24_text_printf(&text, "{\"weight_map\":{");
    for (size_t i = TENSORS; i-- > 0;) {
        *state = *state * 6364136223846793005u + 1442695040888963407u;
        const size_t k = (size_t)(*state >> 33) % (i + 1), tensor = order[k];
        order[k] = order[i];
        s24_text_printf(&text, "\"t%zu\":\"%zu.safetensors\"%s", tensor, tensor % SHARDS, i ? "," : "}}");
    }
    put_text("ck/" INDEX, text.text);
    s24_text_free(&text);
}

START_TEST(many_tensors_in_any_order)
{
    uint64_t state = 24;
    many_shards(&state);
    s24_source *const source = must_open("ck");
    ck_assert_uint_eq(source->part_count, SHARDS);
    ck_assert_uint_eq(source->contents.count, TENSORS);
    check_parts(source);
    for (size_t i = 0; i < TENSORS; i += 37) {
        char name[16];
        snprintf(name, sizeof name, "t%zu", i);
        ck_assert_uint_eq(byte_of(source, name), i % SHARDS);
    }
    for (size_t i = 1; i < SHARDS; i++) { /* shards in the order of their names: 0, 1, 10, 11, ... */
        ck_assert_int_lt(strcmp(source->checkpoint->shards.items[i - 1], source->checkpoint->shards.items[i]), 0);
    }
    s24_source_close(source);
}
END_TEST

/* As downloads lie in Hugging Face's cache: every file is a link into ../../blobs. */
/* The command refuses these by itself: who calls the library is told here. */
START_TEST(what_a_directory_can_hold)
{
    two_shards();
    const s24_prune_request q = {.input = "ck", .output = "out", .directory = true, .to = "npz", .selection = {.all = true}};
    s24_error err = {0};
    ck_assert_int_eq(s24_prune_file(&io, &q, NULL, &err), S24_ERR_USAGE);
    ck_assert_msg(strstr(err.message, "holds .safetensors or .s24 files, not .npz"), "%s", err.message);
    ck_assert_int_ne(access("out", F_OK), 0);
}
END_TEST

START_TEST(links_to_blobs)
{
    two_shards();
    empty_directory("cache");
    ck_assert(mkdir("cache", 0777) == 0 && mkdir("cache/blobs", 0777) == 0 && mkdir("cache/snapshots", 0777) == 0 &&
              mkdir("cache/snapshots/0123", 0777) == 0);
    ck_assert(rename("ck/1.safetensors", "cache/blobs/aa") == 0 && rename("ck/2.safetensors", "cache/blobs/bb") == 0 &&
              rename("ck/" INDEX, "cache/blobs/cc") == 0);
    ck_assert(symlink("../../blobs/aa", "cache/snapshots/0123/1.safetensors") == 0 &&
              symlink("../../blobs/bb", "cache/snapshots/0123/2.safetensors") == 0 &&
              symlink("../../blobs/cc", "cache/snapshots/0123/" INDEX) == 0 &&
              symlink("0123", "cache/snapshots/main") == 0);
    static const char index[] = "cache/snapshots/0123/" INDEX;
    static const char *const paths[] = {"cache/snapshots/0123", index, "cache/snapshots/main/", "cache/snapshots/main"};
    for (size_t i = 0; i < COUNT(paths); i++) {
        s24_source *const source = must_open(paths[i]);
        check_parts(source);
        ck_assert_uint_eq(byte_of(source, "a"), 1);
        ck_assert_uint_eq(byte_of(source, "b"), 2);
        s24_source_close(source);
    }
    refuse("cache/blobs/cc", ""); /* by its own name it is no index */
    empty_directory("cache");
    rmdir("cache");
}
END_TEST

/* ---------------------------------------------------------------- planes in different shards */

/* One tensor's planes in all three shards, another's in two, one shard of nothing else: 1 = x, y, 2 = nothing, 3 = z. */
static void torn_shards(void)
{
    start();
    put_file("ck/1.safetensors", "{\"x.compressed\":{\"dtype\":\"F32\",\"shape\":[1,2],\"data_offsets\":[0,8]},"
             "\"plain\":{\"dtype\":\"F32\",\"shape\":[2,4],\"data_offsets\":[8,40]},"
             "\"y.compressed\":{\"dtype\":\"I8\",\"shape\":[1,2],\"data_offsets\":[40,42]}}", 9, 42);
    char shape[17] = {1, [8] = 4, [16] = 3};
    static const char second[] = "{\"x.shape\":{\"dtype\":\"I64\",\"shape\":[2,1],\"data_offsets\":[0,16]},"
        "\"y.bitmask\":{\"dtype\":\"U8\",\"shape\":[1,1],\"data_offsets\":[16,17]}}";
    static const char third[] = "{\"y.shape\":{\"dtype\":\"I64\",\"shape\":[2],\"data_offsets\":[0,16]},"
        "\"x.bitmask\":{\"dtype\":\"U8\",\"shape\":[1,1],\"data_offsets\":[16,17]},"
        "\"z\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[17,17]}}";
    put_file("ck/2.safetensors", second, 0, 0);
    put_file("ck/3.safetensors", third, 0, 0);
    for (int i = 2; i <= 3; i++) {
        char path[32];
        snprintf(path, sizeof path, "ck/%d.safetensors", i);
        FILE *const f = fopen(path, "ab");
        ck_assert_ptr_nonnull(f);
        shape[16] = i == 2 ? 12 : 3; /* y: columns 2 and 3, x: 0 and 1 */
        ck_assert_uint_eq(fwrite(shape, 1, 17, f), 17);
        fclose(f);
    }
    put_text("ck/" INDEX, "{\"weight_map\":{\"x.compressed\":\"1.safetensors\",\"plain\":\"1.safetensors\","
             "\"y.compressed\":\"1.safetensors\",\"x.shape\":\"2.safetensors\",\"y.bitmask\":\"2.safetensors\","
             "\"y.shape\":\"3.safetensors\",\"x.bitmask\":\"3.safetensors\",\"z\":\"3.safetensors\"}}");
}

START_TEST(planes_in_different_shards)
{
    static const char *const names[] = {"x.weight", "plain", "y.weight", "z"};
    static const size_t part_counts[] = {3, 0, 1};
    torn_shards();
    s24_source *const source = must_open("ck");
    ck_assert_uint_eq(source->contents.count, COUNT(names));
    for (size_t i = 0; i < COUNT(names); i++) {
        ck_assert_str_eq(source->contents.entries[i].name, names[i]);
    }
    for (size_t i = 0; i < COUNT(part_counts); i++) {
        ck_assert_uint_eq(s24_source_file(source, i)->contents.count, part_counts[i]);
    }
    check_parts(source);
    for (size_t i = 0; i < COUNT(names); i += 2) {
        const s24_entry *const e = &source->contents.entries[i];
        for (size_t p = 0; p < e->plane_count; p++) { /* planes know the shards that they are in */
            size_t at = 0;
            while (at < source->part_count && e->planes[p].source != source->parts[at]) {
                at++;
            }
            ck_assert_uint_lt(at, source->part_count);
            ck_assert_ptr_eq(e->planes[p].in, source->parts[at]->in);
        }
    }
    unsigned char row[4], scratch[4];
    s24_error err;
    ck_assert_int_eq(s24_source_read_rows(s24_source_find_entry(source, "y.weight"), 1, 0, 1, 0, 4, row, scratch, &err), S24_OK);
    ck_assert_mem_eq(row, "\0\0\11\11", 4);
    ck_assert_uint_eq(byte_of(source, "x.weight"), 9);
    ck_assert_uint_eq(byte_of(source, "plain"), 9);
    s24_source_close(source);
}
END_TEST

/* A set that lacks a plane stays as it is. */
START_TEST(a_plane_that_is_in_no_shard)
{
    torn_shards();
    put_file("ck/2.safetensors", "{\"x.shapes\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]},"
             "\"y.bitmask\":{\"dtype\":\"U8\",\"shape\":[1,1],\"data_offsets\":[0,1]}}", 12, 1);
    put_text("ck/" INDEX, "{\"weight_map\":{\"x.compressed\":\"1.safetensors\",\"plain\":\"1.safetensors\","
             "\"y.compressed\":\"1.safetensors\",\"x.shapes\":\"2.safetensors\",\"y.bitmask\":\"2.safetensors\","
             "\"y.shape\":\"3.safetensors\",\"x.bitmask\":\"3.safetensors\",\"z\":\"3.safetensors\"}}");
    s24_source *const source = must_open("ck");
    ck_assert_uint_eq(source->contents.count, 6);
    ck_assert_ptr_nonnull(s24_source_find_entry(source, "x.compressed"));
    ck_assert_ptr_nonnull(s24_source_find_entry(source, "y.weight"));
    check_parts(source);
    s24_source_close(source);
}
END_TEST

/* A tensor is there dense in one shard and in planes in others. */
START_TEST(dense_and_in_planes)
{
    torn_shards();
    put_file("ck/2.safetensors", "{\"x.shape\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]},"
             "\"y.bitmask\":{\"dtype\":\"U8\",\"shape\":[1,1],\"data_offsets\":[0,1]},"
             "\"y.weight\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[1,1]}}", 12, 1);
    put_text("ck/" INDEX, "{\"weight_map\":{\"x.compressed\":\"1.safetensors\",\"plain\":\"1.safetensors\","
             "\"y.compressed\":\"1.safetensors\",\"x.shape\":\"2.safetensors\",\"y.bitmask\":\"2.safetensors\","
             "\"y.weight\":\"2.safetensors\","
             "\"y.shape\":\"3.safetensors\",\"x.bitmask\":\"3.safetensors\",\"z\":\"3.safetensors\"}}");
    refuse("ck", "x.shape: is u8; a plane of this name is i64");
    unlink("ck/2.safetensors");
    put_file("ck/2.safetensors", "{\"y.bitmask\":{\"dtype\":\"U8\",\"shape\":[1,1],\"data_offsets\":[0,1]},"
             "\"y.weight\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[1,1]}}", 12, 1);
    put_text("ck/" INDEX, "{\"weight_map\":{\"x.compressed\":\"1.safetensors\",\"plain\":\"1.safetensors\","
             "\"y.compressed\":\"1.safetensors\",\"y.bitmask\":\"2.safetensors\",\"y.weight\":\"2.safetensors\","
             "\"y.shape\":\"3.safetensors\",\"x.bitmask\":\"3.safetensors\",\"z\":\"3.safetensors\"}}");
    refuse("ck", "y.weight: the tensor is there twice, and in a sparse layout");
}
END_TEST

/* ---------------------------------------------------------------- suite */

int main(void)
{
    Suite *const suite = suite_create("checkpoint");
    TCase *const tcase = tcase_create("checkpoint");
    tcase_add_unchecked_fixture(tcase, make_directory, remove_directory);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, what_is_a_checkpoint);
    tcase_add_test(tcase, a_directory_without_an_index);
    tcase_add_test(tcase, indexes_and_other_files);
    tcase_add_test(tcase, a_type_is_given);
    tcase_add_test(tcase, an_index_by_its_bare_name);
    tcase_add_loop_test(tcase, a_bad_index, 0, (int)COUNT(bad_indexes));
    tcase_add_test(tcase, an_index_that_is_too_large);
    tcase_add_test(tcase, joined_paths);
    tcase_add_test(tcase, tensors_and_their_shards);
    tcase_add_test(tcase, shards_that_are_something_else);
    tcase_add_test(tcase, metadata_of_all_shards);
    tcase_add_test(tcase, metadata_without_end);
    tcase_add_test(tcase, names_of_all_kinds);
    tcase_add_test(tcase, many_tensors_in_any_order);
    tcase_add_test(tcase, what_a_directory_can_hold);
    tcase_add_test(tcase, links_to_blobs);
    tcase_add_test(tcase, planes_in_different_shards);
    tcase_add_test(tcase, a_plane_that_is_in_no_shard);
    tcase_add_test(tcase, dense_and_in_planes);
    suite_add_tcase(suite, tcase);
    SRunner *const runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
