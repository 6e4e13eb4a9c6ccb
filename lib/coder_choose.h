/*
 * Choosing what makes a plane smallest. Each of these replaces what is chosen where it finds something better. Nothing is
 * chosen by more than integers, so that a unit becomes the same bytes on every machine.
 */
#ifndef S24_LIB_CODER_CHOOSE_H
#define S24_LIB_CODER_CHOOSE_H

#include "coder_unit.h"

typedef struct s24_chosen {
    const uint8_t *plane;
    size_t n;
    unsigned method;
    bool fields;                   /* of the middle: a byte a field */
    s24_copies copies;             /* count 0: none; literals are the plane */
    unsigned tables;               /* of S24_PLANE_RANS; more than 1: with classes */
    unsigned flat;                 /* 0, or so many equally frequent symbols */
    unsigned block;
    uint8_t *classes;
    size_t blocks;
    uint32_t (*table_counts)[256]; /* of each class */
    uint32_t class_counts[256];
    uint64_t cost;                 /* bits, in 1/65536, as estimated */
    bool counted;
    uint32_t counts[256];          /* of the plane, or its literals, once counted */
} s24_chosen;

/* What choosing classes needs beside the plane. */
#define S24_CLASS_BINS 32
typedef struct s24_chooser {
    int level;
    uint32_t (*bins)[256]; /* [2 * S24_CLASS_BINS]: of the best try, and of the one at hand */
    uint16_t *sums;
    uint8_t *classes;
} s24_chooser;

/* Costs. */
#define S24_BITS(n) ((uint64_t)(n) << 16)
#define S24_BYTES(n) S24_BITS(8 * (uint64_t)(n))

const uint32_t *s24_counts_of(s24_chosen *c);

/* Raw, constant or entropy coded with one table; c->plane and c->n say what. The first choice. */
void s24_choose_simple(s24_chosen *c);

/* Classes, of the plane of symbols. */
void s24_choose_classes(s24_chooser *with, s24_chosen *c, const s24_unit *unit, const s24_cut *cut);

/* Copies, and something simple for the literals; room as s24_find_copies has it. */
void s24_choose_copies(s24_chosen *c, uint8_t *list, uint8_t *literals, uint32_t *table);

/*
 * The middle, n fields of so many bits, as a byte a field, coded: bytes that hold parts of two fields hide what fields have
 * in common. fields: room for n.
 */
void s24_choose_fields(s24_chosen *c, size_t n, unsigned width, uint8_t *fields);

#endif
