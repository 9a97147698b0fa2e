/* Networks as Python tuples, checked once by `plan`.
 *
 * A plan that is accepted can be run safely: every node reads what an earlier node has written,
 * all widths agree with the weights, and `run` checks its arrays against what the plan needs.
 */
#include "plan.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static void free_plan(struct plan *plan)
{
    for (size_t i = 0; i < plan->call_count; i++)
        release(&plan->calls[i]);
    free(plan->calls);
    free(plan->reader.nodes), free(plan->reader.widths);
    free(plan->head.nodes), free(plan->head.widths);
    free(plan);
}

static void free_plan_capsule(PyObject *capsule)
{
    free_plan(PyCapsule_GetPointer(capsule, PLAN_NAME));
}

enum { WEIGHTS = 3 }; /* entries of a node's tuple after its output */

/* The node that is being read, and where. */
struct reader {
    struct plan *plan;
    struct graph *graph;
    struct call *call;
    struct node *node;
    PyObject *weights[WEIGHTS];
    const char *layer;
    size_t index;
    char *written; /* for each value, whether a node has written it */
    char label[96];
};

static const char *const layer_names[LAYERS] = {"embed", "multiply", "normalise", "attend"};

/* "plan: node 3 (normalise): scale" */
static const char *label(struct reader *reader, const char *name)
{
    snprintf(reader->label, sizeof reader->label, "plan: %snode %zu%s%s%s: %s",
             reader->graph == &reader->plan->head ? "head " : "", reader->index,
             reader->layer ? " (" : "", reader->layer ? reader->layer : "",
             reader->layer ? ")" : "", name);
    return reader->label;
}

static int node_error(struct reader *reader, const char *format, ...)
{
    PyErr_Clear(); /* of the argument: no %R may be written while an error is set */
    va_list arguments;
    va_start(arguments, format);
    PyObject *reason = PyUnicode_FromFormatV(format, arguments);
    va_end(arguments);
    if (reason)
        PyErr_Format(PyExc_ValueError, "%s%U", label(reader, ""), reason);
    Py_XDECREF(reason);
    return 0;
}

/* Convert a whole number from 0 to below a limit. */
static int get_index(struct reader *reader, const char *name, PyObject *object, size_t limit,
                     size_t *index)
{
    Py_ssize_t number = PyLong_AsSsize_t(object); /* -1 if it isn't a number */
    if (number < 0 || (size_t)number >= limit)
        return node_error(reader, "%s: expected a whole number from 0 to %zd, got %R", name,
                          (Py_ssize_t)limit - 1, object);
    *index = (size_t)number;
    return 1;
}

static int expect_width(struct reader *reader, const char *name, size_t value, size_t expected)
{
    size_t width = reader->graph->widths[value];
    if (width == expected)
        return 1;
    return node_error(reader, "%s has width %zu, expected %zu", name, width, expected);
}

static int expect_inputs(struct reader *reader, size_t least, size_t most)
{
    size_t count = reader->node->input_count;
    if (count >= least && count <= most)
        return 1;
    if (least == most)
        return node_error(reader, "expected %zu inputs, got %zu", least, count);
    return node_error(reader, "expected %zu or %zu inputs, got %zu", least, most, count);
}

static Py_buffer *get_weight(struct reader *reader, int place, const char *name, int axes)
{
    return get_array(reader->call, reader->weights[place], label(reader, name), FLOAT32, axes,
                     READ);
}

/* An array of one number for each column, or None. */
static int get_optional(struct reader *reader, int place, const char *name, size_t width,
                        const float **weight)
{
    Py_buffer *view = NULL;
    *weight = NULL;
    if (reader->weights[place] == Py_None)
        return 1;
    if (!(view = get_weight(reader, place, name, 1)) ||
        !expect_length(label(reader, name), view, 0, width))
        return 0;
    *weight = view->buf;
    return 1;
}

