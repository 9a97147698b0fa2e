/* A network that `plan` has accepted. */
#ifndef CORELM_PLAN_H
#define CORELM_PLAN_H

#include "args.h"
#include "../graph.h"

#define PLAN_NAME "corelm.plan" /* of the capsule */

/* The shapes of key/value cache and masks that the attention layers need. */
struct cache_needs {
    size_t layers, masks;                   /* at least */
    size_t keys_and_values, kv_heads, size; /* exactly; 0 without attention layers */
};

/* A graph that reads tokens, and a head that makes logits of its result. */
struct plan {
    struct graph reader, head;
    struct call *calls; /* the arrays of each node */
    size_t call_count, positions; /* positions: tokens that every embed node has one for */
    struct cache_needs cache;
};

/* The plan of a capsule; NULL with a TypeError if it is none. */
const struct plan *get_plan(PyObject *capsule);

/* Read the arrays of a step: `args` are window, kv_cache, attention_masks and outputs, `times` an
 * array or None. 0 with an exception if they don't fit the plan. */
int get_step(struct call *, PyObject *const *args, PyObject *times, const struct plan *,
             struct step *, float **outputs);

static inline size_t result_width(const struct graph *graph)
{
    return graph->widths[graph->nodes[graph->node_count - 1].output];
}

#endif
