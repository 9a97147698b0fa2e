/* The Python module: checks arrays by the buffer protocol, lets go of the interpreter, works. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "kernels.h"
#include "threads.h"

#include <string.h>

enum { MOST_ARRAYS = 8 };

/* The arrays of a call, which are let go together. */
struct call {
    Py_buffer views[MOST_ARRAYS];
    int count;
};

static void let_go(struct call *call)
{
    while (call->count)
        PyBuffer_Release(&call->views[--call->count]);
}

static const char *plain(const char *format)
{
    return format && strchr("@=<", format[0]) && format[0] ? format + 1 : format;
}

static int is_kind(const Py_buffer *view, char kind)
{
    const char *format = plain(view->format);
    if (!format || strlen(format) != 1)
        return 0;
    if (kind == 'q')
        return view->itemsize == 8 && (*format == 'q' || *format == 'l');
    return *format == kind;
}

/* An array of numbers: f, d, q or ?; NULL with an exception where it is another one. */
static Py_buffer *array(struct call *call, PyObject *object, char kind, int axes, int flags)
{
    if (call->count == MOST_ARRAYS) {
        PyErr_SetString(PyExc_SystemError, "too many arrays");
        return NULL;
    }
    Py_buffer *view = &call->views[call->count];
    if (PyObject_GetBuffer(object, view, flags | PyBUF_FORMAT) < 0)
        return NULL;
    call->count++;
    if (is_kind(view, kind) && view->ndim == axes)
        return view;
    PyErr_Format(PyExc_TypeError, "an array of %d axes of '%c' is wanted, not %d axes of '%s'",
                 axes, kind, view->ndim, view->format ? view->format : "B");
    return NULL;
}

/* Tokens of so many numbers each, whatever the axes before the last one. */
static Py_buffer *tokens_array(struct call *call, PyObject *object, int flags, size_t *tokens)
{
    Py_buffer *view = &call->views[call->count];
    if (call->count == MOST_ARRAYS || PyObject_GetBuffer(object, view, flags | PyBUF_FORMAT) < 0)
        return NULL;
    call->count++;
    if (!is_kind(view, 'f') || view->ndim < 1) {
        PyErr_SetString(PyExc_TypeError, "an array of 'f' with a last axis is wanted");
        return NULL;
    }
    *tokens = 1;
    for (int axis = 0; axis + 1 < view->ndim; axis++)
        *tokens *= (size_t)view->shape[axis];
    return view;
}

static Py_ssize_t last_axis(const Py_buffer *view) { return view->shape[view->ndim - 1]; }

#define READ PyBUF_C_CONTIGUOUS
#define WRITE (PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE)

static PyObject *answer(struct call *call, int failed)
{
    let_go(call);
    if (failed)
        return PyErr_NoMemory();
    return Py_NewRef(Py_None);
}

static PyObject *fault(struct call *call, const char *text)
{
    let_go(call);
    if (text && !PyErr_Occurred())
        PyErr_SetString(PyExc_ValueError, text);
    return NULL;
}

static int wants(Py_ssize_t given, Py_ssize_t wanted)
{
    if (given == wanted)
        return 1;
    PyErr_Format(PyExc_TypeError, "%zd arguments are wanted, not %zd", wanted, given);
    return 0;
}

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

static PyObject *py_pack(PyObject *self, PyObject *const *args, Py_ssize_t count)
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

static PyObject *py_multiply(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    struct call call = {.count = 0};
    Py_buffer *x, *panels, *bias = NULL, *out;
    int halves;
    size_t tokens, written;
    if (!wants(count, 4) || !(x = tokens_array(&call, args[0], READ, &tokens)) ||
        !(panels = panels_array(&call, args[1], READ, &halves)) ||
        (args[2] != Py_None && !(bias = array(&call, args[2], 'f', 1, READ))) ||
        !(out = tokens_array(&call, args[3], WRITE, &written)))
        return fault(&call, NULL);
    Py_ssize_t inputs = last_axis(x), units = last_axis(out);
    if (written != tokens || !are_panels(panels, inputs, units) ||
        (bias && bias->shape[0] != units))
        return fault(&call, "these shapes cannot be multiplied");
    struct product job = {x->buf, panels->buf, halves, bias ? bias->buf : NULL, out->buf,
                          tokens, (size_t)inputs, (size_t)units};
    Py_BEGIN_ALLOW_THREADS
    multiply(&job);
    Py_END_ALLOW_THREADS
    return answer(&call, 0);
}

static PyObject *py_normalise(PyObject *self, PyObject *const *args, Py_ssize_t count)
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

