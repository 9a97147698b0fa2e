/* What Python calls for whole networks: `plan` once, and `run` for every few tokens. */
#include "arguments.h"
#include "kernels.h"

#include <stdlib.h>

static const char *const NAME = "corelm.plan";

/* A network: what reads tokens, and what makes scores of what came of that. */
struct plan {
    struct graph read, head;
    struct call *calls; /* the arrays of each node */
    size_t held, places;
};

static void discard(struct plan *plan)
{
    for (size_t i = 0; i < plan->held; i++)
        let_go(&plan->calls[i]);
    free(plan->calls);
    free(plan->read.nodes), free(plan->read.widths);
    free(plan->head.nodes), free(plan->head.widths);
    free(plan);
}

static void forget(PyObject *capsule)
{
    discard(PyCapsule_GetPointer(capsule, NAME));
}

/* A whole number of a tuple that is not negative and below a limit; the limit where it is not. */
static size_t number_at(PyObject *tuple, Py_ssize_t place, size_t limit)
{
    Py_ssize_t number = PyLong_AsSsize_t(PyTuple_GetItem(tuple, place));
    PyErr_Clear();
    return number >= 0 && (size_t)number < limit ? (size_t)number : limit;
}

static int open_embed(struct call *call, PyObject *const *parts, const struct graph *graph,
                      struct node *node, size_t *places)
{
    Py_buffer *tokens = array(call, parts[0], 'f', 2, READ), *positions;
    if (!tokens || !(positions = array(call, parts[1], 'f', 2, READ)))
        return 0;
    size_t width = graph->widths[node->output];
    node->embed = (struct embedding){
        .tokens = tokens->buf, .positions = positions->buf,
        .vocabulary = (size_t)tokens->shape[0], .width = width,
    };
    *places = (size_t)positions->shape[0];
    return node->count == 0 && (size_t)tokens->shape[1] == width &&
           (size_t)positions->shape[1] == width;
}

/* (panels, bias, activation) */
static int open_multiply(struct call *call, PyObject *const *parts, const struct graph *graph,
                         struct node *node)
{
    size_t inputs = graph->widths[node->inputs[0]], units = graph->widths[node->output];
    struct product *job = &node->multiply;
    Py_buffer *panels = panels_array(call, parts[0], READ, &job->halves), *bias = NULL;
    if (!panels || (parts[1] != Py_None && !(bias = array(call, parts[1], 'f', 1, READ))))
        return 0;
    long activation = PyLong_AsLong(parts[2]);
    job->panels = panels->buf, job->bias = bias ? bias->buf : NULL;
    job->activation = (enum activation)activation;
    job->inputs = inputs, job->units = units;
    return !PyErr_Occurred() && activation >= 0 && activation < ACTIVATIONS &&
           are_panels(panels, (Py_ssize_t)inputs, (Py_ssize_t)units) &&
           (!bias || (size_t)bias->shape[0] == units) && node->count >= 1 &&
           (node->count == 1 || graph->widths[node->inputs[1]] == units);
}

/* (scale, shift, epsilon) */
static int open_normalise(struct call *call, PyObject *const *parts, const struct graph *graph,
                          struct node *node)
{
    Py_buffer *scale = array(call, parts[0], 'f', 1, READ), *shift = NULL;
    if (!scale || (parts[1] != Py_None && !(shift = array(call, parts[1], 'f', 1, READ))))
        return 0;
    size_t width = graph->widths[node->output];
    node->normalise = (struct norm){
        .scale = scale->buf, .shift = shift ? shift->buf : NULL,
        .epsilon = (float)PyFloat_AsDouble(parts[2]), .width = width,
    };
    return !PyErr_Occurred() && node->count == 1 && graph->widths[node->inputs[0]] == width &&
           (size_t)scale->shape[0] == width && (!shift || (size_t)shift->shape[0] == width);
}

/* (which part of the memory, which mask, heads) */
static int open_attend(PyObject *tuple, struct node *node)
{
    enum { MANY = 1 << 16 };
    node->attend.memory = number_at(tuple, 3, MANY), node->attend.mask = number_at(tuple, 4, MANY);
    node->attend.heads = number_at(tuple, 5, MANY);
    return node->count >= 1 && node->attend.memory < MANY && node->attend.mask < MANY &&
           node->attend.heads > 0 && node->attend.heads < MANY;
}

