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

static struct {
    struct graph reader, head; /* from tokens to states, and from there to logits */
    struct step step;
    float *states; /* of the last pass */
    size_t width;
} network;

enum { NODE = 8 }; /* numbers, as in corelm/interop/networks.py, but with addresses for arrays */

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
    else if (node->layer == NORMALISE) {
        node->normalise = (struct normalise_args){.scale = first, .shift = second, .width = width};
        memcpy(&node->normalise.epsilon, of + 7, sizeof(float));
    } else
        node->attend.layer = (size_t)of[5], node->attend.mask = (size_t)of[6],
        node->attend.heads = (size_t)of[7];
}

static struct graph read_graph(const int32_t *nodes, size_t count, size_t *widths, size_t values)
{
    struct graph graph = {calloc(count, sizeof *graph.nodes), widths, count, values};
    for (size_t i = 0; graph.nodes && i < count; i++)
        read_node(graph.nodes + i, nodes + i * NODE, widths);
    return graph;
}

/* Take a network: the nodes and the widths of both graphs, which stay the caller's, and the shape of
 * its cache: layers, keys and values, their heads, context, size. Returns 0 where memory runs out. */
EXPORT(take_network)
int take_network(const int32_t *nodes, size_t count, size_t *widths, size_t values,
                 const int32_t *head_nodes, size_t head_count, size_t *head_widths,
                 size_t head_values, const int32_t *cache)
{
    struct step *step = &network.step;
    network.reader = read_graph(nodes, count, widths, values);
    network.head = read_graph(head_nodes, head_count, head_widths, head_values);
    network.width = head_widths[0];
    *step = (struct step){
        .batch = 1, .layers = (size_t)cache[0], .keys_and_values = (size_t)cache[1],
        .kv_heads = (size_t)cache[2], .context = (size_t)cache[3], .size = (size_t)cache[4]};
    step->kv_cache = malloc(step->layers * step->keys_and_values * step->kv_heads * step->context *
                            step->size * sizeof(float));
    network.states = malloc(step->context * network.width * sizeof(float));
    return use_kernels(8) && network.reader.nodes && network.head.nodes && step->kv_cache &&
           network.states;
}

/* Read the last `added` of `time` ids, whose cache holds those before, and write the logits after
 * them. Returns 0 where memory runs out. */
EXPORT(read) int read(const int64_t *ids, size_t time, size_t added, float *logits)
{
    struct step *step = &network.step;
    step->window = ids, step->window_row = (ptrdiff_t)time, step->time = time, step->added = added;
    const float *last = network.states + (added - 1) * network.width;
    return run_graph(&network.reader, step, NULL, added, network.states) == OK &&
           run_graph(&network.head, step, last, 1, logits) == OK;
}

/* Apply a stage of kernels.def to a row. Returns 0 where the result is no distribution. */
EXPORT(stage) int stage(const char *kernel, const struct parameter *parameters, size_t count,
                        const float *row, size_t vocabulary, float *out)
{
    char error[ERROR_ROOM]; /* the page names stages as they are, so nobody reads it */
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

/* The number that draws a token of a text: corelm.RandomStream(seed, [sample]).at(position). */
EXPORT(uniform) double uniform(double seed, double sample, size_t position)
{
    struct stream stream;
    double number = 0;
    start_stream(&stream, (uint64_t)seed, (uint64_t)sample, 0);
    for (size_t i = 0; i <= position; i++)
        number = next_uniform(&stream);
    return number;
}
