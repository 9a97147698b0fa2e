/* Whole networks as Python functions: `plan` once; `run`, or `begin` and `wait`, for each step.
 *
 * A plan that is accepted can be run safely: every node reads what an earlier node has written,
 * all widths agree with the weights, and `run` checks the arrays against what the plan needs.
 */
#include "args.h"
#include "graph.h"
#include "pool.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const PLAN = "corelm.plan", *const RUN = "corelm.run";

/* What the attend nodes of a plan need of the key/value cache and the masks. */
struct cache_needs {
    size_t layers, masks;                   /* at least so many */
    size_t keys_and_values, kv_heads, size; /* exactly; 0 without attend nodes */
};

/* A network: the graph that reads tokens, and the head that makes logits of its result. */
struct plan {
    struct graph reader, head;
    struct call *calls; /* the arrays of each node */
    size_t call_count, positions; /* positions: tokens that every embed node has one for */
    struct cache_needs cache;
};

static size_t result_width(const struct graph *graph)
{
    return graph->widths[graph->nodes[graph->node_count - 1].output];
}

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
    free_plan(PyCapsule_GetPointer(capsule, PLAN));
}

/* ---- plan ---- */

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
    Py_ssize_t number = PyLong_AsSsize_t(object);
    int failed = number == -1 && PyErr_Occurred();
    PyErr_Clear();
    if (failed || number < 0 || (size_t)number >= limit)
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
    if (!expect_inputs(reader, 0, 0) || !(tokens = get_weight(reader, 0, "tokens", 2)) ||
        !expect_length(label(reader, "tokens"), tokens, 1, width) ||
        !(positions = get_weight(reader, 1, "positions", 2)) ||
        !expect_length(label(reader, "positions"), positions, 1, width))
        return 0;
    node->embed = (struct embed_args){
        .tokens = tokens->buf, .positions = positions->buf,
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
    Py_buffer *panels = get_panels(reader->call, reader->weights[0], label(reader, "panels"), READ,
                                   &args->half_precision);
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
        capsule = PyCapsule_New(plan, PLAN, free_plan_capsule);
    if (!capsule)
        free_plan(plan);
    return capsule;
}

/* ---- run ---- */

/* One run of a plan, with all it needs. */
struct run {
    struct call call;
    PyObject *capsule; /* of the plan */
    const struct plan *plan;
    struct step step;
    float *outputs, *logits;
    size_t logit_tokens; /* of each row, the last ones, after which logits are wanted */
    int waited;
    enum status status;
    struct async_task task;
};

/* The last tokens of each row, next to each other. */
static const float *last_tokens(const struct run *run, size_t width, float *buffer)
{
    const struct step *step = &run->step;
    const size_t count = run->logit_tokens;
    if (count == step->added)
        return run->outputs;
    for (size_t row = 0; row < step->batch; row++) {
        size_t first = (row + 1) * step->added - count;
        memcpy(buffer + row * count * width, run->outputs + first * width,
               count * width * sizeof(float));
    }
    return buffer;
}

static void run_plan(void *job)
{
    struct run *run = job;
    const struct step *step = &run->step;
    size_t width = run->plan->head.widths[0], tokens = step->batch * run->logit_tokens;
    float *buffer = malloc((tokens * width + 1) * sizeof(float));
    run->status = buffer ? run_graph(&run->plan->reader, step, NULL, step->batch * step->added,
                                     run->outputs)
                         : NO_MEMORY;
    if (run->status == OK && run->logit_tokens)
        run->status = run_graph(&run->plan->head, step, last_tokens(run, width, buffer), tokens,
                                run->logits);
    free(buffer);
}

static int at_most(const char *name, size_t number, const char *limit_name, size_t limit)
{
    if (number <= limit)
        return 1;
    PyErr_Format(PyExc_ValueError, "run: %s is %zu, expected at most %zu, %s", name, number, limit,
                 limit_name);
    return 0;
}

/* The cache has to be what the attend nodes need. */
static int expect_cache(const struct plan *plan, const Py_buffer *kv_cache,
                        const Py_buffer *masks)
{
    const struct cache_needs *needs = &plan->cache;
    if (!needs->size)
        return 1;
    return at_most("the number of layers", needs->layers, "axis 1 of kv_cache",
                   length(kv_cache, 1)) &&
           expect_length("kv_cache", kv_cache, 2, needs->keys_and_values) &&
           expect_length("kv_cache", kv_cache, 3, needs->kv_heads) &&
           expect_length("kv_cache", kv_cache, 5, needs->size) &&
           (!masks || at_most("the number of masks", needs->masks, "axis 0 of attention_masks",
                              length(masks, 0)));
}

static int expect_window(const Py_buffer *window)
{
    if (window->strides[1] == window->itemsize && window->strides[0] % window->itemsize == 0)
        return 1;
    PyErr_SetString(PyExc_ValueError, "window: expected rows of contiguous ids");
    return 0;
}

static int expect_step(const struct plan *plan, const struct step *step)
{
    return at_most("the number of new tokens", step->added, "those of the window", step->time) &&
           at_most("the length of the window", step->time, "axis 4 of kv_cache", step->context) &&
           at_most("the length of the window", step->time, "the number of positions",
                   plan->positions);
}