/* (tokens, positions, None) */
static int read_embed(struct reader *reader)
{
    struct node *node = reader->node;
    size_t width = reader->graph->widths[node->output];
    Py_buffer *tokens, *positions;
    int half_precision = 0;
    if (!expect_inputs(reader, 0, 0) ||
        !(tokens = get_weights(reader->call, reader->weights[0], label(reader, "tokens"), 2, READ,
                               &half_precision)) ||
        !expect_length(label(reader, "tokens"), tokens, 1, width) ||
        !(positions = get_weight(reader, 1, "positions", 2)) ||
        !expect_length(label(reader, "positions"), positions, 1, width))
        return 0;
    node->embed = (struct embed_args){
        .tokens = tokens->buf, .half_precision = half_precision, .positions = positions->buf,
        .vocabulary = length(tokens, 0), .width = width,
    };
    if (length(positions, 0) < reader->plan->positions)
        reader->plan->positions = length(positions, 0);
    return 1;
}

/* (panels, bias, activation) */
static int read_multiply(struct reader *reader)
{
    struct node *node = reader->node;
    struct multiply_args *args = &node->multiply;
    if (!expect_inputs(reader, 1, 2))
        return 0;
    args->inputs = reader->graph->widths[node->inputs[0]];
    args->units = reader->graph->widths[node->output];
    Py_buffer *panels = get_weights(reader->call, reader->weights[0], label(reader, "panels"), 3,
                                    READ, &args->half_precision);
    if (!panels || !expect_panels(label(reader, "panels"), panels, args->inputs, args->units) ||
        !get_optional(reader, 1, "bias", args->units, &args->bias))
        return 0;
    args->panels = panels->buf;
    if (!get_activation(reader->weights[2], &args->activation))
        return node_error(reader, "activation: expected a number from 0 to %d, got %R",
                          (int)ACTIVATIONS - 1, reader->weights[2]);
    return node->input_count == 1 ||
           expect_width(reader, "the second input", node->inputs[1], args->units);
}

/* (scale, shift, epsilon) */
static int read_normalise(struct reader *reader)
{
    struct node *node = reader->node;
    size_t width = reader->graph->widths[node->output];
    double epsilon;
    Py_buffer *scale;
    node->normalise = (struct normalise_args){.width = width};
    if (!expect_inputs(reader, 1, 1) ||
        !expect_width(reader, "the input", node->inputs[0], width) ||
        !(scale = get_weight(reader, 0, "scale", 1)) ||
        !expect_length(label(reader, "scale"), scale, 0, width) ||
        !get_optional(reader, 1, "shift", width, &node->normalise.shift) ||
        !get_double(reader->weights[2], label(reader, "epsilon"), &epsilon))
        return 0;
    node->normalise.scale = scale->buf, node->normalise.epsilon = (float)epsilon;
    return 1;
}

/* All attend nodes share one cache. */
static int share_cache(struct reader *reader, const struct cache_needs *needs)
{
    struct cache_needs *cache = &reader->plan->cache;
    if (cache->size && (cache->size != needs->size || cache->kv_heads != needs->kv_heads ||
                        cache->keys_and_values != needs->keys_and_values))
        return node_error(reader,
                          "needs a cache of shape (..., %zu, %zu, context, %zu), but an earlier "
                          "node needs (..., %zu, %zu, context, %zu)",
                          needs->keys_and_values, needs->kv_heads, needs->size,
                          cache->keys_and_values, cache->kv_heads, cache->size);
    size_t layers = cache->layers > needs->layers ? cache->layers : needs->layers;
    size_t masks = cache->masks > needs->masks ? cache->masks : needs->masks;
    *cache = *needs;
    cache->layers = layers, cache->masks = masks;
    return 1;
}

