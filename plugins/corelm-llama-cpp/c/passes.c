/* llama.cpp's passes over a token more of each text, for corelm's draws ahead.
 *
 * Nothing of llama.cpp is linked: its functions come as addresses from the library that
 * llama-cpp-python has loaded. */

/* The stable interface of Python 3.11, which free-threaded Python has not before 3.15. */
#include <pyconfig.h>
#ifndef Py_GIL_DISABLED
#define Py_LIMITED_API 0x030B0000
#endif
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "corelm_pass.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ARGUMENTS = 8, MOST_VIEWS = 3 };

/* `llama_batch` of llama.h. */
struct batch {
    int32_t n_tokens, *token;
    float *embd;
    int32_t *pos, *n_seq_id, **seq_id;
    int8_t *logits;
};

/* What the passes came to: an array of float64. */
enum { SECONDS, PASSES, FAILURE, REPORT };

struct passes {
    struct corelm_pass pass; /* first, as the capsule points at it */
    int32_t (*decode)(void *context, struct batch);
    float *(*get_logits)(void *context, int32_t token);
    void *context;
    struct batch batch;
    const int64_t *order; /* the row of each token of the batch */
    double *report;
    Py_buffer views[MOST_VIEWS];
    int view_count;
};

static double seconds_now(void)
{
    struct timespec now;
    timespec_get(&now, TIME_UTC);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static int copy_logits(const struct passes *passes, float *logits)
{
    const size_t vocabulary = passes->pass.vocabulary;
    for (size_t i = 0; i < passes->pass.batch; i++) {
        const float *row = passes->get_logits(passes->context, (int32_t)i);
        if (!row)
            return 0;
        memcpy(logits + (size_t)passes->order[i] * vocabulary, row, vocabulary * sizeof *row);
    }
    return 1;
}

static int next(void *state, const int64_t *tokens, float *logits)
{
    struct passes *passes = state;
    for (size_t i = 0; tokens && i < passes->pass.batch; i++) {
        passes->batch.token[i] = (int32_t)tokens[passes->order[i]];
        passes->batch.pos[i]++;
    }
    double begun = seconds_now();
    int32_t failure = passes->decode(passes->context, passes->batch);
    /* llama.cpp waits here for a device that still computes. */
    if (!failure && !copy_logits(passes, logits))
        failure = -1;
    passes->report[SECONDS] += seconds_now() - begun;
    passes->report[PASSES]++, passes->report[FAILURE] = failure;
    return !failure;
}

static void release(struct passes *passes)
{
    while (passes->view_count)
        PyBuffer_Release(&passes->views[--passes->view_count]);
    free(passes);
}

static void free_passes(PyObject *capsule)
{
    release(PyCapsule_GetPointer(capsule, CORELM_PASS));
}

/* The memory of an object, which stays until the passes are freed. */
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
    struct corelm_pass *pass = &passes->pass;
    passes->decode = (int32_t (*)(void *, struct batch))PyLong_AsVoidPtr(args[0]);
    passes->get_logits = (float *(*)(void *, int32_t))PyLong_AsVoidPtr(args[1]);
    passes->context = PyLong_AsVoidPtr(args[2]);
    pass->vocabulary = PyLong_AsSize_t(args[6]), pass->count = PyLong_AsSize_t(args[7]);
    if (PyErr_Occurred())
        return 0;
    const struct batch *batch = get_memory(passes, args[3], "batch", sizeof *batch, PyBUF_SIMPLE);
    if (!batch)
        return 0;
    passes->batch = *batch, pass->batch = (size_t)batch->n_tokens;
    size_t order = pass->batch * sizeof *passes->order, report = REPORT * sizeof *passes->report;
    return (passes->order = get_memory(passes, args[4], "order", order, PyBUF_SIMPLE)) &&
           (passes->report = get_memory(passes, args[5], "report", report, PyBUF_WRITABLE));
}

/* (decode, get_logits, context, batch, order, report, vocabulary, count): the capsule. The arrays that
 * the batch points into have to live as long. */
static PyObject *new_passes(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    if (count != ARGUMENTS)
        return PyErr_Format(PyExc_TypeError, "new_passes: expected %d arguments, got %zd",
                            ARGUMENTS, count);
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
    {"new_passes", (PyCFunction)(void (*)(void))new_passes, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static int initialise(PyObject *module)
{
    return PyModule_AddIntConstant(module, "BATCH_SIZE", sizeof(struct batch));
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, initialise},
#ifdef Py_GIL_DISABLED
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, .m_name = "passes", .m_methods = methods, .m_slots = slots,
};

PyMODINIT_FUNC PyInit_passes(void) { return PyModuleDef_Init(&module); }
