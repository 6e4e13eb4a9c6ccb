#include "suggest.h"

#include <string.h>

#define LONGEST 48 /* a longer word is no slip of the finger */

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/*
 * Insertions, deletions, replacements and swaps of neighbours that make a of b (optimal string alignment): the slips
 * that fingers make. Row i holds the distances of the first i characters of a; a swap looks back two rows.
 */
static size_t distance(const char *a, const char *b)
{
    const size_t n = strlen(a), m = strlen(b);
    size_t rows[3][LONGEST + 1];
    if (n > LONGEST || m > LONGEST) {
        return LONGEST;
    }
    for (size_t j = 0; j <= m; j++) {
        rows[0][j] = j;
    }
    for (size_t i = 1; i <= n; i++) {
        size_t *row = rows[i % 3], *last = rows[(i - 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            row[j] = least(least(last[j], row[j - 1]) + 1, last[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                row[j] = least(row[j], rows[(i - 2) % 3][j - 2] + 1);
            }
        }
    }
    return rows[n % 3][m];
}

void suggest_try(suggest *s, const char *candidate)
{
    const size_t length = strlen(s->word);
    const size_t most = 1 + length / 4; /* one slip, and one more for every four letters */
    size_t d = distance(s->word, candidate);
    if (length >= 2 && strncmp(s->word, candidate, length) == 0) {
        d = 1; /* an abbreviation: not accepted, but clear */
    }
    if (d <= most && d < strlen(candidate) && (!s->nearest || d < s->distance)) {
        s->nearest = candidate;
        s->distance = d;
    }
}
