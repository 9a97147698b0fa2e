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

/* A pre-norm block: norm, attention, add; norm, dense, activation, dense, add. */
struct block {
    struct norm attention_norm, dense_norm;            /* scale, shift, epsilon */
    struct product qkv, attention_out, dense_in, dense_out; /* all but x, add and out */
    struct attention attention;                        /* the cache, and the sizes */
    const float *x;                                    /* (batch, added, width) */
    float *out;                                        /* the same */
    size_t width;
};

/* Attention, added to what looked, normalised. */
struct look {
    struct product query, output; /* all but x, add and out */
    struct norm norm;             /* scale, shift, epsilon */
    struct attention attention;   /* all but the queries and out */
    const float *x;               /* (batch, added, width) */
    float *out;                   /* the same */
    size_t width;
};

enum { KNOWN = 4, FIGURES = 9, MOMENTS = 3 };

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
    int improper;         /* set where a row is no distribution */
};

int pack(const struct packing *);
void multiply(const struct product *);
int embed(const struct embedding *); /* -1 where a token is not in the vocabulary */
void normalise(const struct norm *);
int attend(const struct attention *);
int run_block(const struct block *);
int look(const struct look *);
void sharpen(struct rows *);
void admit(struct rows *);
void judge(struct rows *);
void draw(struct rows *);
void surprisals(struct rows *);
void entropies(struct rows *);
void nucleus(struct rows *);
void greedy(struct rows *);
void keep(struct rows *);
void largest(struct rows *);
void deviations(struct rows *);
void typical(struct rows *);
void figures(struct rows *);
void moments(struct rows *);

#endif