/* (name, inputs, output, and three parts of the layer) */
static int open_node(struct call *call, PyObject *tuple, const struct graph *graph,
                     struct node *node, size_t *places)
{
    static const char *const names[LAYERS] = {"embed", "multiply", "normalise", "attend"};
    if (!PyTuple_Check(tuple) || PyTuple_Size(tuple) != 6)
        return 0;
    PyObject *name = PyTuple_GetItem(tuple, 0), *inputs = PyTuple_GetItem(tuple, 1), *parts[3];
    if (!PyUnicode_Check(name) || !PyTuple_Check(inputs) || PyTuple_Size(inputs) > 2)
        return 0;
    node->output = number_at(tuple, 2, graph->values);
    node->count = (size_t)PyTuple_Size(inputs);
    int known = node->output > 0 && node->output < graph->values;
    for (size_t i = 0; i < node->count; i++) {
        node->inputs[i] = number_at(inputs, (Py_ssize_t)i, graph->values);
        known = known && node->inputs[i] < graph->values && node->inputs[i] != node->output;
    }
    int layer = 0;
    while (layer < LAYERS && PyUnicode_CompareWithASCIIString(name, names[layer]) != 0)
        layer++;
    node->layer = (enum layer)layer;
    for (int i = 0; i < 3; i++)
        parts[i] = PyTuple_GetItem(tuple, 3 + i);
    if (!known || layer == LAYERS)
        return 0;
    return layer == EMBED       ? open_embed(call, parts, graph, node, places)
           : layer == MULTIPLY  ? open_multiply(call, parts, graph, node)
           : layer == NORMALISE ? open_normalise(call, parts, graph, node)
                                : open_attend(tuple, node);
}

/* Nodes, and the widths of their values. */
static int open_graph(struct plan *plan, PyObject *nodes, PyObject *widths, struct graph *graph)
{
    if (!PyTuple_Check(nodes) || !PyTuple_Check(widths) || PyTuple_Size(nodes) < 1)
        return 0;
    graph->count = (size_t)PyTuple_Size(nodes), graph->values = (size_t)PyTuple_Size(widths);
    graph->nodes = calloc(graph->count, sizeof *graph->nodes);
    graph->widths = calloc(graph->values + 1, sizeof *graph->widths);
    if (!graph->nodes || !graph->widths)
        return 0;
    for (size_t i = 0; i < graph->values; i++)
        if ((graph->widths[i] = number_at(widths, (Py_ssize_t)i, INT32_MAX)) == INT32_MAX)
            return 0;
    for (size_t i = 0; i < graph->count; i++)
        if (!open_node(&plan->calls[plan->held++], PyTuple_GetItem(nodes, (Py_ssize_t)i), graph,
                       &graph->nodes[i], &plan->places))
            return 0;
    return 1;
}

static size_t result_width(const struct graph *graph)
{
    return graph->widths[graph->nodes[graph->count - 1].output];
}

/* What makes scores sees tokens one by one, and what reads leaves. */
static int belong_together(const struct graph *read, const struct graph *head)
{
    for (size_t i = 0; i < head->count; i++)
        if (head->nodes[i].layer == EMBED || head->nodes[i].layer == ATTEND)
            return 0;
    return head->widths[0] == result_width(read);
}

/* (nodes, widths, nodes of the head, their widths) */
PyObject *py_plan(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    if (!wants(count, 4) || !PyTuple_Check(args[0]) || !PyTuple_Check(args[2]))
        return PyErr_Occurred() ? NULL : PyErr_Format(PyExc_TypeError, "tuples are wanted");
    struct plan *plan = calloc(1, sizeof *plan);
    size_t nodes = (size_t)(PyTuple_Size(args[0]) + PyTuple_Size(args[2]));
    if (!plan || !(plan->calls = calloc(nodes + 1, sizeof *plan->calls))) {
        free(plan);
        return PyErr_NoMemory();
    }
    plan->places = SIZE_MAX;
    PyObject *capsule = NULL;
    if (open_graph(plan, args[0], args[1], &plan->read) &&
        open_graph(plan, args[2], args[3], &plan->head) &&
        belong_together(&plan->read, &plan->head))
        capsule = PyCapsule_New(plan, NAME, forget);
    if (!capsule) {
        discard(plan);
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_ValueError, "these layers do not belong to one network");
    }
    return capsule;
}

/* (masks, batch, added, time) */
static int is_mask(const Py_buffer *view, Py_ssize_t batch, Py_ssize_t added, Py_ssize_t time)
{
    return view->shape[1] == batch && view->shape[2] == added && view->shape[3] == time;
}

