/* What Python calls for layers: (x, weights, ..., what comes out). */
#include "arguments.h"
#include "kernels.h"

/* The panels of a matrix, in single or in half precision. */
static Py_buffer *panels_array(struct call *call, PyObject *object, int flags, int *halves)
{
    Py_buffer view;
    if (PyObject_GetBuffer(object, &view, PyBUF_FORMAT | PyBUF_STRIDES) < 0)
        return NULL;
    *halves = is_kind(&view, 'e');
    PyBuffer_Release(&view);
    return array(call, object, *halves ? 'e' : 'f', 3, flags);
}

static int are_panels(const Py_buffer *panels, Py_ssize_t inputs, Py_ssize_t units)
{
    return panels->shape[0] == (units + PANEL - 1) / PANEL && panels->shape[1] == inputs &&
           panels->shape[2] == PANEL;
}

PyObject *py_pack(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    struct call call = {.count = 0};
    Py_buffer *columns, *panels;
    int halves;
    if (!wants(count, 2) || !(columns = array(&call, args[0], 'f', 2, READ)) ||
        !(panels = panels_array(&call, args[1], WRITE, &halves)))
        return fault(&call, NULL);
    if (!are_panels(panels, columns->shape[1], columns->shape[0]))
        return fault(&call, "these panels are not for this matrix");
    struct packing job = {columns->buf, panels->buf, halves, (size_t)columns->shape[0],
                          (size_t)columns->shape[1]};
    int same;
    Py_BEGIN_ALLOW_THREADS
    same = pack(&job);
    Py_END_ALLOW_THREADS
    let_go(&call);
    return PyBool_FromLong(same);
}

/* (x, panels, bias, activation, add, out) */
PyObject *py_multiply(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    struct call call = {.count = 0};
    Py_buffer *x, *panels, *bias = NULL, *add = NULL, *out;
    int halves;
    size_t tokens, added, written;
    if (!wants(count, 6) || !(x = tokens_array(&call, args[0], READ, &tokens)) ||
        !(panels = panels_array(&call, args[1], READ, &halves)) ||
        (args[2] != Py_None && !(bias = array(&call, args[2], 'f', 1, READ))) ||
        (args[4] != Py_None && !(add = tokens_array(&call, args[4], READ, &added))) ||
        !(out = tokens_array(&call, args[5], WRITE, &written)))
        return fault(&call, NULL);
    long activation = PyLong_AsLong(args[3]);
    Py_ssize_t inputs = last_axis(x), units = last_axis(out);
    if (PyErr_Occurred() || activation < 0 || activation >= ACTIVATIONS || written != tokens ||
        !are_panels(panels, inputs, units) || (bias && bias->shape[0] != units) ||
        (add && (added != tokens || last_axis(add) != units)))
        return fault(&call, "these shapes cannot be multiplied");
    struct product job = {
        .x = x->buf, .panels = panels->buf, .halves = halves, .bias = bias ? bias->buf : NULL,
        .add = add ? add->buf : NULL, .out = out->buf, .activation = (enum activation)activation,
        .tokens = tokens, .inputs = (size_t)inputs, .units = (size_t)units,
    };
    Py_BEGIN_ALLOW_THREADS
    multiply(&job);
    Py_END_ALLOW_THREADS
    return answer(&call, 0);
}

/* (tokens, positions, window, out) */
PyObject *py_embed(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    struct call call = {.count = 0};
    Py_buffer *tokens, *positions, *window, *out;
    if (!wants(count, 4) || !(tokens = array(&call, args[0], 'f', 2, READ)) ||
        !(positions = array(&call, args[1], 'f', 2, READ)) ||
        !(window = array(&call, args[2], 'q', 2, PyBUF_STRIDES)) ||
        !(out = array(&call, args[3], 'f', 3, WRITE)))
        return fault(&call, NULL);
    Py_ssize_t batch = window->shape[0], time = window->shape[1], width = out->shape[2];
    if (out->shape[0] != batch || out->shape[1] > time || time > positions->shape[0] ||
        tokens->shape[1] != width || positions->shape[1] != width ||
        window->strides[1] != window->itemsize || window->strides[0] % window->itemsize != 0)
        return fault(&call, "these shapes do not belong to one embedding");
    struct embedding job = {
        .tokens = tokens->buf, .positions = positions->buf, .window = window->buf,
        .row = window->strides[0] / window->itemsize, .out = out->buf, .batch = (size_t)batch,
        .time = (size_t)time, .added = (size_t)out->shape[1],
        .vocabulary = (size_t)tokens->shape[0], .width = (size_t)width,
    };
    if (embed(&job) < 0)
        return fault(&call, "a token is not in the vocabulary");
    return answer(&call, 0);
}

