/* What the page of one file needs of the kernels: a network's next logits, stages, draws.
 *
 * Compiled for WebAssembly, where all is called by local/engine.js. Addresses are numbers there.
 */
#include "graph.h"
#include "stages.h"
#include "stream.h"

#define LANES 8
#include "simd/vec.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT(name) __attribute__((export_name(#name)))

struct network {
    struct graph reader, head; /* from tokens to states, and from there to logits */
    struct step step;
    float *states; /* of the last pass */
    size_t width;
};

/* A node as numbers: layer, output, how many inputs, two inputs, and three of the layer's own, which
 * are those of the node's tuple in corelm/models/networks/layers.py, with addresses for arrays. */
enum { NODE = 8 };

/* Whether a product and a sum are rounded once, as everywhere else. Relaxed instructions may round
 * twice on some processors. */
EXPORT(rounds_once) int rounds_once(void)
{
    float numbers[LANES];
    for (int i = 0; i < LANES; i++)
        numbers[i] = 1 + ldexpf((float)(2 * i + 1), -20);
    floats x = load(numbers), result = fmadd(x, x, splat(-1.0f));
    for (int i = 0; i < LANES; i++)
        if (result[i] != fmaf(numbers[i], numbers[i], -1.0f))
            return 0;
    return 1;
}

EXPORT(allocate) void *allocate(size_t bytes) { return malloc(bytes); }

EXPORT(release) void release(void *memory) { free(memory); }

static float number_of(int32_t bits)
{
    float number;
    memcpy(&number, &bits, sizeof number);
    return number;
}

static void read_node(struct node *node, const int32_t *of, const size_t *widths)
{
    const void *first = (const void *)(intptr_t)of[5], *second = (const void *)(intptr_t)of[6];
    const size_t width = widths[of[1]], inputs = widths[of[3]];
    *node = (struct node){.layer = (enum layer)of[0], .output = (size_t)of[1],
                          .input_count = (size_t)of[2], .inputs = {(size_t)of[3], (size_t)of[4]}};
    if (node->layer == EMBED)
        node->embed = (struct embed_args){.tokens = first, .positions = second,
                                          .vocabulary = (size_t)of[7], .width = width};
    else if (node->layer == MULTIPLY)
        node->multiply = (struct multiply_args){.panels = first, .bias = second, .inputs = inputs,
                                                .activation = (enum activation)of[7],
                                                .units = width};
    else if (node->layer == NORMALISE)
        node->normalise = (struct normalise_args){.scale = first, .shift = second, .width = width,
                                                  .epsilon = number_of(of[7])};
    else
        node->attend.layer = (size_t)of[5], node->attend.mask = (size_t)of[6],
        node->attend.heads = (size_t)of[7];
}

static int read_graph(struct graph *graph, const int32_t *nodes, size_t node_count, size_t *widths,
                      size_t value_count)
{
    *graph = (struct graph){.nodes = calloc(node_count, sizeof *graph->nodes), .widths = widths,
                            .node_count = node_count, .value_count = value_count};
    for (size_t i = 0; graph->nodes && i < node_count; i++)
        read_node(graph->nodes + i, nodes + i * NODE, widths);
    return graph->nodes != NULL;
}

/* Return a network: the nodes and the widths of both graphs, which stay the caller's, and the shape
 * of its cache: layers, keys and values, their heads, context, size. NULL where memory runs out. */
EXPORT(network) struct network *network(const int32_t *nodes, size_t count, size_t *widths,
                                        size_t values, const int32_t *head_nodes, size_t head_count,
                                        size_t *head_widths, size_t head_values,
                                        const int32_t *cache)
{
    struct network *made = calloc(1, sizeof *made);
    size_t floats = 1;
    for (int i = 0; i < 5; i++)
        floats *= (size_t)cache[i];
    if (!made || !use_kernels(8) || !read_graph(&made->reader, nodes, count, widths, values) ||
        !read_graph(&made->head, head_nodes, head_count, head_widths, head_values))
        return NULL;
    const size_t context = (size_t)cache[3];
    made->width = head_widths[0];
    made->step = (struct step){
        .batch = 1, .layers = (size_t)cache[0], .keys_and_values = (size_t)cache[1],
        .kv_heads = (size_t)cache[2], .context = context, .size = (size_t)cache[4],
        .kv_cache = malloc(floats * sizeof(float))};
    made->states = malloc(context * made->width * sizeof *made->states);
    return made->step.kv_cache && made->states ? made : NULL;
}

/* Read the last `added` of `time` ids, whose cache holds those before; write (asked, vocabulary) the
 * logits after the last ones. Returns 0 where memory runs out. */
EXPORT(read) int read(struct network *network, const int64_t *ids, size_t time, size_t added,
                      size_t asked, float *logits)
{
    struct step *step = &network->step;
    step->window = ids, step->window_row = (ptrdiff_t)time, step->time = time, step->added = added;
    const float *last = network->states + (added - asked) * network->width;
    return run_graph(&network->reader, step, NULL, added, network->states) == OK &&
           (!asked || run_graph(&network->head, step, last, asked, logits) == OK);
}

/* Apply a stage of kernels.def to a row. Returns 0, with the reason in `error`, where there is none
 * of that name for these numbers. `lists`: NULL, or ids after the numbers. */
EXPORT(stage) int stage(const char *kernel, const struct parameter *parameters, size_t count,
                        const float *row, size_t vocabulary, float *out, char *error)
{
    struct stage stage;
    const struct logits logits = {row, 1, vocabulary};
    if (!read_stage(&stage, kernel, parameters, count, &logits, error))
        return 0;
    switch (stage.kernel) {
#define STAGE(name, arguments)                                                                    \
    case STAGE_##name:                                                                            \
        stage.name.logits = logits, stage.name.out = out;                                         \
        return active_kernels()->name(&stage.name) == OK;
#include "kernels.def"
    }
    return 0;
}

/* Draw a token of a row; -1 where it is no distribution. */
EXPORT(draw) int32_t draw(const float *row, size_t vocabulary, double uniform, double *surprisal)
{
    int64_t token;
    struct draw_args args = {.logits = {row, 1, vocabulary}, .uniforms = &uniform, .tokens = &token,
                             .surprisals = surprisal};
    return active_kernels()->draw(&args) == OK ? (int32_t)token : -1;
}

/* The surprisal of a token in nats. */
EXPORT(surprisal) double surprisal(const float *row, size_t vocabulary, int32_t token)
{
    double nats;
    const int64_t id = token;
    struct surprisals_args args = {.logits = {row, 1, vocabulary}, .tokens = &id, .out = &nats};
    active_kernels()->surprisals(&args);
    return nats;
}

/* Write the numbers of the first draws of a text: those of corelm.RandomStream(seed, [sample]). */
EXPORT(uniforms) void uniforms(double seed, double sample, double *numbers, size_t count)
{
    struct stream stream;
    start_stream(&stream, (uint64_t)seed, (uint64_t)sample, 0);
    for (size_t i = 0; i < count; i++)
        numbers[i] = next_uniform(&stream);
}
