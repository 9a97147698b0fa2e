/* What Python calls for layers: (x, weights, ..., what comes out). */
#include "arguments.h"
#include "kernels.h"

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
    same = kernels->pack(&job);
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
    kernels->multiply(&job);
    Py_END_ALLOW_THREADS
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
    kernels->normalise(&job);
    Py_END_ALLOW_THREADS
    return answer(&call, 0);
}