/* (plan, window, kv_cache, attention_masks, outputs, logits): the outputs of all new tokens, the
 * logits after the last ones */
static int read_run(struct run *run, PyObject *const *args, Py_ssize_t count)
{
    struct call *call = &run->call;
    Py_buffer *window, *kv_cache, *masks = NULL, *outputs, *logits;
    if (!expect_arguments("run", count, 6))
        return 0;
    if (!PyCapsule_IsValid(args[0], PLAN)) {
        PyErr_Format(PyExc_TypeError, "plan: expected a plan, got %R", (PyObject *)Py_TYPE(args[0]));
        return 0;
    }
    run->plan = PyCapsule_GetPointer(args[0], PLAN), run->capsule = args[0];
    const struct plan *plan = run->plan;
    if (!(window = get_array(call, args[1], "window", INT64, 2, PyBUF_STRIDES)) ||
        !expect_window(window) ||
        !(kv_cache = get_array(call, args[2], "kv_cache", FLOAT32, 6, WRITE)) ||
        !expect_length("kv_cache", kv_cache, 0, length(window, 0)) ||
        (args[3] != Py_None &&
         !(masks = get_array(call, args[3], "attention_masks", BOOL, 4, READ))) ||
        !(outputs = get_array(call, args[4], "outputs", FLOAT32, 3, WRITE)) ||
        !expect_length("outputs", outputs, 0, length(window, 0)) ||
        !expect_length("outputs", outputs, 2, plan->head.widths[0]) ||
        !(logits = get_array(call, args[5], "logits", FLOAT32, 3, WRITE)) ||
        !expect_length("logits", logits, 0, length(window, 0)) ||
        !expect_length("logits", logits, 2, result_width(&plan->head)))
        return 0;
    if (masks && (!expect_length("attention_masks", masks, 1, length(window, 0)) ||
                  !expect_length("attention_masks", masks, 2, length(outputs, 1)) ||
                  !expect_length("attention_masks", masks, 3, length(window, 1))))
        return 0;
    run->outputs = outputs->buf, run->logits = logits->buf;
    run->logit_tokens = length(logits, 1);
    run->step = (struct step){
        .window = window->buf, .window_row = window->strides[0] / window->itemsize,
        .kv_cache = kv_cache->buf, .attention_masks = masks ? masks->buf : NULL,
        .batch = length(window, 0), .added = length(outputs, 1), .time = length(window, 1),
        .layers = length(kv_cache, 1), .keys_and_values = length(kv_cache, 2),
        .kv_heads = length(kv_cache, 3), .context = length(kv_cache, 4),
        .size = length(kv_cache, 5),
    };
    return at_most("the number of logits wanted in a row", run->logit_tokens,
                   "that of new tokens", run->step.added) &&
           expect_step(plan, &run->step) && expect_cache(plan, kv_cache, masks);
}

static PyObject *return_run(struct run *run)
{
    if (run->status == INVALID) {
        PyErr_SetString(PyExc_ValueError, "window: a token is not in the vocabulary");
        return fail(&run->call);
    }
    return return_none(&run->call, run->status);
}

/* (plan, window, kv_cache, attention_masks, outputs, logits) */
PyObject *py_run(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    struct run run = {.status = OK};
    if (!read_run(&run, args, count))
        return fail(&run.call);
    Py_BEGIN_ALLOW_THREADS
    run_plan(&run);
    Py_END_ALLOW_THREADS
    return return_run(&run);
}

/* A run that nobody waited for is dropped. If a worker has started it, its arrays have to stay
 * until it is done: other Python threads go on meanwhile. */
static void free_run_capsule(PyObject *capsule)
{
    struct run *run = PyCapsule_GetPointer(capsule, RUN);
    if (!run->waited) {
        Py_BEGIN_ALLOW_THREADS
        async_cancel(&run->task);
        Py_END_ALLOW_THREADS
    }
    release(&run->call);
    Py_DecRef(run->capsule);
    free(run);
}

/* The arguments of `run`. A worker starts in the background; until `wait` returns, the arrays
 * hold nothing of use and must not be changed. */
PyObject *py_begin(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    struct run *run = calloc(1, sizeof *run);
    if (!run)
        return PyErr_NoMemory();
    PyObject *capsule = NULL;
    if (read_run(run, args, count))
        capsule = PyCapsule_New(run, RUN, free_run_capsule);
    if (!capsule) {
        release(&run->call);
        free(run);
        return NULL;
    }
    Py_IncRef(run->capsule);
    run->task.run = run_plan, run->task.job = run;
    async_submit(&run->task);
    return capsule;
}

/* (what `begin` returned) */
PyObject *py_wait(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    if (!expect_arguments("wait", count, 1))
        return NULL;
    if (!PyCapsule_IsValid(args[0], RUN))
        return PyErr_Format(PyExc_TypeError, "run: expected what begin() returned, got %R",
                            (PyObject *)Py_TYPE(args[0]));
    struct run *run = PyCapsule_GetPointer(args[0], RUN);
    if (run->waited)
        return PyErr_Format(PyExc_ValueError, "run: has been waited for already");
    run->waited = 1;
    Py_BEGIN_ALLOW_THREADS
    async_wait(&run->task);
    Py_END_ALLOW_THREADS
    return return_run(run);
}
