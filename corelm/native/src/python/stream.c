/* Random numbers as Python functions: the streams of `RandomStream`. */
#include "../stream.h"
#include "args.h"

#include <string.h>

/* A row of int64 numbers holds a stream. */
enum { STREAM_NUMBERS = sizeof(struct stream) / sizeof(int64_t) };

static Py_buffer *get_streams(struct call *call, PyObject *object)
{
    Py_buffer *streams = get_array(call, object, "streams", INT64, 2, WRITE);
    return streams && expect_length("streams", streams, 1, STREAM_NUMBERS) ? streams : NULL;
}

static int get_whole(PyObject *object, uint64_t *number)
{
    *number = PyLong_AsUnsignedLongLong(object);
    return !PyErr_Occurred();
}

/* (seed, prompt, samples, streams) */
PyObject *py_start_streams(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    struct call call = {.count = 0};
    Py_buffer *samples, *streams;
    uint64_t seed, prompt;
    if (!expect_arguments("start_streams", count, 4) || !get_whole(args[0], &seed) ||
        !get_whole(args[1], &prompt) ||
        !(samples = get_array(&call, args[2], "samples", INT64, 1, READ)) ||
        !(streams = get_streams(&call, args[3])) ||
        !expect_length("streams", streams, 0, length(samples, 0)))
        return fail(&call);
    for (size_t i = 0; i < length(samples, 0); i++) {
        struct stream stream;
        start_stream(&stream, seed, (uint64_t)((const int64_t *)samples->buf)[i], prompt);
        memcpy((char *)streams->buf + i * sizeof stream, &stream, sizeof stream);
    }
    return return_none(&call, OK);
}

/* (streams, out) */
PyObject *py_next_uniforms(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    struct call call = {.count = 0};
    Py_buffer *streams, *out;
    if (!expect_arguments("next_uniforms", count, 2) || !(streams = get_streams(&call, args[0])) ||
        !(out = get_array(&call, args[1], "out", FLOAT64, 2, WRITE)) ||
        !expect_length("out", out, 0, length(streams, 0)))
        return fail(&call);
    for (size_t i = 0; i < length(streams, 0); i++) {
        struct stream stream;
        double *numbers = (double *)out->buf + i * length(out, 1);
        memcpy(&stream, (char *)streams->buf + i * sizeof stream, sizeof stream);
        for (size_t k = 0; k < length(out, 1); k++)
            numbers[k] = next_uniform(&stream);
        memcpy((char *)streams->buf + i * sizeof stream, &stream, sizeof stream);
    }
    return return_none(&call, OK);
}
