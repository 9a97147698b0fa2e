/* What Python calls for rows of logits: (logits, what they are given, ..., what comes of them). */
#include "arguments.h"
#include "kernels.h"

static int open_rows(struct call *call, PyObject *object, struct rows *rows)
{
    Py_buffer *logits = array(call, object, 'f', 2, READ);
    if (!logits)
        return 0;
    rows->logits = logits->buf;
    rows->batch = (size_t)logits->shape[0], rows->vocabulary = (size_t)logits->shape[1];
    if (rows->vocabulary && rows->vocabulary < INT32_MAX)
        return 1;
    PyErr_SetString(PyExc_ValueError, "a vocabulary of this size has no kernel");
    return 0;
}

/* One number for each row. */
static void *column(struct call *call, PyObject *object, const struct rows *rows, char kind,
                    int flags)
{
    Py_buffer *view = array(call, object, kind, 1, flags);
    if (!view)
        return NULL;
    if ((size_t)view->shape[0] == rows->batch)
        return view->buf;
    PyErr_SetString(PyExc_ValueError, "one number for each row is wanted");
    return NULL;
}

static int are_tokens(const struct rows *rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (rows->given[i] < 0 || (uint64_t)rows->given[i] >= rows->vocabulary) {
            PyErr_SetString(PyExc_ValueError, "a token is not in the vocabulary");
            return 0;
        }
    return 1;
}

static float *same_shape(struct call *call, PyObject *object, const struct rows *rows, int flags)
{
    Py_buffer *view = array(call, object, 'f', 2, flags);
    if (!view)
        return NULL;
    if ((size_t)view->shape[0] == rows->batch && (size_t)view->shape[1] == rows->vocabulary)
        return view->buf;
    PyErr_SetString(PyExc_ValueError, "an array of the shape of the logits is wanted");
    return NULL;
}

static PyObject *done(struct call *call, struct rows *rows, row_kernel *kernel)
{
    Py_BEGIN_ALLOW_THREADS
    kernel(rows);
    Py_END_ALLOW_THREADS
    return answer(call, rows->failed);
}

/* Whether no row is improper. */
static PyObject *verdict(struct call *call, struct rows *rows, row_kernel *kernel)
{
    PyObject *answered = done(call, rows, kernel);
    if (!answered)
        return NULL;
    Py_DecRef(answered);
    return PyBool_FromLong(!rows->improper);
}

/* (logits, never, out): whether each row is a distribution before never is never, and after; out
 * may be the logits */
PyObject *py_admit(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    struct call call = {.count = 0};
    struct rows rows = {0};
    Py_buffer *never;
    if (!wants(count, 3) || !open_rows(&call, args[0], &rows) ||
        !(never = array(&call, args[1], 'q', 1, READ)) ||
        !(rows.out = same_shape(&call, args[2], &rows, WRITE)))
        return fault(&call, NULL);
    rows.given = never->buf, rows.count = (size_t)never->shape[0];
    if (!are_tokens(&rows, rows.count))
        return fault(&call, NULL);
    return verdict(&call, &rows, kernels->admit);
}

PyObject *py_judge(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    struct call call = {.count = 0};
    struct rows rows = {0};
    if (!wants(count, 1) || !open_rows(&call, args[0], &rows))
        return fault(&call, NULL);
    return verdict(&call, &rows, kernels->judge);
}

/* (logits, number, out) */
static PyObject *changed(PyObject *const *args, Py_ssize_t count, row_kernel *kernel)
{
    struct call call = {.count = 0};
    struct rows rows = {0};
    if (!wants(count, 3) || !open_rows(&call, args[0], &rows) ||
        !(rows.out = same_shape(&call, args[2], &rows, WRITE)))
        return fault(&call, NULL);
    rows.exact = PyFloat_AsDouble(args[1]);
    rows.number = (float)rows.exact;
    if (PyErr_Occurred())
        return fault(&call, NULL);
    return done(&call, &rows, kernel);
}

PyObject *py_sharpen(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    return changed(args, count, kernels->sharpen);
}

PyObject *py_nucleus(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    return changed(args, count, kernels->nucleus);
}

PyObject *py_typical(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    return changed(args, count, kernels->typical);
}

PyObject *py_draw(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    struct call call = {.count = 0};
    struct rows rows = {0};
    if (!wants(count, 4) || !open_rows(&call, args[0], &rows) ||
        !(rows.luck = column(&call, args[1], &rows, 'd', READ)) ||
        !(rows.tokens = column(&call, args[2], &rows, 'q', WRITE)) ||
        !(rows.first = column(&call, args[3], &rows, 'd', WRITE)))
        return fault(&call, NULL);
    return verdict(&call, &rows, kernels->draw);
}

