/* Arguments from Python: arrays by the buffer protocol, numbers, and errors that name them. */
#ifndef CORELM_ARGS_H
#define CORELM_ARGS_H

/* The stable interface of Python 3.11, which free-threaded Python has not before 3.15. */
#include <pyconfig.h>
#ifndef Py_GIL_DISABLED
#define Py_LIMITED_API 0x030B0000
#endif
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "../kernels.h"

enum { MAX_ARRAYS = 32 };

/* The arrays of one call, which are released together. */
struct call {
    Py_buffer views[MAX_ARRAYS];
    int count;
};

/* Element types, as the characters of Python's struct module. */
enum element { FLOAT16 = 'e', FLOAT32 = 'f', FLOAT64 = 'd', INT64 = 'q', BOOL = '?' };

#define READ PyBUF_C_CONTIGUOUS
#define WRITE (PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE)

/* Check the number of arguments; 0 with a TypeError if it is wrong. */
int expect_arguments(const char *function, Py_ssize_t got, Py_ssize_t expected);

/* Get an array of an element type and a number of axes; NULL with an exception if it isn't one. */
Py_buffer *get_array(struct call *, PyObject *, const char *name, enum element, int axes,
                     int flags);

/* Get what an array of these lengths holds, one of each axis; NULL with an exception if it isn't one. */
void *get_shaped(struct call *, PyObject *, const char *name, enum element, int flags, int axes,
                 const size_t *lengths);

#define LENGTHS(...)                                                                              \
    (int)(sizeof(size_t[]){__VA_ARGS__} / sizeof(size_t)), (const size_t[]) { __VA_ARGS__ }

/* Get a float32 array of (..., width); `tokens` is the product of the axes before the last. */
Py_buffer *get_tokens(struct call *, PyObject *, const char *name, int flags, size_t *tokens);

/* Get weights in float32 or float16. */
Py_buffer *get_weights(struct call *, PyObject *, const char *name, int axes, int flags,
                       int *half_precision);

/* Check one axis; 0 with a ValueError, such as "bias has length 4, expected 5" or
 * "out: axis 1 has length 4, expected 5". */
int expect_length(const char *name, const Py_buffer *, int axis, size_t expected);

/* Check that panels hold an (inputs, units) matrix. */
int expect_panels(const char *name, const Py_buffer *, size_t inputs, size_t units);

/* Get an array of one axis; `count` becomes its length. NULL with an exception if it isn't one. */
void *get_list(struct call *, PyObject *, const char *name, enum element, size_t *count);

/* Read a tuple of stages, for `sample`; 0 with an exception if it is none. */
int get_stages(struct call *, PyObject *, const char *name, const struct logits *,
               struct stage *stages, size_t *count);

/* Check that all are tokens of the vocabulary. */
int expect_ids(const char *name, const int64_t *tokens, size_t count, const struct logits *);

/* Convert a number; 0 with an exception if it isn't one. */
int get_double(PyObject *, const char *name, double *);
int get_activation(PyObject *, enum activation *);

static inline size_t length(const Py_buffer *view, int axis) { return (size_t)view->shape[axis]; }

static inline size_t last_axis(const Py_buffer *view)
{
    return (size_t)view->shape[view->ndim - 1];
}

void release(struct call *);

/* Release the arrays and return NULL; an exception is set. */
PyObject *fail(struct call *);

/* Release the arrays and return None, or NULL with a MemoryError. */
PyObject *return_none(struct call *, enum status);

/* Release the arrays and return True for OK and False for INVALID, or NULL with a MemoryError. */
PyObject *return_bool(struct call *, enum status);

/* Run a kernel without the interpreter's lock. The call keeps its buffers meanwhile, so that no
 * other thread can free or resize an array. */
#define RUN_KERNEL(status, name, args)                                                            \
    do {                                                                                          \
        Py_BEGIN_ALLOW_THREADS                                                                    \
        status = active_kernels()->name(args);                                                    \
        Py_END_ALLOW_THREADS                                                                      \
    } while (0)

/* Functions that Python calls. */
#define PROTOTYPE(name) PyObject *py_##name(PyObject *, PyObject *const *args, Py_ssize_t count);
#define ROW_KERNEL(name, result, arguments) PROTOTYPE(name)
#define LAYER_KERNEL(name) PROTOTYPE(name)
#define MODULE_FUNCTION(name) PROTOTYPE(name)
#include "../kernels.def"
#undef PROTOTYPE

#endif
