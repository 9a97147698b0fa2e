/* Layer kernels as Python functions: (x, weights, ..., out). */
#include "args.h"

/* Elements from one place on an axis to the next; 0 with an exception if they lie in between. */
static int get_stride(const Py_buffer *view, const char *name, int axis, ptrdiff_t *stride)
{
    *stride = view->strides[axis] / view->itemsize;
    if (view->strides[axis] % view->itemsize == 0)
        return 1;
    PyErr_Format(PyExc_ValueError, "%s: expected an aligned array", name);
    return 0;
}

/* (matrix, panels): whether every weight is stored exactly */
PyObject *py_pack(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    struct call call = {.count = 0};
    struct pack_args job;
    Py_buffer *matrix, *panels;
    if (!expect_arguments("pack", count, 2) ||
        !(matrix = get_weights(&call, args[0], "matrix", 2, PyBUF_STRIDES, &job.halves_in)) ||
        !get_stride(matrix, "matrix", 0, &job.input_stride) ||
        !get_stride(matrix, "matrix", 1, &job.unit_stride) ||
        !(panels = get_weights(&call, args[1], "panels", 3, WRITE, &job.halves_out)) ||
        !expect_panels("panels", panels, length(matrix, 0), length(matrix, 1)))
        return fail(&call);
    job.matrix = matrix->buf, job.panels = panels->buf;
    job.inputs = length(matrix, 0), job.units = length(matrix, 1);
    enum status status;
    RUN_KERNEL(status, pack, &job);
    return return_bool(&call, status);
}

static int expect_tokens(const char *name, size_t tokens, size_t expected)
{
    if (tokens == expected)
        return 1;
    PyErr_Format(PyExc_ValueError, "%s: holds %zu tokens, expected %zu", name, tokens, expected);
    return 0;
}

/* (x, panels, bias, activation, add, out) */
PyObject *py_multiply(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    struct call call = {.count = 0};
    struct multiply_args job;
    Py_buffer *x, *panels, *bias = NULL, *add = NULL, *out;
    size_t added, written;
    if (!expect_arguments("multiply", count, 6) ||
        !(x = get_tokens(&call, args[0], "x", READ, &job.tokens)) ||
        !(panels = get_weights(&call, args[1], "panels", 3, READ, &job.half_precision)) ||
        (args[2] != Py_None && !(bias = get_array(&call, args[2], "bias", FLOAT32, 1, READ))) ||
        !get_activation(args[3], &job.activation) ||
        (args[4] != Py_None && !(add = get_tokens(&call, args[4], "add", READ, &added))) ||
        !(out = get_tokens(&call, args[5], "out", WRITE, &written)))
        return fail(&call);
    job.inputs = last_axis(x), job.units = last_axis(out);
    if (!expect_tokens("out", written, job.tokens) ||
        !expect_panels("panels", panels, job.inputs, job.units) ||
        (bias && !expect_length("bias", bias, 0, job.units)) ||
        (add && (!expect_tokens("add", added, job.tokens) ||
                 !expect_length("add", add, add->ndim - 1, job.units))))
        return fail(&call);
    job.x = x->buf, job.panels = panels->buf, job.bias = bias ? bias->buf : NULL;
    job.add = add ? add->buf : NULL, job.out = out->buf;
    enum status status;
    RUN_KERNEL(status, multiply, &job);
    return return_none(&call, status);
}

/* (x, scale, shift, epsilon, out) */
PyObject *py_normalise(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    struct call call = {.count = 0};
    struct normalise_args job;
    Py_buffer *x, *scale, *shift = NULL, *out;
    size_t written;
    double epsilon;
    if (!expect_arguments("normalise", count, 5) ||
        !(x = get_tokens(&call, args[0], "x", READ, &job.tokens)) ||
        !(scale = get_array(&call, args[1], "scale", FLOAT32, 1, READ)) ||
        (args[2] != Py_None && !(shift = get_array(&call, args[2], "shift", FLOAT32, 1, READ))) ||
        !get_double(args[3], "epsilon", &epsilon) ||
        !(out = get_tokens(&call, args[4], "out", WRITE, &written)))
        return fail(&call);
    job.width = last_axis(x);
    if (!expect_tokens("out", written, job.tokens) ||
        !expect_length("out", out, out->ndim - 1, job.width) ||
        !expect_length("scale", scale, 0, job.width) ||
        (shift && !expect_length("shift", shift, 0, job.width)))
        return fail(&call);
    job.x = x->buf, job.scale = scale->buf, job.shift = shift ? shift->buf : NULL;
    job.out = out->buf, job.epsilon = (float)epsilon;
    enum status status;
    RUN_KERNEL(status, normalise, &job);
    return return_none(&call, status);
}