PyObject *py_normalise(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    struct call call = {.count = 0};
    Py_buffer *x, *scale, *shift = NULL, *out;
    size_t tokens, written;
    if (!wants(count, 5) || !(x = tokens_array(&call, args[0], READ, &tokens)) ||
        !(scale = array(&call, args[1], 'f', 1, READ)) ||
        (args[2] != Py_None && !(shift = array(&call, args[2], 'f', 1, READ))) ||
        !(out = tokens_array(&call, args[4], WRITE, &written)))
        return fault(&call, NULL);
    double epsilon = PyFloat_AsDouble(args[3]);
    Py_ssize_t width = last_axis(x);
    if (PyErr_Occurred() || written != tokens || last_axis(out) != width ||
        scale->shape[0] != width || (shift && shift->shape[0] != width))
        return fault(&call, "these shapes cannot be normalised");
    struct norm job = {x->buf, scale->buf, shift ? shift->buf : NULL, out->buf,
                       (float)epsilon, tokens, (size_t)width};
    Py_BEGIN_ALLOW_THREADS
    normalise(&job);
    Py_END_ALLOW_THREADS
    return answer(&call, 0);
}

/* (batch, added, width), each token's numbers side by side. */
static int are_tokens_of(const Py_buffer *view, Py_ssize_t batch, Py_ssize_t added,
                         Py_ssize_t width)
{
    return view->shape[0] == batch && view->shape[1] == added && view->shape[2] == width &&
           view->strides[0] % view->itemsize == 0 && view->strides[1] % view->itemsize == 0 &&
           view->strides[2] == view->itemsize;
}

static Py_buffer *tokens_in(struct call *call, PyObject *object)
{
    return array(call, object, 'f', 3, PyBUF_STRIDES);
}

/* The cache, (batch, planes, groups, context, size), contiguous but for the first axis. */
static int is_cache(const Py_buffer *view, Py_ssize_t planes)
{
    Py_ssize_t step = view->itemsize;
    for (int axis = 4; axis > 0; step *= view->shape[axis--])
        if (view->strides[axis] != step)
            return 0;
    return view->shape[1] == planes && view->shape[2] > 0 && view->shape[4] > 0 &&
           view->strides[0] % view->itemsize == 0;
}

static int is_mask(const Py_buffer *view, Py_ssize_t batch, Py_ssize_t added, Py_ssize_t time)
{
    return view->shape[0] == batch && view->shape[1] == added && view->shape[2] == time;
}

/* The cache, whose last axes are (groups, context, size), and the sizes, with keys and values for
 * each of so many heads or shared by them. */
static struct attention attention_over(const Py_buffer *cache, Py_ssize_t added, Py_ssize_t time,
                                       Py_ssize_t heads)
{
    const Py_ssize_t *room = cache->shape + cache->ndim - 3;
    return (struct attention){
        .cache = cache->buf, .cache_row = cache->strides[0] / cache->itemsize,
        .batch = (size_t)cache->shape[0], .added = (size_t)added, .heads = (size_t)heads,
        .groups = (size_t)room[0], .size = (size_t)room[2], .context = (size_t)room[1],
        .time = (size_t)time,
    };
}

