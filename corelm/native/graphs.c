/* Layers one after the other, without a word to Python between them. */
#include "kernels.h"

#include <stdlib.h>

/* Queries, keys and values are side by side in the first input; or queries are, and the second
 * has what is key and value. */
static int run_attend(const struct node *node, const struct reading *reading, float *const *at,
                      const size_t *widths)
{
    const size_t inner = node->attend.heads * reading->size, width = widths[node->inputs[0]];
    const size_t part = reading->planes * reading->groups * reading->context * reading->size;
    const float *query = at[node->inputs[0]];
    int alone = node->count == 2; /* keys are values */
    size_t token = alone ? widths[node->inputs[1]] : width;
    struct attention job = {
        .query = query, .key = alone ? at[node->inputs[1]] : query + inner,
        .value = alone ? NULL : query + 2 * inner,
        .query_row = (ptrdiff_t)(width * reading->added), .query_token = (ptrdiff_t)width,
        .row = (ptrdiff_t)(token * reading->added), .token = (ptrdiff_t)token,
        .cache = reading->memory + node->attend.memory * part,
        .cache_row = (ptrdiff_t)(reading->parts * part), .out = at[node->output],
        .batch = reading->batch, .added = reading->added, .heads = node->attend.heads,
        .groups = reading->groups, .size = reading->size, .context = reading->context,
        .time = reading->time,
    };
    if (reading->seen)
        job.seen = reading->seen + node->attend.mask * job.batch * job.added * job.time;
    return kernels->attend(&job);
}

static int run_embed(const struct node *node, const struct reading *reading, float *out)
{
    struct embedding job = node->embed;
    job.window = reading->window, job.row = reading->window_row, job.out = out;
    job.batch = reading->batch, job.time = reading->time, job.added = reading->added;
    return kernels->embed(&job) < 0 ? 1 : 0;
}

static int run_node(const struct node *node, const struct reading *reading, float *const *at,
                    const size_t *widths, size_t tokens)
{
    const float *x = at[node->inputs[0]];
    float *out = at[node->output];
    if (node->layer == EMBED)
        return run_embed(node, reading, out);
    if (node->layer == ATTEND)
        return run_attend(node, reading, at, widths);
    if (node->layer == MULTIPLY) {
        struct product job = node->multiply;
        job.x = x, job.out = out, job.tokens = tokens;
        job.add = node->count == 2 ? at[node->inputs[1]] : NULL;
        kernels->multiply(&job);
    } else {
        struct norm job = node->normalise;
        job.x = x, job.out = out, job.tokens = tokens;
        kernels->normalise(&job);
    }
    return 0;
}

int run_graph(const struct graph *graph, const struct reading *reading, const float *x,
              size_t tokens, float *out)
{
    size_t room = 0, result = graph->nodes[graph->count - 1].output;
    for (size_t value = 1; value < graph->values; value++)
        room += value == result ? 0 : tokens * graph->widths[value];
    float **at = malloc(graph->values * sizeof *at), *rest = malloc((room + 1) * sizeof *rest);
    int failed = at && rest ? 0 : -1;
    float *next = rest;
    for (size_t value = 0; value < graph->values && !failed; value++) {
        at[value] = value == 0 ? (float *)x : value == result ? out : next; /* x is only read */
        next += value == 0 || value == result ? 0 : tokens * graph->widths[value];
    }
    for (size_t i = 0; i < graph->count && !failed; i++)
        failed = run_node(&graph->nodes[i], reading, at, graph->widths, tokens);
    free(at);
    free(rest);
    return failed;
}
