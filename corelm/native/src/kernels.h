/* The kernels: a struct of arguments each, and the struct of kernels of each vector width.
 *
 * The files in python/ check shapes and types and fill the structs; a kernel trusts what it gets.
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
    const int64_t *times;            /* (batch) tokens of each row, at most `time`; NULL: all */
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
    const int64_t *times;          /* (batch) tokens of each row, at most `time`; NULL: all */
    float *out;                    /* (batch, added, heads * size) */
    size_t batch, added, heads, kv_heads, size, context, time;
};

/* The tokens of a row: rows of one batch may have different lengths. */
static inline size_t time_of(const int64_t *times, size_t row, size_t time)
{
    return times ? (size_t)times[row] : time;
}

/* ---- rows of logits ---- */

struct logits {
    const float *values; /* (batch, vocabulary) */
    size_t batch, vocabulary;
};

/* Columns of the tables of `divergence`. */
enum { MODEL_ARGMAX, MODEL_MIN_ENTROPY, MODEL_SUPPORT, MODEL_ENTROPY, MODEL_COLUMNS };
enum {
    OUT_ENTROPY, OUT_MODEL_ENTROPY, OUT_KL_TO_MODEL, OUT_MASS_KEPT, OUT_TOKENS_KEPT,
    OUT_EXPECTED_SURPRISAL, OUT_TOP_PROBABILITY, OUT_VARENTROPY, OUT_TOTAL_VARIATION,
    OUT_JENSEN_SHANNON, OUT_SURPRISAL, OUT_COLUMNS
};

/* Columns of the table of `moments`: the sums of the weights, of weight * logit and of
 * weight * logit^2, without the likeliest. */
enum { MOMENTS = 3 };

/* The fields of each kind of argument in kernels.def, and from them `struct NAME_args` of each row
 * kernel: the logits, then its arguments. */
#define FIELD_ROWS_IN(x) const float *x;
#define FIELD_ROWS_OUT(x) float *x;
#define FIELD_MASK_IN(x) const uint8_t *x;
#define FIELD_FLAGS_OUT(x) uint8_t *x;
#define FIELD_DOUBLES_IN(x) const double *x;
#define FIELD_DOUBLES_OUT(x) double *x;
#define FIELD_DOUBLES_OUT_OR_NONE(x) double *x;
#define FIELD_IDS_OUT(x) int64_t *x;
#define FIELD_TOKENS_IN(x) const int64_t *x;
#define FIELD_TOKEN_LIST(x, count) const int64_t *x; size_t count;
#define FIELD_ID_LIST(name, x, count) const int64_t *x; size_t count;
#define FIELD_OWNERS(x, list, count) const int64_t *x; size_t x##_each; size_t x##_row;
#define FIELD_NUMBER_OR_LIST(x, count) const double *x; size_t x##_each; double x##_of_all;
#define FIELD_POSITIVE_LIST(x, count) const double *x; size_t count;
#define FIELD_NUMBER(x) double x;
#define FIELD_NUMBER_OR_DOUBLES(x) const double *x; size_t x##_row; double x##_of_all;
#define FIELD_COUNT(x) size_t x;
#define FIELD_STAGES(x, count) struct stage x[MOST_STAGES]; size_t count;
#define FIELD_MODEL_STATS(x) const double *x;
#define FIELD_TABLE_OUT(x, columns) double *x;
#define FIELD_TABLES_OUT(x, rows, columns) double *x;

#define ARGUMENTS(name, arguments)                                                                \
    struct name##_args {                                                                          \
        struct logits logits;                                                                     \
        arguments                                                                                 \
    };
#define ARG(kind, ...) FIELD_##kind(__VA_ARGS__)
#define STAGE(name, arguments) ARGUMENTS(name, arguments ARG(ROWS_OUT, out))
#include "kernels.def"

/* A stage of `sample`: which kernel it is, and its arguments. */
struct stage {
    enum {
#define STAGE(name, arguments) STAGE_##name,
#include "kernels.def"
    } kernel;
    union {
#define STAGE(name, arguments) struct name##_args name;
#include "kernels.def"
    };
};

enum { MOST_STAGES = 8 };

#define ARG(kind, ...) FIELD_##kind(__VA_ARGS__)
#define STAGE(name, arguments) /* above */
#define ROW_KERNEL(name, result, arguments) ARGUMENTS(name, arguments)
#include "kernels.def"
#undef ARGUMENTS

/* ---- the kernels of one vector width ---- */

struct kernels {
    void (*prepare)(void); /* fills tables; called once, before anything else */
#define ROW_KERNEL(name, result, arguments) enum status (*name)(const struct name##_args *);
#define LAYER_KERNEL(name) enum status (*name)(const struct name##_args *);
#define GRAPH_KERNEL(name) enum status (*name)(const struct name##_args *);
#include "kernels.def"
};

extern const struct kernels kernels_of_8, kernels_of_16;

/* The kernels in use. */
const struct kernels *active_kernels(void);

/* Use vectors of at most this many floats, 8 or 16, from now on. Returns how many there are; 0, and
 * nothing works, where the processor has too few instructions. */
int use_kernels(long floats);

#endif
