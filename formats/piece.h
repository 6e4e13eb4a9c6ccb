/* Pieces of a tensor that goes through unchanged: what one job reads, checks and writes. One a slot of s24_run. */
#ifndef S24_FORMATS_PIECE_H
#define S24_FORMATS_PIECE_H

#include "error.h"

typedef struct s24_piece {
    unsigned char *data, *scratch; /* as long as the longest piece */
    size_t n;                      /* bytes of the piece at hand */
    bool damaged;
} s24_piece;

/* NULL: *err is set. Freed by s24_pieces_free; NULL is fine. */
s24_piece *s24_pieces_new(unsigned slots, size_t bytes, s24_error *err);
void s24_pieces_free(s24_piece *pieces);

#endif