/* Queries, keys or values: (batch, added, heads * size), each token's numbers side by side. */
static int same_layout(const Py_buffer *a, const Py_buffer *b)
{
    for (int axis = 0; axis < 3; axis++)
        if (a->shape[axis] != b->shape[axis] || a->strides[axis] != b->strides[axis])
            return 0;
    return a->strides[2] == a->itemsize && a->strides[0] % a->itemsize == 0 &&
           a->strides[1] % a->itemsize == 0;
}

/* The cache, (batch, 2, heads, context, size), contiguous but for the first axis. */
static int is_cache(const Py_buffer *view)
{
    Py_ssize_t step = view->itemsize;
    for (int axis = 4; axis > 0; step *= view->shape[axis--])
        if (view->strides[axis] != step)
            return 0;
    return view->shape[1] == 2 && view->strides[0] % view->itemsize == 0;
}

static PyObject *py_attend(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    struct call call = {.count = 0};
    Py_buffer *query, *key, *value, *cache, *seen = NULL, *out;
    if (!wants(count, 7) || !(query = array(&call, args[0], 'f', 3, PyBUF_STRIDES)) ||
        !(key = array(&call, args[1], 'f', 3, PyBUF_STRIDES)) ||
        !(value = array(&call, args[2], 'f', 3, PyBUF_STRIDES)) ||
        !(cache = array(&call, args[3], 'f', 5, PyBUF_STRIDES | PyBUF_WRITABLE)) ||
        (args[5] != Py_None && !(seen = array(&call, args[5], '?', 3, READ))) ||
        !(out = array(&call, args[6], 'f', 3, WRITE)))
        return fault(&call, NULL);
    Py_ssize_t time = PyLong_AsSsize_t(args[4]);
    Py_ssize_t batch = out->shape[0], added = out->shape[1], width = out->shape[2];
    const Py_ssize_t *room = cache->shape;
    int fits = !PyErr_Occurred() && same_layout(query, key) && same_layout(query, value) &&
               is_cache(cache) && query->shape[0] == batch && query->shape[1] == added &&
               query->shape[2] == width && room[0] == batch && room[2] * room[4] == width &&
               added <= time && time <= room[3];
    if (seen)
        fits = fits && seen->shape[0] == batch && seen->shape[1] == added && seen->shape[2] == time;
    if (!fits)
        return fault(&call, "these shapes do not belong to one attention");
    struct attention job = {
        .query = query->buf, .key = key->buf, .value = value->buf,
        .row = query->strides[0] / query->itemsize, .token = query->strides[1] / query->itemsize,
        .cache = cache->buf, .cache_row = cache->strides[0] / cache->itemsize,
        .seen = seen ? seen->buf : NULL, .out = out->buf,
        .batch = (size_t)batch, .added = (size_t)added, .heads = (size_t)room[2],
        .size = (size_t)room[4], .context = (size_t)room[3], .time = (size_t)time,
    };
    int failed;
    Py_BEGIN_ALLOW_THREADS
    failed = attend(&job);
    Py_END_ALLOW_THREADS
    return answer(&call, failed);
}

/* ---- rows of logits: (logits, what they are given, ..., what comes of them) ---- */

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

static PyObject *done(struct call *call, struct rows *rows, void (*kernel)(struct rows *))
{
    Py_BEGIN_ALLOW_THREADS
    kernel(rows);
    Py_END_ALLOW_THREADS
    return answer(call, rows->failed);
}

/* (logits, never, out, before, after): the largest of each row before and after never is never */
static PyObject *py_admit(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    struct call call = {.count = 0};
    struct rows rows = {0};
    Py_buffer *never;
    if (!wants(count, 5) || !open_rows(&call, args[0], &rows) ||
        !(never = array(&call, args[1], 'q', 1, READ)) ||
        !(rows.out = same_shape(&call, args[2], &rows, WRITE)) ||
        !(rows.before = column(&call, args[3], &rows, 'f', WRITE)) ||
        !(rows.after = column(&call, args[4], &rows, 'f', WRITE)))
        return fault(&call, NULL);
    rows.given = never->buf, rows.count = (size_t)never->shape[0];
    if (!are_tokens(&rows, rows.count))
        return fault(&call, NULL);
    return done(&call, &rows, admit);
}

static PyObject *py_maxima(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    struct call call = {.count = 0};
    struct rows rows = {0};
    if (!wants(count, 2) || !open_rows(&call, args[0], &rows) ||
        !(rows.out = column(&call, args[1], &rows, 'f', WRITE)))
        return fault(&call, NULL);
    return done(&call, &rows, maxima);
}

/* (logits, number, out) */
static PyObject *changed(PyObject *const *args, Py_ssize_t count, void (*kernel)(struct rows *))
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

