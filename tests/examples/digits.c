/*
 * digits - how a program uses libs24: load pruned layers from .s24 files, and run a network with them.
 *
 *     digits DATA MODEL.s24...
 *
 * DATA holds the dense network and its test set (tests/data/digits), each model the pruned layers fc1.weight .. fc3.weight. Prints
 * how many of the test images the dense and the pruned networks get right.
 */
#include <s24io.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LAYERS 3

static void die(const char *message)
{
    fprintf(stderr, "digits: %s\n", message);
    exit(1);
}

static void check(s24_status status, const s24_error *err)
{
    if (status != S24_OK) {
        die(err->message);
    }
}

static void *allocate(size_t n, size_t size)
{
    void *p = calloc(n, size);
    if (!p) {
        die("no memory");
    }
    return p;
}

static s24_array load(const char *directory, const char *file)
{
    char path[4096];
    s24_array array;
    s24_error err;
    snprintf(path, sizeof path, "%s/%s", directory, file);
    check(s24_array_load(path, NULL, &array, &err), &err);
    return array;
}

/* y [rows, n] = W x [cols, n], W dense */
static void dense_matmul(const s24_array *w, const float *x, size_t n, float *y)
{
    const float *weights = w->data;
    memset(y, 0, w->shape[0] * n * sizeof *y);
    for (size_t i = 0; i < w->shape[0]; i++) {
        for (size_t k = 0; k < w->shape[1]; k++) {
            for (size_t j = 0; j < n; j++) {
                y[i * n + j] += weights[i * w->shape[1] + k] * x[k * n + j];
            }
        }
    }
}

/* Adds the bias to every column; a hidden layer's outputs below 0 become 0. */
static void add_bias(const s24_array *bias, size_t n, bool hidden, float *y)
{
    const float *b = bias->data;
    for (size_t i = 0; i < bias->shape[0]; i++) {
        for (size_t j = 0; j < n; j++) {
            const float v = y[i * n + j] + b[i];
            y[i * n + j] = hidden && v < 0 ? 0 : v;
        }
    }
}

/* How many columns of y have their largest entry where the label says. */
static int count_correct(const float *y, size_t rows, size_t n, const signed char *labels)
{
    int correct = 0;
    for (size_t j = 0; j < n; j++) {
        size_t best = 0;
        for (size_t i = 1; i < rows; i++) {
            best = y[i * n + j] > y[best * n + j] ? i : best;
        }
        correct += best == (size_t)labels[j];
    }
    return correct;
}

/* Images are rows; the network works on columns, one an image. */
static float *columns(const s24_array *images)
{
    const size_t n = images->shape[0], k = images->shape[1];
    const float *rows = images->data;
    float *x = allocate(n * k, sizeof *x);
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < k; j++) {
            x[j * n + i] = rows[i * k + j];
        }
    }
    return x;
}

static int run_network(const char *data, const char *pruned, const s24_array *images, const signed char *labels)
{
    const size_t n = images->shape[0];
    float *x = columns(images);
    size_t rows = 0;
    for (int layer = 1; layer <= LAYERS; layer++) {
        char name[64];
        s24_error err;
        snprintf(name, sizeof name, "fc%d.bias.npy", layer);
        s24_array bias = load(data, name);
        rows = bias.shape[0];
        float *y = allocate(rows * n, sizeof *y);
        if (pruned) {
            s24_tensor *w;
            snprintf(name, sizeof name, "fc%d.weight", layer);
            check(s24_tensor_load(pruned, name, &w, NULL, &err), &err);
            check(s24_sparse_matmul(w, x, n, n, y, n, NULL, &err), &err);
            s24_tensor_free(w);
        } else {
            snprintf(name, sizeof name, "fc%d.weight.npy", layer);
            s24_array w = load(data, name);
            dense_matmul(&w, x, n, y);
            s24_array_free(&w);
        }
        add_bias(&bias, n, layer < LAYERS, y);
        s24_array_free(&bias);
        free(x);
        x = y;
    }
    const int correct = count_correct(x, rows, n, labels);
    free(x);
    return correct;
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        die("usage: digits DATA MODEL.s24...");
    }
    s24_array images = load(argv[1], "test_images.npy");
    s24_array labels = load(argv[1], "test_labels.npy");
    const int total = (int)images.shape[0];
    const int dense = run_network(argv[1], NULL, &images, labels.data);
    printf("accuracy on %d held-out images\n", total);
    printf("  %-24s %d right, %.1f%%\n", "dense weights", dense, 100.0 * dense / total);
    for (int i = 2; i < argc; i++) {
        const int sparse = run_network(argv[1], argv[i], &images, labels.data);
        printf("  %-24s %d right, %.1f%%\n", argv[i], sparse, 100.0 * sparse / total);
    }
    s24_array_free(&images);
    s24_array_free(&labels);
    return 0;
}
