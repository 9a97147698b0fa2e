/* The kernels: a struct of arguments each, and the struct of kernels of each vector width.
 *
 * The py_*.c files check shapes and types and fill the structs; a kernel trusts what it gets.
 * All arrays are C-contiguous and aligned unless a stride says otherwise.
 */
#ifndef CORELM_KERNELS_H
#define CORELM_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/* The result of a kernel. INVALID means: a row isn't a distribution, a token isn't in the
 * vocabulary, or (pack) a weight has no half-precision value. */
enum status { NO_MEMORY = -1, OK = 0, INVALID = 1 };

/* ---- layers ---- */

enum { PANEL = 16 }; /* columns of a matrix that are stored together; README.md, "Panels" */

enum activation { LINEAR, RELU, SQUARED_RELU, GELU, ACTIVATIONS };

struct multiply_args {
    const float *x;      /* (tokens, inputs) */
    const void *panels;  /* (ceil(units / PANEL), inputs, PANEL), single or half precision */
    int half_precision;
    const float *bias;   /* (units), or NULL */
    const float *add;    /* (tokens, units), or NULL; added after the activation */
    float *out;          /* (tokens, units) */
    enum activation activation;
    size_t tokens, inputs, units;
};

struct pack_args {
    const void *matrix; /* (inputs, units), single or half precision */
    ptrdiff_t input_stride, unit_stride; /* elements from one input or unit to the next */
    void *panels;       /* (ceil(units / PANEL), inputs, PANEL), single or half precision */
    int halves_in, halves_out;
    size_t units, inputs;
};

struct embed_args {
    const void *tokens;              /* (vocabulary, width), single or half precision */
    int half_precision;
    const float *positions;          /* (context, width) */
    const int64_t *window;           /* (batch, time) ids */
    ptrdiff_t window_row;            /* ids from one row of the window to the next */
    float *out;                      /* (batch, added, width): of the last `added` tokens */
    size_t batch, time, added, vocabulary, width;
};

struct normalise_args {
    const float *x, *scale, *shift; /* (tokens, width), (width), (width) or NULL for RMS norm */
    float *out;                     /* (tokens, width) */
    float epsilon;
    size_t tokens, width;
};

struct attend_args {
    const float *query;       /* (batch, added, heads * size) */
    const float *key, *value; /* (batch, added, kv_heads * size); value NULL: keys are values */
    /* floats from one row or token to the next, of the query and of key and value */
    ptrdiff_t query_row, query_token, row, token;
    float *cache; /* (batch, 2, kv_heads, context, size), or (batch, 1, ...) without values */
    ptrdiff_t cache_row;           /* floats from one row of the cache to the next */
    const uint8_t *attention_mask; /* (batch, added, time), 0 where hidden; or NULL */
    float *out;                    /* (batch, added, heads * size) */
    size_t batch, added, heads, kv_heads, size, context, time;
};

/* ---- rows of logits ---- */

struct logits {
    const float *values; /* (batch, vocabulary) */
    size_t batch, vocabulary;
};

struct mask_tokens_args {
    struct logits logits;
    const int64_t *tokens; /* (count) ids that become minus infinity */
    size_t count;
    float *out; /* (batch, vocabulary); may be the logits themselves */
};

struct rows_are_valid_args {
    struct logits logits;
};

struct apply_temperature_args {
    struct logits logits;
    const double *t; /* at least 0 and finite; 0 is greedy */
    size_t t_row;    /* 1: t is (batch); 0: one number for all rows */
    float *out;      /* (batch, vocabulary) */
};

struct draw_args {
    struct logits logits;
    const double *uniforms; /* (batch) in [0, 1) */
    int64_t *tokens;        /* (batch), what is drawn */
    double *surprisals;     /* (batch), nats */
};

struct surprisals_args {
    struct logits logits;
    const int64_t *tokens; /* (batch) */
    double *out;           /* (batch), nats */
};

struct surprisals_and_entropy_args {
    struct logits logits;
    const int64_t *tokens; /* (batch) */
    double *surprisals;    /* (batch), nats */
    double *entropy;       /* (batch), nats */
};

struct min_and_shannon_entropy_args {
    struct logits logits;
    double *min_entropy; /* (batch), nats */
    double *entropy;     /* (batch), nats; or NULL */
};

struct greedy_args {
    struct logits logits;
    float *out; /* (batch, vocabulary) */
};

struct within_nats_args {
    struct logits logits;
    const double *nats;
    size_t nats_row; /* 1: nats is (batch); 0: one number for all rows */
    float *out;      /* (batch, vocabulary) */
};

struct top_k_args {
    struct logits logits;
    size_t k;   /* at least 1 */
    float *out; /* (batch, vocabulary) */
};

struct top_p_args {
    struct logits logits;
    double p;
    float *out; /* (batch, vocabulary) */
};

struct top_h_args {
    struct logits logits;
    double h;
    float *out; /* (batch, vocabulary) */
};

struct typical_args {
    struct logits logits;
    double p;
    float *out; /* (batch, vocabulary) */
};

struct softmax_args {
    struct logits logits;
    float *out; /* (batch, vocabulary) */
};

struct quadratic_args {
    struct logits logits;
    double factor, curve;
    float *out; /* (batch, vocabulary) */
};

struct xtc_args {
    struct logits logits;
    double probability, threshold;
    const int64_t *protected_tokens; /* (protected_count) ids that are never dropped */
    size_t protected_count;
    float *out; /* (batch, vocabulary) */
};

struct logit_std_args {
    struct logits logits;
    double *out; /* (batch) */
};

/* Columns of `divergence_args`. */
enum { MODEL_ARGMAX, MODEL_MIN_ENTROPY, MODEL_SUPPORT, MODEL_ENTROPY, MODEL_COLUMNS };
enum {
    OUT_ENTROPY, OUT_MODEL_ENTROPY, OUT_KL_TO_MODEL, OUT_MASS_KEPT, OUT_TOKENS_KEPT,
    OUT_EXPECTED_SURPRISAL, OUT_TOP_PROBABILITY, OUT_VARENTROPY, OUT_TOTAL_VARIATION,
    OUT_JENSEN_SHANNON, OUT_SURPRISAL, OUT_COLUMNS
};

struct divergence_args {
    struct logits logits;
    const float *model;        /* (batch, vocabulary): the model's own logits */
    const double *model_stats; /* (batch, MODEL_COLUMNS) */
    const int64_t *tokens;     /* (batch), of which the surprisal is wanted */
    double *out;               /* (batch, OUT_COLUMNS) */
};

/* The sums of the weights, of weight * logit and of weight * logit^2, without the likeliest. */
enum { MOMENTS = 3 };

struct moments_args {
    struct logits logits;
    const double *temperatures; /* (count) */
    size_t count;
    double *out; /* (batch, count, MOMENTS) */
};

/* ---- the kernels of one vector width ---- */

struct kernels {
    void (*prepare)(void); /* fills tables; called once, before anything else */
#define ROW_KERNEL(name) enum status (*name)(const struct name##_args *);
#define LAYER_KERNEL(name) enum status (*name)(const struct name##_args *);
#define GRAPH_KERNEL(name) enum status (*name)(const struct name##_args *);
#include "kernels.def"
};

extern const struct kernels kernels_of_8, kernels_of_16;

/* The kernels in use. */
const struct kernels *active_kernels(void);

#endif