static int can_attend(const struct node *node, const size_t *widths, const struct reading *r,
                      size_t masks)
{
    size_t inner = node->attend.heads * r->size, width = widths[node->inputs[0]];
    if (node->attend.memory >= r->parts || widths[node->output] != inner ||
        (r->seen && node->attend.mask >= masks))
        return 0;
    if (node->count == 1)
        return r->planes == 2 && r->groups == node->attend.heads && width == 3 * inner;
    return r->planes == 1 && node->attend.heads % r->groups == 0 && width == inner &&
           widths[node->inputs[1]] == r->groups * r->size;
}

static int can_read(const struct plan *plan, const struct reading *reading, size_t masks)
{
    int can = reading->groups && reading->size && reading->added <= reading->time &&
              reading->time <= reading->context && reading->time <= plan->places;
    for (size_t i = 0; i < plan->read.count && can; i++)
        if (plan->read.nodes[i].layer == ATTEND)
            can = can_attend(&plan->read.nodes[i], plan->read.widths, reading, masks);
    return can;
}

/* The last tokens of each row side by side. */
static const float *last_of(const float *outputs, const struct reading *reading, size_t asked,
                            size_t width, float *room)
{
    if (asked == reading->added)
        return outputs;
    for (size_t row = 0; row < reading->batch; row++) {
        size_t first = (row + 1) * reading->added - asked;
        memcpy(room + row * asked * width, outputs + first * width, asked * width * sizeof(float));
    }
    return room;
}

static int run_plan(const struct plan *plan, const struct reading *reading, float *outputs,
                    size_t asked, float *scores)
{
    size_t width = plan->head.widths[0], tokens = reading->batch * asked;
    float *room = malloc((tokens * width + 1) * sizeof(float));
    int failed = room ? run_graph(&plan->read, reading, NULL, reading->batch * reading->added,
                                  outputs) : -1;
    if (!failed && asked) {
        const float *last = last_of(outputs, reading, asked, width, room);
        failed = run_graph(&plan->head, reading, last, tokens, scores);
    }
    free(room);
    return failed;
}

/* (plan, window, memory, seen, outputs, scores): the outputs of all new tokens, the scores after
 * some of the last ones */
PyObject *py_run(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    struct call call = {.count = 0};
    struct plan *plan;
    Py_buffer *window, *memory, *seen = NULL, *outputs, *scores;
    if (!wants(count, 6) || !(plan = PyCapsule_GetPointer(args[0], NAME)) ||
        !(window = array(&call, args[1], 'q', 2, PyBUF_STRIDES)) ||
        !(memory = array(&call, args[2], 'f', 6, WRITE)) ||
        (args[3] != Py_None && !(seen = array(&call, args[3], '?', 4, READ))) ||
        !(outputs = array(&call, args[4], 'f', 3, WRITE)) ||
        !(scores = array(&call, args[5], 'f', 3, WRITE)))
        return fault(&call, NULL);
    const Py_ssize_t *room = memory->shape, batch = window->shape[0], asked = scores->shape[1];
    struct reading reading = {
        .window = window->buf, .window_row = window->strides[0] / window->itemsize,
        .memory = memory->buf, .seen = seen ? seen->buf : NULL, .batch = (size_t)batch,
        .added = (size_t)outputs->shape[1], .time = (size_t)window->shape[1],
        .parts = (size_t)room[1], .planes = (size_t)room[2], .groups = (size_t)room[3],
        .context = (size_t)room[4], .size = (size_t)room[5],
    };
    size_t masks = seen ? (size_t)seen->shape[0] : 0;
    if (room[0] != batch || outputs->shape[0] != batch || scores->shape[0] != batch ||
        window->strides[1] != window->itemsize || window->strides[0] % window->itemsize != 0 ||
        (seen && !is_mask(seen, batch, outputs->shape[1], window->shape[1])) ||
        (size_t)outputs->shape[2] != plan->head.widths[0] ||
        (size_t)scores->shape[2] != result_width(&plan->head) || asked > outputs->shape[1] ||
        !can_read(plan, &reading, masks))
        return fault(&call, "these shapes do not belong to one network");
    int failed;
    Py_BEGIN_ALLOW_THREADS
    failed = run_plan(plan, &reading, outputs->buf, (size_t)asked, scores->buf);
    Py_END_ALLOW_THREADS
    if (failed > 0)
        return fault(&call, "a token is not in the vocabulary");
    return answer(&call, failed);
}
