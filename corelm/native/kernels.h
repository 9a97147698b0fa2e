/* The kernels, one struct of arguments each; `kernels.c` checks them before it calls. */
#ifndef CORELM_KERNELS_H
#define CORELM_KERNELS_H

#include <stddef.h>
#include <stdint.h>

enum { PANEL = 16 }; /* columns of a matrix that are stored together */

struct product {
    const float *x;      /* (tokens, inputs) */
    const void *panels;  /* (ceil(units / PANEL), inputs, PANEL), floats or halves */
    int halves;
    const float *bias;   /* (units), or NULL */
    float *out;          /* (tokens, units) */
    size_t tokens, inputs, units;
};

struct packing {
    const float *columns; /* (units, inputs) */
    void *panels;         /* (ceil(units / PANEL), inputs, PANEL), floats or halves */
    int halves;
    size_t units, inputs;
};

struct norm {
    const float *x, *scale, *shift; /* (tokens, width), (width), (width) or NULL for rms_norm */
    float *out;                     /* (tokens, width) */
    float epsilon;
    size_t tokens, width;
};

struct attention {
    const float *query, *key, *value; /* (batch, added, heads * size) */
    ptrdiff_t row, token;             /* from one row or token of these to the next, in floats */
    float *cache;                     /* (batch, 2, heads, context, size) */
    ptrdiff_t cache_row;
    const uint8_t *seen; /* (batch, added, time), or NULL */
    float *out;          /* (batch, added, heads * size) */
    size_t batch, added, heads, size, context, time;
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
    size_t count;
    int64_t *tokens;      /* (batch) */
    double *first, *second; /* (batch); the second may be NULL */
    float *before, *after;  /* (batch) */
    const float *least;     /* (batch) */
    const float *model;     /* (batch, vocabulary) */
    const double *known;    /* (batch, KNOWN), (batch, 2), or (count) temperatures */
    double *found;          /* (batch, FIGURES), or (batch, count, MOMENTS) */
    int failed;           /* set where memory is wanting */
};

int pack(const struct packing *);
void multiply(const struct product *);
void normalise(const struct norm *);
int attend(const struct attention *);
void sharpen(struct rows *);
void admit(struct rows *);
void maxima(struct rows *);
void draw(struct rows *);
void surprisals(struct rows *);
void entropies(struct rows *);
void nucleus(struct rows *);
void keep(struct rows *);
void deviations(struct rows *);
void typical(struct rows *);
void figures(struct rows *);
void moments(struct rows *);

#endif
