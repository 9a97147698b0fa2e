/* The arrays that a kernel is called with, by the buffer protocol. */
#ifndef CORELM_ARGUMENTS_H
#define CORELM_ARGUMENTS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <string.h>

enum { MOST_ARRAYS = 20 };

/* The arrays of a call, which are let go together. */
struct call {
    Py_buffer views[MOST_ARRAYS];
    int count;
};

#define READ PyBUF_C_CONTIGUOUS
#define WRITE (PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE)

/* Whether its numbers are f, d, e, ? or, as q, whole ones of 64 bits. */
int is_kind(const Py_buffer *, char kind);

/* An array of such numbers; NULL with an exception where it is another one. */
Py_buffer *array(struct call *, PyObject *, char kind, int axes, int flags);

/* Tokens of so many floats each, whatever the axes before the last one. */
Py_buffer *tokens_array(struct call *, PyObject *, int flags, size_t *tokens);

/* The panels of a matrix, in single or in half precision, and whether they are its. */
Py_buffer *panels_array(struct call *, PyObject *, int flags, int *halves);
int are_panels(const Py_buffer *, Py_ssize_t inputs, Py_ssize_t units);

Py_ssize_t last_axis(const Py_buffer *);

/* Whether so many arguments were given; an exception where not. */
int wants(Py_ssize_t given, Py_ssize_t wanted);

void let_go(struct call *);

/* What a call ends with: None or a MemoryError, or an exception, by default with this text. */
PyObject *answer(struct call *, int failed);
PyObject *fault(struct call *, const char *text);

/* What Python calls. */
#define CALLED(name) PyObject *py_##name(PyObject *, PyObject *const *args, Py_ssize_t count)
CALLED(pack);
CALLED(multiply);
CALLED(normalise);
CALLED(plan);
CALLED(run);
CALLED(begin);
CALLED(wait);
CALLED(admit);
CALLED(judge);
CALLED(sharpen);
CALLED(nucleus);
CALLED(draw);
CALLED(surprisals);
CALLED(entropies);
CALLED(figures);
CALLED(moments);
CALLED(greedy);
CALLED(keep);
CALLED(largest);
CALLED(deviations);
CALLED(typical);

#endif