/* (layer of the cache, attention mask, heads) */
static int read_attend(struct reader *reader)
{
    enum { LIMIT = 1 << 16 };
    struct node *node = reader->node;
    const size_t *widths = reader->graph->widths, width = widths[node->output];
    size_t layer = 0, mask = 0, heads = 0;
    if (!expect_inputs(reader, 1, 2) ||
        !get_index(reader, "layer", reader->weights[0], LIMIT, &layer) ||
        !get_index(reader, "mask", reader->weights[1], LIMIT, &mask) ||
        !get_index(reader, "heads", reader->weights[2], LIMIT, &heads))
        return 0;
    if (!heads || width % heads)
        return node_error(reader, "%zu heads do not divide a width of %zu", heads, width);
    struct cache_needs needs = {layer + 1, mask + 1, 2, heads, width / heads};
    node->attend.layer = layer, node->attend.mask = mask, node->attend.heads = heads;
    if (node->input_count == 1)
        return expect_width(reader, "the input", node->inputs[0], 3 * width) &&
               share_cache(reader, &needs);
    size_t keys = widths[node->inputs[1]];
    needs.keys_and_values = 1, needs.kv_heads = keys / needs.size;
    if (!needs.kv_heads || keys % needs.size || heads % needs.kv_heads)
        return node_error(reader, "keys of width %zu do not fit %zu heads of size %zu", keys,
                          heads, needs.size);
    return expect_width(reader, "the first input", node->inputs[0], width) &&
           share_cache(reader, &needs);
}

/* Inputs have to be written already; value 0 is the input of a head. */
static int read_inputs(struct reader *reader, PyObject *inputs)
{
    struct node *node = reader->node;
    if (!PyTuple_Check(inputs) || PyTuple_Size(inputs) > 2)
        return node_error(reader, "inputs: expected a tuple of at most 2 values, got %R", inputs);
    node->input_count = (size_t)PyTuple_Size(inputs);
    for (size_t i = 0; i < node->input_count; i++) {
        if (!get_index(reader, "input", PyTuple_GetItem(inputs, (Py_ssize_t)i),
                       reader->graph->value_count, &node->inputs[i]))
            return 0;
        if (!reader->written[node->inputs[i]])
            return node_error(reader, "reads value %zu, which no earlier node writes",
                              node->inputs[i]);
        if (node->inputs[i] == node->output)
            return node_error(reader, "reads value %zu, which it writes", node->output);
    }
    return 1;
}

static int read_layer(struct reader *reader, PyObject *name)
{
    int layer = 0;
    while (layer < LAYERS && !(PyUnicode_Check(name) &&
                               PyUnicode_CompareWithASCIIString(name, layer_names[layer]) == 0))
        layer++;
    if (layer == LAYERS)
        return node_error(reader, "expected embed, multiply, normalise or attend, got %R", name);
    if (reader->graph == &reader->plan->head && (layer == EMBED || layer == ATTEND))
        return node_error(reader, "a head has no %s nodes", layer_names[layer]);
    reader->node->layer = (enum layer)layer, reader->layer = layer_names[layer];
    return 1;
}

/* (layer, inputs, output, and three entries of the layer's own) */
static int read_node(struct reader *reader, PyObject *tuple)
{
    static int (*const readers[LAYERS])(struct reader *) = {read_embed, read_multiply,
                                                            read_normalise, read_attend};
    struct node *node = reader->node;
    reader->layer = NULL;
    if (!PyTuple_Check(tuple) || PyTuple_Size(tuple) != 3 + WEIGHTS)
        return node_error(reader, "expected a tuple of %d entries, got %R", 3 + WEIGHTS, tuple);
    for (int i = 0; i < WEIGHTS; i++)
        reader->weights[i] = PyTuple_GetItem(tuple, 3 + i);
    if (!read_layer(reader, PyTuple_GetItem(tuple, 0)) ||
        !get_index(reader, "output", PyTuple_GetItem(tuple, 2), reader->graph->value_count,
                   &node->output))
        return 0;
    if (!node->output)
        return node_error(reader, "writes value 0, the graph's input");
    if (!read_inputs(reader, PyTuple_GetItem(tuple, 1)) || !readers[node->layer](reader))
        return 0;
    reader->written[node->output] = 1;
    return 1;
}

