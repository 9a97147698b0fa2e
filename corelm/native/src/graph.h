/* Networks as graphs of layers, run in one call. */
#ifndef CORELM_GRAPH_H
#define CORELM_GRAPH_H

#include "kernels.h"

enum layer { EMBED, MULTIPLY, NORMALISE, ATTEND, LAYERS };

/* One layer. Inputs and output are the numbers of values. */
struct node {
    enum layer layer;
    size_t inputs[2], input_count, output;
    union {
        struct embed_args embed;         /* except what depends on the step, and out */
        struct multiply_args multiply;   /* except x, add, out and tokens */
        struct normalise_args normalise; /* except x, out and tokens */
        struct {
            size_t layer, mask, heads; /* layer of the key/value cache; attention mask */
        } attend;
    };
};

/* Layers in the order in which they run. A value is an array of (tokens, width); value 0 is the
 * graph's input, the last node's output its result. A value may be written again once its
 * earlier content isn't needed any more. */
struct graph {
    struct node *nodes;
    size_t *widths; /* of the values */
    size_t node_count, value_count;
};

/* What one step reads: the last `added` tokens of each row of a window. The tokens before them
 * are in the key/value cache. */
struct step {
    const int64_t *window; /* (batch, time) ids */
    ptrdiff_t window_row;  /* ids from one row to the next */
    float *kv_cache;       /* (batch, layers, keys_and_values, kv_heads, context, size) */
    const uint8_t *attention_masks; /* (masks, batch, added, time), or NULL */
    const int64_t *times;  /* (batch) tokens of each row of the window; NULL: `time` */
    size_t batch, added, time, layers, keys_and_values, kv_heads, context, size;
};

/* Run a graph on x, which is NULL where no node reads value 0, and write its result to out.
 * INVALID: a token isn't in the vocabulary. */
enum status run_graph(const struct graph *, const struct step *, const float *x, size_t tokens,
                      float *out);

#endif
