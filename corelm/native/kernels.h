/* The kernels, one struct of arguments each; `kernels.c` checks them before it calls. */
#ifndef CORELM_KERNELS_H
#define CORELM_KERNELS_H

#include <stddef.h>
#include <stdint.h>

enum { PANEL = 16 }; /* columns of a matrix that are stored together */

enum activation { LINEAR, RELU, SQUARED_RELU, GELU, ACTIVATIONS };

struct product {
    const float *x;      /* (tokens, inputs) */
    const void *panels;  /* (ceil(units / PANEL), inputs, PANEL), floats or halves */
    int halves;
    const float *bias;   /* (units), or NULL */
    const float *add;    /* (tokens, units), or NULL */
    float *out;          /* (tokens, units) */
    enum activation activation;
    size_t tokens, inputs, units;
};

struct packing {
    const float *columns; /* (units, inputs) */
    void *panels;         /* (ceil(units / PANEL), inputs, PANEL), floats or halves */
    int halves;
    size_t units, inputs;
};

struct embedding {
    const float *tokens, *positions; /* (vocabulary, width), (context, width) */
    const int64_t *window;           /* (batch, time) ids */
    ptrdiff_t row;                   /* from one row of it to the next */
    float *out;                      /* (batch, added, width): of the last tokens */
    size_t batch, time, added, vocabulary, width;
};

struct norm {
    const float *x, *scale, *shift; /* (tokens, width), (width), (width) or NULL for rms_norm */
    float *out;                     /* (tokens, width) */
    float epsilon;
    size_t tokens, width;
};

struct attention {
    const float *query;       /* (batch, added, heads * size) */
    const float *key, *value; /* (batch, added, groups * size); no value: keys are values too */
    /* from one row or token of these to the next, in floats */
    ptrdiff_t query_row, query_token, row, token;
    float *cache; /* (batch, 2, groups, context, size), or (batch, 1, ...) without values */
    ptrdiff_t cache_row;
    const uint8_t *seen; /* (batch, added, time), or NULL */
    float *out;          /* (batch, added, heads * size) */
    size_t batch, added, heads, groups, size, context, time;
};

enum layer { EMBED, MULTIPLY, NORMALISE, ATTEND, LAYERS };

/* A layer of a network: what it works on are values, by their numbers. */
struct node {
    enum layer layer;
    size_t inputs[2], count, output;
    union {
        struct embedding embed;   /* all but the window, the sizes of what is read, and out */
        struct product multiply;  /* all but x, add, out and tokens */
        struct norm normalise;    /* all but x, out and tokens */
        struct {
            size_t memory, mask, heads; /* which part of the memory, and which mask */
        } attend;
    };
};

/* Layers one after the other. Values, of which each has so many numbers for a token, may be
 * overwritten once they are not needed any more; the last node's is what comes of it. */
struct graph {
    struct node *nodes;
    size_t *widths; /* of the values; the first one is given */
    size_t count, values;
};

/* What is read: the last tokens of each row of a window, after what is in the memory. */
struct reading {
    const int64_t *window; /* (batch, time) ids */
    ptrdiff_t window_row;  /* from one row of it to the next */
    float *memory;         /* (batch, parts, planes, groups, context, size) */
    const uint8_t *seen;   /* (masks, batch, added, time), or NULL */
    size_t batch, added, time, parts, planes, groups, context, size;
};

enum { KNOWN = 4, FIGURES = 8, MOMENTS = 3 };

struct rows {
    const float *logits; /* (batch, vocabulary) */
    size_t batch, vocabulary;
    float *out;           /* (batch, vocabulary), or NULL */
    float number;         /* a parameter of what is done with them */
    double exact;         /* another */
    const double *luck;   /* (batch) */
    const int64_t *given; /* (batch) tokens, or (count) */
    size_t count;         /* or how many to keep */
    int64_t *tokens;      /* (batch) */
    double *first, *second; /* (batch); the second may be NULL */
    const double *nats;     /* (batch) */
    const float *model;     /* (batch, vocabulary) */
    const double *known;    /* (batch, KNOWN), or (count) temperatures */
    double *found;          /* (batch, FIGURES), or (batch, count, MOMENTS) */
    int failed;           /* set where memory is wanting */
    int improper;         /* set where a row is no distribution, or none of the model's tokens */
};
typedef void row_kernel(struct rows *);

/* The kernels, which are there once for each number of floats in a vector. */
struct kernels {
    int (*pack)(const struct packing *);
    void (*multiply)(const struct product *);
    int (*embed)(const struct embedding *); /* -1 where a token is not in the vocabulary */
    void (*normalise)(const struct norm *);
    int (*attend)(const struct attention *);
    row_kernel *sharpen, *admit, *judge, *draw, *surprisals, *entropies, *nucleus, *greedy, *keep,
        *largest, *deviations, *typical, *figures, *moments;
};
extern const struct kernels kernels_of_8, kernels_of_16, *kernels; /* those that are in use */

/* x, of so many tokens, to out; -1 without memory, 1 where a token is not in the vocabulary. */
int run_graph(const struct graph *, const struct reading *, const float *x, size_t tokens,
              float *out);

#endif
