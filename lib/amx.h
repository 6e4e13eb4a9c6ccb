/* What the products on AMX share. */
#ifndef S24_LIB_AMX_H
#define S24_LIB_AMX_H

#include <stdatomic.h>

#include "vector.h"

#define TILE_ROWS 16
#define TILE_BYTES 1024

VECTOR_BEGIN(VECTOR_AVX512 ",amx-tile")

/* Positions to keep masks, a nibble for a nibble. */
INLINE __m512i masks_of(__m512i positions)
{
    /* 1 << p0 | 1 << p1 for 4 8 9 C D E; whatever for the others, which are refused. */
    const __m512i table = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 0, 0, 0, 3, 0, 0, 0, 5, 6, 0, 0, 9, 10, 12, 0));
    const __m512i high_table = _mm512_slli_epi16(table, 4), low = _mm512_set1_epi8(15);
    const __m512i lows = _mm512_shuffle_epi8(table, _mm512_and_si512(positions, low));
    const __m512i highs = _mm512_shuffle_epi8(high_table, _mm512_and_si512(_mm512_srli_epi16(positions, 4), low));
    return _mm512_or_si512(lows, highs);
}

/* Keep masks of 512 elements of a row, 32 a word, from the nibbles; none beyond `cols`. */
INLINE void keep_masks(const uint8_t *positions, size_t cols, uint32_t masks[16])
{
    const size_t bytes = cols >= 8 * 64 ? 64 : (cols + 7) / 8;
    _mm512_store_si512(masks, masks_of(_mm512_maskz_loadu_epi8(UINT64_MAX >> (64 - bytes), positions)));
    if (cols < 8 * 64 && cols % 32) {
        masks[cols / 32] &= (1u << cols % 32) - 1;
    }
}

/* All eight: 16 rows of 64 bytes. (Not INLINE: drivers call these from outside of VECTOR_BEGIN.) */
static inline void configure_tiles(void)
{
    struct {
        uint8_t palette, start, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } config = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        config.row_bytes[i] = 64;
        config.rows[i] = TILE_ROWS;
    }
    atomic_signal_fence(memory_order_seq_cst); /* gcc 12 does not know that _tile_loadconfig reads memory */
    _tile_loadconfig(&config);
}

static inline void release_tiles(void)
{
    _tile_release();
}

/*
 * C, 32 rows by 32 columns: registers 0 and 1 of the upper 16 rows, 2 and 3 of the lower ones (the intrinsics want
 * constants). first: zeros.
 */
static inline void load_c(const void *c, bool first)
{
    const unsigned char *tiles = c;
    if (first) {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
        return;
    }
    _tile_loadd(0, tiles, 64);
    _tile_loadd(1, tiles + TILE_BYTES, 64);
    _tile_loadd(2, tiles + 2 * TILE_BYTES, 64);
    _tile_loadd(3, tiles + 3 * TILE_BYTES, 64);
}

static inline void store_c(void *c)
{
    unsigned char *tiles = c;
    _tile_stored(0, tiles, 64);
    _tile_stored(1, tiles + TILE_BYTES, 64);
    _tile_stored(2, tiles + 2 * TILE_BYTES, 64);
    _tile_stored(3, tiles + 3 * TILE_BYTES, 64);
}

VECTOR_END

#endif
