#include "batch.h"

s24_batches s24_batches_of(const s24_panels *panels, size_t cols, unsigned bytes, size_t most)
{
    s24_batches b = {.panels = *panels, .cols = cols, .per_batch = 1};
    if (panels->count == 0) {
        return b;
    }
    b.panel_elements = 4 * s24_panel_at(panels, 0).rows * panels->groups_per_run;
    if (most && panels->runs_per_row == 1) {
        const size_t fit = most / (b.panel_elements * bytes);
        b.per_batch = fit < 1 ? 1 : fit < panels->count ? fit : panels->count;
    }
    b.count = (panels->count - 1) / b.per_batch + 1;
    b.elements = b.per_batch * b.panel_elements;
    return b;
}

s24_panel_place s24_batch_at(const s24_batches *b, size_t index, size_t *first, size_t *count)
{
    *first = index * b->per_batch;
    const size_t left = b->panels.count - *first;
    *count = left < b->per_batch ? left : b->per_batch;
    s24_panel_place place = s24_panel_at(&b->panels, *first);
    const s24_panel_place last = s24_panel_at(&b->panels, *first + *count - 1);
    place.rows = last.row + last.rows - place.row;
    return place;
}

size_t s24_batch_before(const s24_batches *b, size_t first, size_t index)
{
    return (s24_panel_at(&b->panels, index).row - s24_panel_at(&b->panels, first).row) * b->cols;
}