/* (query, key, value, cache, time, seen, out) */
PyObject *py_attend(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    struct call call = {.count = 0};
    Py_buffer *query, *key, *value = NULL, *cache, *seen = NULL, *out;
    if (!wants(count, 7) || !(query = tokens_in(&call, args[0])) ||
        !(key = tokens_in(&call, args[1])) ||
        (args[2] != Py_None && !(value = tokens_in(&call, args[2]))) ||
        !(cache = array(&call, args[3], 'f', 5, PyBUF_STRIDES | PyBUF_WRITABLE)) ||
        (args[5] != Py_None && !(seen = array(&call, args[5], '?', 3, READ))) ||
        !(out = array(&call, args[6], 'f', 3, WRITE)))
        return fault(&call, NULL);
    Py_ssize_t time = PyLong_AsSsize_t(args[4]);
    Py_ssize_t batch = out->shape[0], added = out->shape[1], width = out->shape[2];
    const Py_ssize_t *room = cache->shape;
    Py_ssize_t group = room[2] * room[4];
    int fits = !PyErr_Occurred() && is_cache(cache, value ? 2 : 1) && room[0] == batch &&
               width % group == 0 && added <= time && time <= room[3] &&
               are_tokens_of(query, batch, added, width) && are_tokens_of(key, batch, added, group);
    if (value)
        fits = fits && are_tokens_of(value, batch, added, group) &&
               key->strides[0] == value->strides[0] && key->strides[1] == value->strides[1];
    if (!fits || (seen && !is_mask(seen, batch, added, time)))
        return fault(&call, "these shapes do not belong to one attention");
    struct attention job = attention_over(cache, added, time, width / room[4]);
    job.query = query->buf, job.key = key->buf, job.value = value ? value->buf : NULL;
    job.query_row = query->strides[0] / query->itemsize;
    job.query_token = query->strides[1] / query->itemsize;
    job.row = key->strides[0] / key->itemsize, job.token = key->strides[1] / key->itemsize;
    job.seen = seen ? seen->buf : NULL, job.out = out->buf;
    int failed;
    Py_BEGIN_ALLOW_THREADS
    failed = attend(&job);
    Py_END_ALLOW_THREADS
    return answer(&call, failed);
}

/* (scale, shift, epsilon) of a norm that is so many numbers wide */
static int open_norm(struct call *call, PyObject *tuple, Py_ssize_t width, struct norm *norm)
{
    Py_buffer *scale, *shift = NULL;
    if (!PyTuple_Check(tuple) || PyTuple_Size(tuple) != 3 ||
        !(scale = array(call, PyTuple_GetItem(tuple, 0), 'f', 1, READ)) ||
        (PyTuple_GetItem(tuple, 1) != Py_None &&
         !(shift = array(call, PyTuple_GetItem(tuple, 1), 'f', 1, READ))))
        return 0;
    norm->epsilon = (float)PyFloat_AsDouble(PyTuple_GetItem(tuple, 2));
    norm->scale = scale->buf, norm->shift = shift ? shift->buf : NULL;
    return !PyErr_Occurred() && scale->shape[0] == width && (!shift || shift->shape[0] == width);
}

/* (panels, bias, activation) of a layer with so many inputs and units */
static int open_layer(struct call *call, PyObject *tuple, Py_ssize_t inputs, Py_ssize_t units,
                      struct product *layer)
{
    Py_buffer *panels, *bias = NULL;
    if (!PyTuple_Check(tuple) || PyTuple_Size(tuple) != 3 ||
        !(panels = panels_array(call, PyTuple_GetItem(tuple, 0), READ, &layer->halves)) ||
        (PyTuple_GetItem(tuple, 1) != Py_None &&
         !(bias = array(call, PyTuple_GetItem(tuple, 1), 'f', 1, READ))))
        return 0;
    long activation = PyLong_AsLong(PyTuple_GetItem(tuple, 2));
    layer->panels = panels->buf, layer->bias = bias ? bias->buf : NULL;
    layer->activation = (enum activation)activation;
    layer->inputs = (size_t)inputs, layer->units = (size_t)units;
    return !PyErr_Occurred() && activation >= 0 && activation < ACTIVATIONS &&
           are_panels(panels, inputs, units) && (!bias || bias->shape[0] == units);
}

/* A block by its parts, (norm, qkv, out, norm, in, out), of which the fifth has `dense` units. */
static int open_block(struct call *call, PyObject *parts, Py_ssize_t width, Py_ssize_t inner,
                      Py_ssize_t dense, struct block *job)
{
    return PyTuple_Check(parts) && PyTuple_Size(parts) == 6 &&
           open_norm(call, PyTuple_GetItem(parts, 0), width, &job->attention_norm) &&
           open_layer(call, PyTuple_GetItem(parts, 1), width, 3 * inner, &job->qkv) &&
           open_layer(call, PyTuple_GetItem(parts, 2), inner, width, &job->attention_out) &&
           open_norm(call, PyTuple_GetItem(parts, 3), width, &job->dense_norm) &&
           open_layer(call, PyTuple_GetItem(parts, 4), width, dense, &job->dense_in) &&
           open_layer(call, PyTuple_GetItem(parts, 5), dense, width, &job->dense_out);
}

