#include "graph.h"

#include <stdlib.h>

static enum status run_embed(const struct node *node, const struct step *step, float *out)
{
    struct embed_args args = node->embed;
    args.window = step->window, args.window_row = step->window_row, args.out = out;
    args.batch = step->batch, args.time = step->time, args.added = step->added;
    args.times = step->times;
    return active_kernels()->embed(&args);
}

/* One input holds query, key and value side by side. With two, the second is key and value. */
static enum status run_attend(const struct node *node, const struct step *step,
                              float *const *values, const size_t *widths)
{
    const size_t inner = node->attend.heads * step->size, width = widths[node->inputs[0]];
    const size_t layer = step->keys_and_values * step->kv_heads * step->context * step->size;
    const float *query = values[node->inputs[0]];
    int shared = node->input_count == 2; /* keys are values too */
    size_t token = shared ? widths[node->inputs[1]] : width;
    struct attend_args args = {
        .query = query, .key = shared ? values[node->inputs[1]] : query + inner,
        .value = shared ? NULL : query + 2 * inner,
        .query_row = (ptrdiff_t)(width * step->added), .query_token = (ptrdiff_t)width,
        .row = (ptrdiff_t)(token * step->added), .token = (ptrdiff_t)token,
        .cache = step->kv_cache + node->attend.layer * layer,
        .cache_row = (ptrdiff_t)(step->layers * layer), .out = values[node->output],
        .batch = step->batch, .added = step->added, .heads = node->attend.heads,
        .kv_heads = step->kv_heads, .size = step->size, .context = step->context,
        .time = step->time, .times = step->times,
    };
    if (step->attention_masks)
        args.attention_mask =
            step->attention_masks + node->attend.mask * args.batch * args.added * args.time;
    return active_kernels()->attend(&args);
}

static enum status run_node(const struct node *node, const struct step *step,
                            float *const *values, const size_t *widths, size_t tokens)
{
    float *out = values[node->output];
    if (node->layer == EMBED)
        return run_embed(node, step, out);
    if (node->layer == ATTEND)
        return run_attend(node, step, values, widths);
    const float *x = values[node->inputs[0]];
    if (node->layer == MULTIPLY) {
        struct multiply_args args = node->multiply;
        args.x = x, args.out = out, args.tokens = tokens;
        args.add = node->input_count == 2 ? values[node->inputs[1]] : NULL;
        return active_kernels()->multiply(&args);
    }
    struct normalise_args args = node->normalise;
    args.x = x, args.out = out, args.tokens = tokens;
    return active_kernels()->normalise(&args);
}

/* Count the floats of all values except the input and the result; 0 if they are too many. */
static int floats_needed(const struct graph *graph, size_t tokens, size_t result, size_t *total)
{
    size_t width = 0;
    for (size_t value = 1; value < graph->value_count; value++)
        if (value != result && __builtin_add_overflow(width, graph->widths[value], &width))
            return 0;
    return !__builtin_mul_overflow(width, tokens, total) && *total < SIZE_MAX / sizeof(float);
}

enum status run_graph(const struct graph *graph, const struct step *step, const float *x,
                      size_t tokens, float *out)
{
    size_t result = graph->nodes[graph->node_count - 1].output, total;
    if (!floats_needed(graph, tokens, result, &total))
        return NO_MEMORY;
    float **values = malloc(graph->value_count * sizeof *values);
    float *buffer = malloc((total + 1) * sizeof *buffer), *next = buffer; /* not malloc(0) */
    enum status status = values && buffer ? OK : NO_MEMORY;
    for (size_t value = 0; value < graph->value_count && !status; value++) {
        int own = value != 0 && value != result;
        values[value] = own ? next : value ? out : (float *)x; /* x is only read */
        next += own ? tokens * graph->widths[value] : 0;
    }
    for (size_t i = 0; i < graph->node_count && !status; i++)
        status = run_node(&graph->nodes[i], step, values, graph->widths, tokens);
    free(values);
    free(buffer);
    return status;
}