/* The widths of a graph's values: 0 for the input of the graph that reads tokens. */
static int read_widths(struct graph *graph, const char *name, PyObject *widths, int has_input)
{
    for (size_t i = 0; i < graph->value_count; i++) {
        PyObject *item = PyTuple_GetItem(widths, (Py_ssize_t)i);
        Py_ssize_t width = PyLong_AsSsize_t(item), least = i || has_input;
        int failed = width == -1 && PyErr_Occurred();
        PyErr_Clear();
        if (failed || width < least || width > (least ? INT32_MAX : 0)) {
            PyErr_Format(PyExc_ValueError, "plan: %s: value %zu has width %R, expected %s", name,
                         i, item, least ? "at least 1" : "0: this graph has no input");
            return 0;
        }
        graph->widths[i] = (size_t)width;
    }
    return 1;
}

static int read_graph(struct plan *plan, struct graph *graph, PyObject *nodes, PyObject *widths)
{
    const int is_head = graph == &plan->head;
    const char *name = is_head ? "head_widths" : "widths";
    if (!PyTuple_Check(nodes) || !PyTuple_Check(widths) || !PyTuple_Size(nodes) ||
        !PyTuple_Size(widths)) {
        PyErr_Format(PyExc_ValueError, "plan: %s: expected tuples with at least one entry",
                     is_head ? "head" : "nodes");
        return 0;
    }
    graph->node_count = (size_t)PyTuple_Size(nodes);
    graph->value_count = (size_t)PyTuple_Size(widths);
    graph->nodes = calloc(graph->node_count, sizeof *graph->nodes);
    graph->widths = calloc(graph->value_count, sizeof *graph->widths);
    struct reader reader = {.plan = plan, .graph = graph};
    reader.written = calloc(graph->value_count, 1);
    int fits = graph->nodes && graph->widths && reader.written;
    if (!fits)
        PyErr_NoMemory();
    fits = fits && read_widths(graph, name, widths, is_head);
    if (fits)
        reader.written[0] = (char)is_head;
    for (size_t i = 0; i < graph->node_count && fits; i++) {
        reader.index = i, reader.node = &graph->nodes[i];
        reader.call = &plan->calls[plan->call_count++];
        fits = read_node(&reader, PyTuple_GetItem(nodes, (Py_ssize_t)i));
    }
    free(reader.written);
    return fits;
}

static int expect_head(const struct plan *plan)
{
    size_t width = result_width(&plan->reader);
    if (plan->head.widths[0] == width)
        return 1;
    PyErr_Format(PyExc_ValueError, "plan: the head's input has width %zu, expected %zu",
                 plan->head.widths[0], width);
    return 0;
}

/* (nodes, widths, nodes of the head, its widths) */
PyObject *py_plan(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    if (!expect_arguments("plan", count, 4))
        return NULL;
    size_t nodes = 1;
    for (int i = 0; i < 4; i += 2)
        nodes += PyTuple_Check(args[i]) ? (size_t)PyTuple_Size(args[i]) : 0;
    struct plan *plan = calloc(1, sizeof *plan);
    if (!plan || !(plan->calls = calloc(nodes, sizeof *plan->calls))) {
        free(plan);
        return PyErr_NoMemory();
    }
    plan->positions = SIZE_MAX;
    PyObject *capsule = NULL;
    if (read_graph(plan, &plan->reader, args[0], args[1]) &&
        read_graph(plan, &plan->head, args[2], args[3]) && expect_head(plan))
        capsule = PyCapsule_New(plan, PLAN_NAME, free_plan_capsule);
    if (!capsule)
        free_plan(plan);
    return capsule;
}