/* One after the other, each with its part of the memory; None, or NULL with an exception. */
static PyObject *run_blocks(PyObject *blocks, Py_ssize_t dense, struct block job)
{
    Py_ssize_t width = (Py_ssize_t)job.width;
    Py_ssize_t inner = (Py_ssize_t)(job.attention.heads * job.attention.size);
    for (Py_ssize_t i = 0; i < PyTuple_Size(blocks); i++) {
        struct call call = {.count = 0};
        if (!open_block(&call, PyTuple_GetItem(blocks, i), width, inner, dense, &job))
            return fault(&call, "these shapes do not belong to one block");
        int failed;
        Py_BEGIN_ALLOW_THREADS
        failed = run_block(&job);
        Py_END_ALLOW_THREADS
        let_go(&call);
        if (failed)
            return PyErr_NoMemory();
        job.x = job.out;
        job.attention.cache += 2 * (size_t)inner * job.attention.context;
    }
    return Py_NewRef(Py_None);
}

/* (x, memory, time, dense, blocks, out), memory being (batch, blocks, 2, heads, context, size) */
PyObject *py_blocks(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    struct call call = {.count = 0};
    Py_buffer *x, *memory, *out;
    if (!wants(count, 6) || !(x = array(&call, args[0], 'f', 3, READ)) ||
        !(memory = array(&call, args[1], 'f', 6, WRITE)) ||
        !(out = array(&call, args[5], 'f', 3, WRITE)))
        return fault(&call, NULL);
    Py_ssize_t time = PyLong_AsSsize_t(args[2]), dense = PyLong_AsSsize_t(args[3]);
    Py_ssize_t batch = x->shape[0], added = x->shape[1], width = x->shape[2];
    const Py_ssize_t *room = memory->shape;
    if (PyErr_Occurred() || !PyTuple_Check(args[4]) || PyTuple_Size(args[4]) != room[1] ||
        room[0] != batch || room[1] < 1 || room[2] != 2 || room[3] < 1 || room[5] < 1 ||
        !are_tokens_of(out, batch, added, width) || added > time || time > room[4] || dense < 1)
        return fault(&call, "these shapes do not belong to one network");
    struct block job = {.x = x->buf, .out = out->buf, .width = (size_t)width};
    job.attention = attention_over(memory, added, time, room[3]);
    PyObject *done = run_blocks(args[4], dense, job);
    let_go(&call);
    return done;
}

/* (x, tokens, cache, time, seen, inner, (query, output, norm), out): the tokens are looked at */
PyObject *py_look(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    struct call call = {.count = 0};
    Py_buffer *x, *tokens, *cache, *seen = NULL, *out;
    if (!wants(count, 8) || !(x = array(&call, args[0], 'f', 3, READ)) ||
        !(tokens = array(&call, args[1], 'f', 3, READ)) ||
        !(cache = array(&call, args[2], 'f', 5, PyBUF_STRIDES | PyBUF_WRITABLE)) ||
        (args[4] != Py_None && !(seen = array(&call, args[4], '?', 3, READ))) ||
        !(out = array(&call, args[7], 'f', 3, WRITE)))
        return fault(&call, NULL);
    Py_ssize_t time = PyLong_AsSsize_t(args[3]), inner = PyLong_AsSsize_t(args[5]);
    Py_ssize_t batch = x->shape[0], added = x->shape[1], width = x->shape[2];
    const Py_ssize_t *room = cache->shape;
    struct look job = {.x = x->buf, .out = out->buf, .width = (size_t)width};
    PyObject *parts = args[6];
    if (PyErr_Occurred() || !is_cache(cache, 1) || room[0] != batch || room[2] != 1 ||
        room[4] != width || !are_tokens_of(tokens, batch, added, width) ||
        !are_tokens_of(out, batch, added, width) || added > time || time > room[3] || inner < 1 ||
        inner % width != 0 || (seen && !is_mask(seen, batch, added, time)) ||
        !PyTuple_Check(parts) || PyTuple_Size(parts) != 3 ||
        !open_layer(&call, PyTuple_GetItem(parts, 0), width, inner, &job.query) ||
        !open_layer(&call, PyTuple_GetItem(parts, 1), inner, width, &job.output) ||
        !open_norm(&call, PyTuple_GetItem(parts, 2), width, &job.norm))
        return fault(&call, "these shapes do not belong to one attention");
    job.attention = attention_over(cache, added, time, inner / width);
    job.attention.key = tokens->buf, job.attention.token = (ptrdiff_t)width;
    job.attention.row = (ptrdiff_t)(width * added), job.attention.seen = seen ? seen->buf : NULL;
    int failed;
    Py_BEGIN_ALLOW_THREADS
    failed = look(&job);
    Py_END_ALLOW_THREADS
    return answer(&call, failed);
}