static PyObject *py_sharpen(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    return changed(args, count, sharpen);
}

static PyObject *py_nucleus(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    return changed(args, count, nucleus);
}

static PyObject *py_draw(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    struct call call = {.count = 0};
    struct rows rows = {0};
    if (!wants(count, 4) || !open_rows(&call, args[0], &rows) ||
        !(rows.luck = column(&call, args[1], &rows, 'd', READ)) ||
        !(rows.tokens = column(&call, args[2], &rows, 'q', WRITE)) ||
        !(rows.first = column(&call, args[3], &rows, 'd', WRITE)))
        return fault(&call, NULL);
    return done(&call, &rows, draw);
}

static PyObject *py_surprisals(PyObject *self, PyObject *const *args, Py_ssize_t count)
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
    return done(&call, &rows, surprisals);
}

static PyObject *py_entropies(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    struct call call = {.count = 0};
    struct rows rows = {0};
    if (!wants(count, 3) || !open_rows(&call, args[0], &rows) ||
        !(rows.first = column(&call, args[1], &rows, 'd', WRITE)) ||
        (args[2] != Py_None && !(rows.second = column(&call, args[2], &rows, 'd', WRITE))))
        return fault(&call, NULL);
    return done(&call, &rows, entropies);
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

/* (logits, least, out) */
static PyObject *py_keep(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    struct call call = {.count = 0};
    struct rows rows = {0};
    if (!wants(count, 3) || !open_rows(&call, args[0], &rows) ||
        !(rows.least = column(&call, args[1], &rows, 'f', READ)) ||
        !(rows.out = same_shape(&call, args[2], &rows, WRITE)))
        return fault(&call, NULL);
    return done(&call, &rows, keep);
}

static PyObject *py_deviations(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    struct call call = {.count = 0};
    struct rows rows = {0};
    if (!wants(count, 2) || !open_rows(&call, args[0], &rows) ||
        !(rows.first = column(&call, args[1], &rows, 'd', WRITE)))
        return fault(&call, NULL);
    return done(&call, &rows, deviations);
}

/* (logits, p, (min-entropy, entropy) of each row, out) */
static PyObject *py_typical(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    struct call call = {.count = 0};
    struct rows rows = {0};
    if (!wants(count, 4) || !open_rows(&call, args[0], &rows) ||
        !(rows.known = table(&call, args[2], &rows, 2, 0, 2, READ)) ||
        !(rows.out = same_shape(&call, args[3], &rows, WRITE)))
        return fault(&call, NULL);
    rows.exact = PyFloat_AsDouble(args[1]);
    if (PyErr_Occurred())
        return fault(&call, NULL);
    return done(&call, &rows, typical);
}

/* (logits, model, known, tokens, found) */
static PyObject *py_figures(PyObject *self, PyObject *const *args, Py_ssize_t count)
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
    return done(&call, &rows, figures);
}

/* (logits, temperatures, found) */
static PyObject *py_moments(PyObject *self, PyObject *const *args, Py_ssize_t count)
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
    return done(&call, &rows, moments);
}

static PyObject *py_use_cores(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    if (!wants(count, 1))
        return NULL;
    long cores = PyLong_AsLong(args[0]);
    if (PyErr_Occurred())
        return NULL;
    use_cores((int)(cores < 1 ? 1 : cores > 64 ? 64 : cores));
    return Py_NewRef(Py_None);
}

#define KERNEL(name) {#name, (PyCFunction)(void (*)(void))py_##name, METH_FASTCALL, NULL}
static PyMethodDef methods[] = {
    KERNEL(pack), KERNEL(multiply), KERNEL(normalise), KERNEL(attend),    KERNEL(admit), KERNEL(maxima),
    KERNEL(sharpen),  KERNEL(nucleus),   KERNEL(draw),      KERNEL(surprisals),
    KERNEL(entropies), KERNEL(figures),   KERNEL(moments),
    KERNEL(keep),     KERNEL(deviations), KERNEL(typical),  KERNEL(use_cores), {NULL, NULL, 0, NULL},
};

static int can_run(PyObject *module)
{
#if defined(__x86_64__)
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") ||
        !__builtin_cpu_supports("f16c")) {
        PyErr_SetString(PyExc_ImportError, "the processor has no AVX2, FMA or F16C");
        return -1;
    }
#endif
    return PyModule_AddIntConstant(module, "PANEL", PANEL);
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, can_run}, {0, NULL}};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, .m_name = "kernels", .m_methods = methods, .m_slots = slots,
};

PyMODINIT_FUNC PyInit_kernels(void) { return PyModuleDef_Init(&module); }
