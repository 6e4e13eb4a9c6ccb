/* The time that measurements are made with. */
#ifndef S24_LIB_CLOCK_H
#define S24_LIB_CLOCK_H

#include <time.h>

/* Seconds since some moment; never set back. */
static inline double s24_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

#endif
