/* What Python calls for whole networks: `plan` once; `run`, or `begin` and `wait`, for every few
 * tokens. */
#include "arguments.h"
#include "kernels.h"
#include "threads.h"

#include <stdlib.h>

static const char *const PLAN = "corelm.plan", *const RUN = "corelm.run";

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
    discard(PyCapsule_GetPointer(capsule, PLAN));
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
        capsule = PyCapsule_New(plan, PLAN, forget);
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

/* A run of a plan, with all it needs. */
struct run {
    struct call call;
    PyObject *capsule; /* of the plan */
    const struct plan *plan;
    struct reading reading;
    float *outputs, *scores;
    size_t asked;
    int failed, waited;
    struct errand errand;
};

static void run_plan(void *job)
{
    struct run *run = job;
    const struct reading *reading = &run->reading;
    size_t width = run->plan->head.widths[0], tokens = reading->batch * run->asked;
    float *room = malloc((tokens * width + 1) * sizeof(float));
    run->failed = room ? run_graph(&run->plan->read, reading, NULL,
                                   reading->batch * reading->added, run->outputs) : -1;
    if (!run->failed && run->asked) {
        const float *last = last_of(run->outputs, reading, run->asked, width, room);
        run->failed = run_graph(&run->plan->head, reading, last, tokens, run->scores);
    }
    free(room);
}

/* (plan, window, memory, seen, outputs, scores): the outputs of all new tokens, the scores after
 * some of the last ones */
static int open_run(struct run *run, PyObject *const *args, Py_ssize_t count)
{
    struct call *call = &run->call;
    Py_buffer *window, *memory, *seen = NULL, *outputs, *scores;
    if (!wants(count, 6) || !(run->plan = PyCapsule_GetPointer(args[0], PLAN)) ||
        !(window = array(call, args[1], 'q', 2, PyBUF_STRIDES)) ||
        !(memory = array(call, args[2], 'f', 6, WRITE)) ||
        (args[3] != Py_None && !(seen = array(call, args[3], '?', 4, READ))) ||
        !(outputs = array(call, args[4], 'f', 3, WRITE)) ||
        !(scores = array(call, args[5], 'f', 3, WRITE)))
        return 0;
    const Py_ssize_t *room = memory->shape, batch = window->shape[0];
    run->reading = (struct reading){
        .window = window->buf, .window_row = window->strides[0] / window->itemsize,
        .memory = memory->buf, .seen = seen ? seen->buf : NULL, .batch = (size_t)batch,
        .added = (size_t)outputs->shape[1], .time = (size_t)window->shape[1],
        .parts = (size_t)room[1], .planes = (size_t)room[2], .groups = (size_t)room[3],
        .context = (size_t)room[4], .size = (size_t)room[5],
    };
    run->capsule = args[0], run->outputs = outputs->buf, run->scores = scores->buf;
    run->asked = (size_t)scores->shape[1];
    size_t masks = seen ? (size_t)seen->shape[0] : 0;
    return room[0] == batch && outputs->shape[0] == batch && scores->shape[0] == batch &&
           window->strides[1] == window->itemsize && window->strides[0] % window->itemsize == 0 &&
           (!seen || is_mask(seen, batch, outputs->shape[1], window->shape[1])) &&
           (size_t)outputs->shape[2] == run->plan->head.widths[0] &&
           (size_t)scores->shape[2] == result_width(&run->plan->head) &&
           scores->shape[1] <= outputs->shape[1] && can_read(run->plan, &run->reading, masks);
}

static PyObject *answer_run(struct run *run)
{
    if (run->failed > 0)
        return fault(&run->call, "a token is not in the vocabulary");
    return answer(&run->call, run->failed);
}

PyObject *py_run(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    struct run run = {.failed = 0};
    if (!open_run(&run, args, count))
        return fault(&run.call, "these shapes do not belong to one network");
    Py_BEGIN_ALLOW_THREADS
    run_plan(&run);
    Py_END_ALLOW_THREADS
    return answer_run(&run);
}

static void forget_run(PyObject *capsule)
{
    struct run *run = PyCapsule_GetPointer(capsule, RUN);
    if (!run->waited)
        finish_errand(&run->errand);
    let_go(&run->call);
    Py_DecRef(run->capsule);
    free(run);
}

/* The same arguments: another thread begins; what the arrays hold is nothing until it is waited
 * for. */
PyObject *py_begin(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    struct run *run = calloc(1, sizeof *run);
    if (!run)
        return PyErr_NoMemory();
    PyObject *capsule = NULL;
    if (open_run(run, args, count))
        capsule = PyCapsule_New(run, RUN, forget_run);
    if (!capsule) {
        fault(&run->call, "these shapes do not belong to one network");
        free(run);
        return NULL;
    }
    Py_IncRef(run->capsule);
    run->errand.work = run_plan, run->errand.job = run;
    begin_errand(&run->errand);
    return capsule;
}

PyObject *py_wait(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    struct run *run;
    if (!wants(count, 1) || !(run = PyCapsule_GetPointer(args[0], RUN)))
        return NULL;
    if (run->waited)
        return PyErr_Format(PyExc_ValueError, "it was waited for already");
    run->waited = 1;
    Py_BEGIN_ALLOW_THREADS
    finish_errand(&run->errand);
    Py_END_ALLOW_THREADS
    return answer_run(run);
}