PyObject *py_surprisals(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    struct call call = {.count = 0};
    struct rows rows = {0};
    if (!wants(count, 3) || !open_rows(&call, args[0], &rows) ||
        !(rows.given = column(&call, args[1], &rows, 'q', READ)) ||
        !(rows.first = column(&call, args[2], &rows, 'd', WRITE)))
        return fault(&call, NULL);
    if (!are_tokens(&rows, rows.batch))
        return fault(&call, NULL);
    return done(&call, &rows, kernels->surprisals);
}

PyObject *py_entropies(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    struct call call = {.count = 0};
    struct rows rows = {0};
    if (!wants(count, 3) || !open_rows(&call, args[0], &rows) ||
        !(rows.first = column(&call, args[1], &rows, 'd', WRITE)) ||
        (args[2] != Py_None && !(rows.second = column(&call, args[2], &rows, 'd', WRITE))))
        return fault(&call, NULL);
    return done(&call, &rows, kernels->entropies);
}

/* So many numbers for each row, or so many times so many. */
static double *table(struct call *call, PyObject *object, const struct rows *rows, int axes,
                     Py_ssize_t middle, Py_ssize_t last, int flags)
{
    Py_buffer *view = array(call, object, 'd', axes, flags);
    if (!view)
        return NULL;
    if ((size_t)view->shape[0] == rows->batch && last_axis(view) == last &&
        (axes == 2 || view->shape[1] == middle))
        return view->buf;
    PyErr_SetString(PyExc_ValueError, "a table of another shape is wanted");
    return NULL;
}

/* (logits, nats, out) */
PyObject *py_keep(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    struct call call = {.count = 0};
    struct rows rows = {0};
    if (!wants(count, 3) || !open_rows(&call, args[0], &rows) ||
        !(rows.nats = column(&call, args[1], &rows, 'd', READ)) ||
        !(rows.out = same_shape(&call, args[2], &rows, WRITE)))
        return fault(&call, NULL);
    return done(&call, &rows, kernels->keep);
}

/* (logits, out) */
PyObject *py_greedy(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    struct call call = {.count = 0};
    struct rows rows = {0};
    if (!wants(count, 2) || !open_rows(&call, args[0], &rows) ||
        !(rows.out = same_shape(&call, args[1], &rows, WRITE)))
        return fault(&call, NULL);
    return done(&call, &rows, kernels->greedy);
}

/* (logits, k, out) */
PyObject *py_largest(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    struct call call = {.count = 0};
    struct rows rows = {0};
    if (!wants(count, 3) || !open_rows(&call, args[0], &rows) ||
        !(rows.out = same_shape(&call, args[2], &rows, WRITE)))
        return fault(&call, NULL);
    Py_ssize_t k = PyLong_AsSsize_t(args[1]);
    if (PyErr_Occurred() || k < 1)
        return fault(&call, "at least one token is kept");
    rows.count = (size_t)k;
    return done(&call, &rows, kernels->largest);
}

PyObject *py_deviations(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    struct call call = {.count = 0};
    struct rows rows = {0};
    if (!wants(count, 2) || !open_rows(&call, args[0], &rows) ||
        !(rows.first = column(&call, args[1], &rows, 'd', WRITE)))
        return fault(&call, NULL);
    return done(&call, &rows, kernels->deviations);
}

/* (logits, model, known, tokens, found): whether no token was revived */
PyObject *py_figures(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    struct call call = {.count = 0};
    struct rows rows = {0};
    if (!wants(count, 5) || !open_rows(&call, args[0], &rows) ||
        !(rows.model = same_shape(&call, args[1], &rows, READ)) ||
        !(rows.known = table(&call, args[2], &rows, 2, 0, KNOWN, READ)) ||
        !(rows.given = column(&call, args[3], &rows, 'q', READ)) ||
        !(rows.found = table(&call, args[4], &rows, 2, 0, FIGURES, WRITE)))
        return fault(&call, NULL);
    for (size_t i = 0; i < rows.batch; i++)
        if (!(rows.known[i * KNOWN] >= 0 && rows.known[i * KNOWN] < (double)rows.vocabulary))
            return fault(&call, "a likeliest token is not in the vocabulary");
    if (!are_tokens(&rows, rows.batch))
        return fault(&call, NULL);
    return verdict(&call, &rows, kernels->figures);
}

/* (logits, temperatures, found) */
PyObject *py_moments(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    struct call call = {.count = 0};
    struct rows rows = {0};
    Py_buffer *temperatures;
    if (!wants(count, 3) || !open_rows(&call, args[0], &rows) ||
        !(temperatures = array(&call, args[1], 'd', 1, READ)) ||
        !(rows.found =
              table(&call, args[2], &rows, 3, temperatures->shape[0], MOMENTS, WRITE)))
        return fault(&call, NULL);
    rows.known = temperatures->buf, rows.count = (size_t)temperatures->shape[0];
    return done(&call, &rows, kernels->moments);
}
