/* What the headers of a coded unit say, and where its parts are. */
#ifndef S24_LIB_CODER_HEADER_H
#define S24_LIB_CODER_HEADER_H

#include "coder_unit.h"

typedef struct s24_plane_header {
    size_t n;
    unsigned method;
    bool fields;
    uint8_t value;
    s24_copies copies;
    size_t words, class_words;
    unsigned tables, block;
    size_t blocks;
    const s24_frequencies *frequencies; /* of classes, if there are any, then of each table */
    const uint8_t *raw;
} s24_plane_header;

typedef struct s24_unit_header {
    unsigned kind, lanes;
    s24_cut cut;
    s24_unit_shape s;
    const uint8_t *stored, *palette, *escapes;
    unsigned palette_count;
    size_t escaped;
    s24_plane_header planes[S24_PLANES_MOST];
    const uint8_t *states, *words, *end;
} s24_unit_header;

/* Where everything is in n coded bytes. room: for S24_TABLES_MOST frequencies; NULL: none are wanted. False: malformed. */
#define S24_TABLES_MOST (S24_PLANES_MOST * (S24_RANS_CLASSES + 1))
bool s24_unit_header_read(const s24_unit *unit, const uint8_t *coded, size_t n, s24_frequencies *room, s24_unit_header *u);

#endif
