/*
 * Any bytes as the index of a checkpoint of two small shards: opened or refused, never a crash or a leak, and never a
 * checkpoint of anything but the shards' own tensors. Named by its path, and what is accepted, with some of the rest, also
 * found in the directory. What does not begin as JSON does is taken for a list of places.
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "checkpoint.h"
#include "directory.h"

#define PLACES 12 /* of a list: every tensor three times */

static const s24_io io = {.threads = 1};
static char index_path[300];
static int index_fd;

static void put_shard(const char *name, const char *header, const char *data, size_t n)
{
    char path[300];
    const size_t length = strlen(header);
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *f = fopen(path, "wb");
    REQUIRE(f);
    for (int i = 0; i < 8; i++) {
        fputc((int)((uint64_t)length >> 8 * i & 0xff), f);
    }
    REQUIRE(fwrite(header, 1, length, f) == length && fwrite(data, 1, n, f) == n && fclose(f) == 0);
}

/* Planes of one tensor are in both. */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static const char bytes[64];
    static const char shape[] = "\1\0\0\0\0\0\0\0\4\0\0\0\0\0\0\0\3";
    (void)argc;
    (void)argv;
    make_directory();
    put_shard("1.safetensors", "{\"__metadata__\":{\"format\":\"pt\"},"
              "\"a\":{\"dtype\":\"F32\",\"shape\":[2,4],\"data_offsets\":[0,32]},"
              "\"c.compressed\":{\"dtype\":\"F32\",\"shape\":[1,2],\"data_offsets\":[32,40]}}", bytes, 40);
    put_shard("2.safetensors", "{\"c.shape\":{\"dtype\":\"I64\",\"shape\":[2,1],\"data_offsets\":[0,16]},"
              "\"c.bitmask\":{\"dtype\":\"U8\",\"shape\":[1,1],\"data_offsets\":[16,17]}}", shape, 17);
    snprintf(index_path, sizeof index_path, "%s/x.safetensors.index.json", directory);
    index_fd = open(index_path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    REQUIRE(index_fd >= 0);
    return 0;
}

/* What can be accepted: both shards, and then the planes are one tensor, or one of them by the index's path. */
static void check_tensors(const s24_source *source)
{
    static const char *const both[] = {"a", "c.weight"}, *const first[] = {"a", "c.compressed"},
                      *const second[] = {"c.shape", "c.bitmask"};
    const s24_checkpoint *c = source->checkpoint;
    const size_t shards = c->shards.count;
    const char *const *names = shards == 2 ? both : *c->shards.items[0] == '1' ? first : second;
    REQUIRE((shards == 1 || shards == 2) && source->part_count == shards && c->place_count == 2 * shards);
    REQUIRE(source->contents.count == 2);
    for (size_t i = 0; i < 2; i++) {
        const s24_entry *e = &source->contents.entries[i];
        unsigned char data[32], scratch[32];
        s24_error err;
        REQUIRE(strcmp(e->name, names[i]) == 0 && e->source == source->parts[0]);
        REQUIRE(s24_source_read_rows(e, 1, 0, e->shape[0], 0, e->shape[1], data, scratch, &err) == S24_OK);
    }
    REQUIRE(source->parts[0]->contents.count == 2 && (shards == 1 || source->parts[1]->contents.count == 0));
}

/* The number of shards; 0: refused. */
static size_t open_once(const char *path)
{
    s24_source *source;
    s24_error err = {0};
    const s24_status status = s24_source_open(&source, &io, path, NULL, &err);
    if (status != S24_OK) { /* a name may be too long for the system */
        require_told(status, &err);
        REQUIRE(status == S24_ERR_DATA || (status == S24_ERR_SYSTEM && err.sys_errno));
        return 0;
    }
    const size_t shards = source->part_count;
    check_tensors(source);
    s24_source_close(source);
    return shards;
}

/* An index that has a tensor and a file by each of the first bytes, the right ones often; the text's length in *size. */
static const char *list_places(const uint8_t *data, size_t *size)
{
    static const char *const tensors[] = {"a", "c.compressed", "c.shape", "c.bitmask", "\\u0061", "c.weight", "", "b"};
    static const char *const files[] = {"1.safetensors", "2.safetensors", "3.safetensors", "x.safetensors.index.json",
                                        "1.s24", "..", "\\u0031.safetensors", "./1.safetensors"};
    static char text[100 + 100 * PLACES];
    size_t used = (size_t)sprintf(text, "{\"weight_map\":{");
    for (size_t i = 0; i < *size && i < PLACES; i++) {
        const unsigned tensor = data[i] & 7, right = tensor > 1 && tensor < 4, file = data[i] < 192 ? right : data[i] >> 3 & 7;
        used += (size_t)sprintf(text + used, "%s\"%s\":\"%s\"", i ? "," : "", tensors[tensor], files[file]);
    }
    *size = used + (size_t)sprintf(text + used, "},\"metadata\":{}}");
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const bool chosen = is_chosen(data, size, 8);
    const void *text = size && strchr("[{ \t\n\r\"", *data) ? (const char *)data : list_places(data, &size);
    REQUIRE(ftruncate(index_fd, 0) == 0 && pwrite(index_fd, text, size, 0) == (ssize_t)size);
    const size_t by_path = open_once(index_path);
    if (by_path || chosen) {
        REQUIRE(open_once(directory) == (by_path == 2 ? 2 : 0)); /* in the directory, both shards must be listed */
    }
    return 0;
}
