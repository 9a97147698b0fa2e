/* llama.cpp's passes of one token of each text, for corelm's draws of several tokens.
 *
 * Nothing of llama.cpp is linked: its functions come as addresses from the library that
 * llama-cpp-python has loaded. */
#include <pyconfig.h>
#ifndef Py_GIL_DISABLED
#define Py_LIMITED_API 0x030B0000
#endif
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "corelm_pass.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ARGUMENTS = 8 };

/* `llama_batch` of llama.h, whose integers are all of these types. */
struct batch {
    int32_t n_tokens;
    int32_t *token;
    float *embd;
    int32_t *pos;
    int32_t *n_seq_id;
    int32_t **seq_id;
    int8_t *logits;
};

struct passes {
    struct corelm_pass pass;
    int32_t (*decode)(void *context, struct batch);
    float *(*get_logits)(void *context, int32_t token);
    void *context;
    struct batch batch;
    int32_t *token, *pos; /* of the batch */
    const int64_t *order; /* the row of each token of the batch */
    double *seconds;      /* that the passes take */
    Py_buffer views[3];
    int view_count;
};

static double now(void)
{
    struct timespec time;
    timespec_get(&time, TIME_UTC);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static int next(void *state, const int64_t *tokens, float *logits)
{
    struct passes *passes = state;
    const size_t batch = passes->pass.batch, vocabulary = passes->pass.vocabulary;
    for (size_t i = 0; tokens && i < batch; i++) {
        passes->batch.token[i] = (int32_t)tokens[passes->order[i]];
        passes->batch.pos[i]++;
    }
    double begun = now();
    if (passes->decode(passes->context, passes->batch) != 0)
        return 0;
    for (size_t i = 0; i < batch; i++) {
        const float *row = passes->get_logits(passes->context, (int32_t)i);
        if (!row)
            return 0;
        if (!i)
            *passes->seconds += now() - begun;
        memcpy(logits + (size_t)passes->order[i] * vocabulary, row, vocabulary * sizeof *row);
    }
    return 1;
}

static void release(struct passes *passes)
{
    while (passes->view_count)
        PyBuffer_Release(&passes->views[--passes->view_count]);
    free(passes);
}

static void free_passes(PyObject *capsule)
{
    release(PyCapsule_GetPointer(capsule, CORELM_PASS)); /* its first member */
}

static void *get_memory(struct passes *passes, PyObject *object, const char *name, size_t bytes,
                        int flags)
{
    Py_buffer *view = &passes->views[passes->view_count];
    if (PyObject_GetBuffer(object, view, flags) != 0)
        return NULL;
    passes->view_count++;
    if ((size_t)view->len == bytes)
        return view->buf;
    PyErr_Format(PyExc_ValueError, "%s: expected %zu bytes, got %zd", name, bytes, view->len);
    return NULL;
}

static int read_passes(struct passes *passes, PyObject *const *args)
{
    passes->decode = (int32_t (*)(void *, struct batch))PyLong_AsVoidPtr(args[0]);
    passes->get_logits = (float *(*)(void *, int32_t))PyLong_AsVoidPtr(args[1]);
    passes->context = PyLong_AsVoidPtr(args[2]);
    if (PyErr_Occurred())
        return 0;
    const struct batch *batch = get_memory(passes, args[3], "batch", sizeof *batch, PyBUF_SIMPLE);
    if (!batch)
        return 0;
    passes->batch = *batch, passes->pass.batch = (size_t)batch->n_tokens;
    passes->order = get_memory(passes, args[4], "order", passes->pass.batch * sizeof(int64_t),
                               PyBUF_SIMPLE);
    passes->seconds = passes->order ? get_memory(passes, args[5], "seconds", sizeof(double),
                                                 PyBUF_WRITABLE) : NULL;
    passes->pass.vocabulary = PyLong_AsSize_t(args[6]), passes->pass.count = PyLong_AsSize_t(args[7]);
    return passes->seconds && !PyErr_Occurred();
}

/* (decode, get_logits, context, batch, order, seconds, vocabulary, count) */
static PyObject *new_pass(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    if (count != ARGUMENTS)
        return PyErr_Format(PyExc_TypeError, "expected %d arguments, got %zd", ARGUMENTS, count);
    struct passes *passes = calloc(1, sizeof *passes);
    if (!passes)
        return PyErr_NoMemory();
    PyObject *capsule = NULL;
    passes->pass.next = next, passes->pass.state = passes;
    if (read_passes(passes, args))
        capsule = PyCapsule_New(&passes->pass, CORELM_PASS, free_passes);
    if (!capsule)
        release(passes);
    return capsule;
}

static PyMethodDef methods[] = {
    {"new_pass", (PyCFunction)(void (*)(void))new_pass, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};
static PyModuleDef_Slot slots[] = {
#ifdef Py_GIL_DISABLED
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};
static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, .m_name = "passes", .m_methods = methods, .m_slots = slots,
};
PyMODINIT_FUNC PyInit_passes(void) { return PyModuleDef_Init(&module); }
