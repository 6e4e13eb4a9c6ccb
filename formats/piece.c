#include "piece.h"

#include "mem.h"

s24_piece *s24_pieces_new(unsigned slots, size_t bytes, s24_error *err)
{
    s24_piece *pieces = s24_calloc(slots, sizeof *pieces, err);
    unsigned char *data = pieces ? s24_alloc(2 * slots * bytes, err) : NULL;
    if (!data) {
        free(pieces);
        return NULL;
    }
    for (unsigned i = 0; i < slots; i++) {
        pieces[i].data = data + 2 * i * bytes;
        pieces[i].scratch = pieces[i].data + bytes;
    }
    return pieces;
}

void s24_pieces_free(s24_piece *pieces)
{
    if (pieces) {
        free(pieces[0].data);
        free(pieces);
    }
}
