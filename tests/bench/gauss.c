/*
 * gauss ROWS COLS SEED [f16] - writes a .npy of i.i.d. N(0,1) weights to standard output, of f32 or rounded to f16.
 *
 * xoshiro256** (Blackman and Vigna, public domain algorithm) and the polar method (Marsaglia): the same file everywhere.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t state[4];

static uint64_t rotl(uint64_t x, int k)
{
    return x << k | x >> (64 - k);
}

static uint64_t next(void)
{
    const uint64_t result = rotl(state[1] * 5, 7) * 9, t = state[1] << 17;
    state[2] ^= state[0];
    state[3] ^= state[1];
    state[1] ^= state[2];
    state[0] ^= state[3];
    state[2] ^= t;
    state[3] = rotl(state[3], 45);
    return result;
}

static void seed(uint64_t s)
{
    for (int i = 0; i < 4; i++) { /* splitmix64 */
        uint64_t z = s += UINT64_C(0x9e3779b97f4a7c15);
        z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
        state[i] = z ^ z >> 31;
    }
}

/* Two at a time. */
static void gauss(float out[2])
{
    double u, v, s;
    do {
        u = (double)(next() >> 11) * 0x1p-52 - 1;
        v = (double)(next() >> 11) * 0x1p-52 - 1;
        s = u * u + v * v;
    } while (s >= 1 || s == 0);
    const double f = sqrt(-2 * log(s) / s);
    out[0] = (float)(u * f);
    out[1] = (float)(v * f);
}

/* The nearest f16, ties to even; finite and below 65504. */
static uint16_t half(float x)
{
    int exponent;
    frexp((double)x, &exponent);
    const int scale = exponent < -13 ? -13 : exponent; /* 2^-14, to frexp 0.5 * 2^-13, is the least normal one */
    const int units = (int)nearbyint(ldexp(fabs((double)x), 11 - scale)); /* 1024 and more: with the leading bit */
    return (uint16_t)((signbit(x) ? 0x8000 : 0) | ((scale + 13) * 1024 + units));
}

int main(int argc, char **argv)
{
    if (argc < 4 || argc > 5 || (argc == 5 && strcmp(argv[4], "f16") != 0)) {
        fprintf(stderr, "usage: gauss ROWS COLS SEED [f16]\n");
        return 2;
    }
    const int is_half = argc == 5;
    const unsigned long long rows = strtoull(argv[1], NULL, 10), cols = strtoull(argv[2], NULL, 10);
    char header[128];
    const int n = snprintf(header, sizeof header, "\x93NUMPY\x01%cv%c{'descr': '<f%d', 'fortran_order': False, 'shape': "
                           "(%llu, %llu), }", 0, 0, is_half ? 2 : 4, rows, cols);
    for (int i = n; i < 128; i++) {
        header[i] = i == 127 ? '\n' : ' ';
    }
    fwrite(header, 1, sizeof header, stdout);
    seed(strtoull(argv[3], NULL, 10));
    for (unsigned long long left = rows * cols; left;) {
        float buffer[4096];
        uint16_t halves[4096];
        const size_t want = left < 4096 ? (size_t)left : 4096;
        for (size_t i = 0; i < want; i += 2) {
            float pair[2];
            gauss(pair);
            buffer[i] = pair[0];
            buffer[i + 1] = pair[1]; /* the buffer's length is even */
        }
        for (size_t i = 0; is_half && i < want; i++) {
            halves[i] = half(buffer[i]);
        }
        if ((is_half ? fwrite(halves, sizeof *halves, want, stdout) : fwrite(buffer, sizeof *buffer, want, stdout)) !=
            want) {
            perror("gauss");
            return 1;
        }
        left -= want;
    }
    return fflush(stdout) != 0;
}
