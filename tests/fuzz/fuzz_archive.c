/*
 * Any bytes as an archive, and what answers.h asks of any .s24 file; and one in many that are whole gives a plain file
 * which becomes an archive that gives the same one. The mutator makes archives from nothing, changes frames, moves them, and
 * sets their checks right again.
 */
#define _GNU_SOURCE /* memfd_create */
#include "answers.h"
#include "archive.h"

/* ---------------------------------------------------------------- frames */

#define FRAMES_MOST 64

/* Where frames begin, as far as they follow one another, and where the last of them ends; returns how many. */
static size_t list_frames(const uint8_t *data, size_t n, size_t at[FRAMES_MOST + 1])
{
    size_t count = 0, next = S24_ARCHIVE_MAGIC_BYTES;
    at[0] = next;
    while (count < FRAMES_MOST && next <= n && n - next > S24_FRAME_HEAD_BYTES + S24_FRAME_CHECK_BYTES) {
        s24_frame f;
        unsigned version;
        if (!s24_frame_get(&f, &version, data + next) || f.payload > n || s24_frame_bytes(&f) > n - next) {
            break;
        }
        next += (size_t)s24_frame_bytes(&f);
        at[++count] = next;
    }
    return count;
}

/* The hash of the header that the first frame has; 0: of none. */
static uint64_t header_hash(const uint8_t *data, size_t n)
{
    static const s24_read_options lenient = {.salvage = true};
    s24_source *const source = source_of(&s24_format_s24, &lenient, data, n);
    const uint64_t hash = s24_source_parse(source, NULL) == S24_OK ? s24_plain_of(source)->hash : 0;
    s24_source_close(source);
    return hash;
}

/* The same as the tail has it. */
static uint64_t tail_hash(const uint8_t *data, size_t n)
{
    s24_archive_tail tail;
    return n >= S24_ARCHIVE_TAIL_BYTES && s24_archive_tail_get(&tail, data + n - S24_ARCHIVE_TAIL_BYTES, NULL) == S24_OK
        ? tail.hash : 0;
}

/* Both checks of a frame. */
static void seal_frame(uint8_t *frame, uint64_t hash)
{
    s24_frame f;
    unsigned version;
    s24_frame_get(&f, &version, frame);
    const uint64_t seed = s24_frame_seed(f.kind == S24_FRAME_HEADER ? 0 : hash, f.number);
    const size_t begin = (size_t)(s24_frame_bytes(&f) - f.payload);
    s24_put_u64(frame + 48, s24_archive_check(frame + begin, (size_t)f.payload, seed));
    s24_put_u64(frame + begin - 8, s24_archive_check(frame, begin - 8, seed));
}

/* ---------------------------------------------------------------- making and changing them */

static size_t make_archive(uint8_t *data, size_t most)
{
    const size_t n = make_file(data, most);
    const s24_convert_request q = {.input = put_bytes(data, n), .output = output,
                                   .packing = {.level = (int)(1 + pick(9)), .frame_bytes = 1 + pick(pick(2) ? 100 : 10000)}};
    if (n == 0 || s24_convert_file(&io, &q, NULL, NULL) != S24_OK) {
        return n;
    }
    const int fd = open(output, O_RDONLY);
    REQUIRE(fd >= 0);
    const ssize_t got = read(fd, data, most);
    close(fd);
    unlink(output);
    REQUIRE(got > 0);
    return (size_t)got;
}

/* A few bytes of a frame, with checks that are right for them. */
static size_t change_frame(uint8_t *data, size_t n)
{
    size_t at[FRAMES_MOST + 1];
    const size_t count = list_frames(data, n, at);
    if (count == 0) {
        return 0;
    }
    const size_t k = pick((uint32_t)count), room = at[k + 1] - at[k];
    const size_t from = pick((uint32_t)(pick(2) || room < 120 ? room : 120)); /* half of them in head and table */
    const size_t some = room - from < 8 ? room - from : 1 + pick(8);
    LLVMFuzzerMutate(data + at[k] + from, some, some);
    const size_t still = list_frames(data, n, at);
    if (still > k) {
        seal_frame(data + at[k], tail_hash(data, n));
        const uint64_t hash = k == 0 ? header_hash(data, n) : 0;
        for (size_t i = 0; k == 0 && i < still; i++) { /* another header: all others hang on it */
            seal_frame(data + at[i], hash);
        }
    }
    return n;
}

/* One frame in another's place, or once more, or gone. */
static size_t move_frame(uint8_t *data, size_t n, size_t most)
{
    static uint8_t whole[MOST];
    size_t at[FRAMES_MOST + 1];
    const size_t count = list_frames(data, n, at);
    if (count < 2 || n > MOST) {
        return 0;
    }
    memcpy(whole, data, n);
    const size_t x = pick((uint32_t)count), y = pick((uint32_t)count), way = pick(3);
    size_t to = at[0];
    for (size_t k = 0; k < count; k++) {
        for (int twice = 0; twice < (way == 0 && k == x ? 2 : 1); twice++) {
            const size_t from = way == 1 && k == x ? y : way == 1 && k == y ? x : k, length = at[from + 1] - at[from];
            if (way == 2 && k == x) {
                break;
            }
            if (to + length > most) {
                return 0;
            }
            memcpy(data + to, whole + at[from], length);
            to += length;
        }
    }
    const size_t rest = n - at[count];
    if (to + rest > most) {
        return 0;
    }
    memcpy(data + to, whole + at[count], rest);
    return to + rest;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t most, unsigned seed)
{
    state = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    size_t changed = 0;
    const uint32_t way = pick(64);
    if (way == 0) {
        changed = make_archive(data, most);
    } else if (way < 10) {
        changed = move_frame(data, n, most);
    } else if (way < 56) {
        changed = change_frame(data, n);
    }
    if (changed == 0) {
        changed = n < 256 ? make_archive(data, most) : 0;
        changed = changed ? changed : LLVMFuzzerMutate(data, n, most);
    }
    return changed;
}

/* ---------------------------------------------------------------- what must hold */

/* The file converted: its bytes, at most 4 * DENSE_MOST; 0: refused. */
static size_t convert(const uint8_t *data, size_t n, int level, uint8_t *to)
{
    s24_error err = {0};
    const s24_convert_request q = {.input = put_bytes(data, n), .output = output, .packing = {.level = level}};
    const s24_status status = s24_convert_file(&io, &q, NULL, &err);
    require_told(status, &err);
    if (status != S24_OK) {
        REQUIRE(access(output, F_OK) != 0);
        return 0;
    }
    const int fd = open(output, O_RDONLY);
    REQUIRE(fd >= 0);
    const ssize_t got = read(fd, to, 4 * DENSE_MOST);
    close(fd);
    unlink(output);
    REQUIRE(got > 0);
    return (size_t)got;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static uint8_t plain[4 * DENSE_MOST], archive[4 * DENSE_MOST], again[4 * DENSE_MOST];
    if (n > MOST || !ask(data, n) || memcmp(data, S24_ARCHIVE_MAGIC, S24_ARCHIVE_MAGIC_BYTES) != 0 ||
        !is_chosen(data, n, 64)) {
        return 0;
    }
    const size_t plain_bytes = convert(data, n, 0, plain);
    if (plain_bytes && plain_bytes < DENSE_MOST) {
        const size_t archive_bytes = convert(plain, plain_bytes, 5, archive);
        REQUIRE(archive_bytes && archive_bytes < sizeof archive);
        REQUIRE(convert(archive, archive_bytes, 0, again) == plain_bytes && memcmp(again, plain, plain_bytes) == 0);
    }
    return 0;
}
