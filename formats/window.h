/*
 * Windows: a part of an input file seen in place, mapped, instead of copied. From the page cache that saves the copy,
 * which costs as much as pruning does.
 *
 * A mapped file that somebody truncates raises SIGBUS where it ends now. The program's handler has s24_maps_repair put
 * zeros there, and s24_window_settle then says that they are none of the file's. So nothing is mapped unless the caller of
 * the library has such a handler (s24_io.maps), and nothing that was computed from a window counts before it is settled.
 * Bytes that another process changes meanwhile may be seen twice, differently: what has checks is read, not mapped.
 */
#ifndef S24_FORMATS_WINDOW_H
#define S24_FORMATS_WINDOW_H

#include "io.h"

/* One worker's. Zeroed is closed. */
typedef struct s24_window {
    s24_input *in;
    s24_map_slot *slot; /* the caller's record of the mapping; NULL: there is none */
    unsigned char *base;
    uint64_t offset;    /* of base in the file */
    size_t length;
} s24_window;

/*
 * *data: n bytes at `offset` of the input, as s24_input_read gives them. Mapped where that can be and is faster, or read into
 * `buffer` (n bytes). They stay there until the window's next view, or its end.
 */
s24_status s24_window_view(s24_window *window, s24_input *in, uint64_t offset, size_t n, void *buffer, const void **data,
                           s24_error *err);

/* S24_ERR_DATA when the file was cut off under the window: what was seen there since it was last settled is not the file's. */
s24_status s24_window_settle(s24_window *window, s24_error *err);

void s24_window_close(s24_window *window);

#endif
