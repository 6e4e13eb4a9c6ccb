/*
 * Any bytes as a .s24 file, and what answers.h asks of it. Bytes alone would not get past the first hash, so that the
 * mutator makes files (from nothing, too: no seeds are needed), changes header or data, and sets the hashes right again.
 */
#define _GNU_SOURCE /* memfd_create */
#include "answers.h"

/* Another text for the header, padded as it must be, everything behind it moved. */
static size_t change_header(uint8_t *data, size_t n, size_t most)
{
    static uint8_t text[MOST], rest[MOST];
    const uint64_t length = n >= 8 ? s24_get_u64(data) : 0;
    if (length < 56 || length > n - 8 || n > MOST || most > MOST || n < 2 * length + 16 + 128) {
        return 0;
    }
    size_t used = (size_t)length;
    while (used > 1 && data[8 + used - 1] == ' ') {
        used--;
    }
    memcpy(text, data + 8, used);
    used = LLVMFuzzerMutate(text, used, (size_t)length);
    memset(text + used, ' ', (size_t)length - used);
    if (pick(8) == 0 && used + 72 <= MOST) { /* also by a step of the padding */
        memset(text + used, ' ', 72);
        used = (used + 8 + 63) / 64 * 64 - 8;
    } else {
        used = (size_t)length;
    }
    const size_t body = n - 2 * (size_t)(8 + length) - 128, whole = 2 * (8 + used) + 128 + body;
    if (whole > most) {
        return 0;
    }
    memcpy(rest, data + 8 + length + 64, body);
    s24_put_u64(data, used);
    memcpy(data + 8, text, used);
    memcpy(data + 8 + used + 64, rest, body);
    return seal_header(data, whole) ? whole : 0;
}

/* Other data, with checks that are right for them. */
static size_t change_data(uint8_t *data, size_t n)
{
    s24_source *const source = parse(data, n);
    if (!source) {
        return 0;
    }
    const s24_plain *const plain = s24_plain_of(source);
    const size_t from = plain->header_bytes + 64;
    const bool whole = plain->file_size == n && from < plain->copy;
    if (whole) {
        const size_t room = (size_t)plain->copy - from, at = from + pick((uint32_t)room);
        const size_t left = (size_t)plain->copy - at;
        LLVMFuzzerMutate(data + at, left < 16 ? left : 16, left < 16 ? left : 16);
        if (pick(4)) {
            seal_data(plain, &source->contents, data);
        }
    }
    s24_source_close(source);
    return whole ? n : 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t most, unsigned seed)
{
    state = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    size_t changed = 0;
    switch (pick(8)) {
    case 0: changed = make_file(data, most); break;
    case 1:
    case 2:
    case 3: changed = change_header(data, n, most); break;
    case 4:
    case 5: changed = change_data(data, n); break;
    default: break;
    }
    if (changed == 0) {
        changed = n < 512 ? make_file(data, most) : 0;
        changed = changed ? changed : LLVMFuzzerMutate(data, n, most);
    }
    return changed;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n <= MOST) {
        ask(data, n);
    }
    return 0;
}
