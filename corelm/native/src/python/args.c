#include "args.h"

#include <string.h>

void release(struct call *call)
{
    while (call->count)
        PyBuffer_Release(&call->views[--call->count]);
}

/* The type character of a native format, or 0 where it is another one. */
static char element_of(const Py_buffer *view)
{
    const char *format = view->format ? view->format : "B";
    if (*format == '@' || *format == '=' || (*format == '<' && PY_LITTLE_ENDIAN))
        format++;
    if (strlen(format) != 1)
        return 0;
    return (*format == 'l' || *format == 'q') && view->itemsize == 8 ? INT64 : *format;
}

static const char *element_name(char element)
{
    static const struct {
        char element;
        const char *name;
    } names[] = {
        {FLOAT16, "float16"}, {FLOAT32, "float32"}, {FLOAT64, "float64"}, {INT64, "int64"},
        {BOOL, "bool"}, {'b', "int8"}, {'B', "uint8"}, {'h', "int16"}, {'H', "uint16"},
        {'i', "int32"}, {'I', "uint32"}, {'L', "uint64"}, {'Q', "uint64"},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].element == element)
            return names[i].name;
    return NULL;
}

static Py_buffer *get_buffer(struct call *call, PyObject *object, const char *name, int flags)
{
    if (call->count == MAX_ARRAYS)
        return (void)PyErr_Format(PyExc_SystemError, "%s: too many arrays in one call", name), NULL;
    if (!PyObject_CheckBuffer(object))
        return (void)PyErr_Format(PyExc_TypeError, "%s: expected an array, got %R", name,
                                  (PyObject *)Py_TYPE(object)),
               NULL;
    Py_buffer *view = &call->views[call->count];
    if (PyObject_GetBuffer(object, view, flags | PyBUF_FORMAT) < 0)
        return NULL;
    call->count++;
    return view;
}

/* Kernels read whole elements: at an odd address that would be undefined behaviour. */
static int is_aligned(const Py_buffer *view)
{
    return !view->len || (uintptr_t)view->buf % (size_t)view->itemsize == 0;
}

static Py_buffer *expect_array(Py_buffer *view, const char *name, enum element element,
                               const char *axes, int fits)
{
    if (!view)
        return NULL;
    char got = element_of(view);
    const char *got_name = element_name(got);
    if (fits && got == (char)element && is_aligned(view))
        return view;
    if (fits && got == (char)element)
        PyErr_Format(PyExc_ValueError, "%s: expected an aligned array", name);
    else
        PyErr_Format(PyExc_TypeError, "%s: expected a %s %s array, got %d-D %s", name, axes,
                     element_name((char)element), view->ndim,
                     got_name ? got_name : view->format ? view->format : "B");
    return NULL;
}

static const char *const axes_names[] = {"0-D", "1-D", "2-D", "3-D", "4-D", "5-D", "6-D"};

Py_buffer *get_array(struct call *call, PyObject *object, const char *name, enum element element,
                     int axes, int flags)
{
    Py_buffer *view = get_buffer(call, object, name, flags);
    return expect_array(view, name, element, axes_names[axes], view && view->ndim == axes);
}

void *get_shaped(struct call *call, PyObject *object, const char *name, enum element element,
                 int flags, int axes, const size_t *lengths)
{
    Py_buffer *view = get_array(call, object, name, element, axes, flags);
    for (int axis = 0; view && axis < axes; axis++)
        if (!expect_length(name, view, axis, lengths[axis]))
            return NULL;
    return view ? view->buf : NULL;
}

Py_buffer *get_weights(struct call *call, PyObject *object, const char *name, int axes, int flags,
                       int *half_precision)
{
    Py_buffer *view = get_buffer(call, object, name, flags);
    *half_precision = view && element_of(view) == FLOAT16;
    return expect_array(view, name, *half_precision ? FLOAT16 : FLOAT32, axes_names[axes],
                        view && view->ndim == axes);
}

Py_buffer *get_tokens(struct call *call, PyObject *object, const char *name, int flags,
                      size_t *tokens)
{
    Py_buffer *view = get_buffer(call, object, name, flags);
    view = expect_array(view, name, FLOAT32, "1-D or higher", view && view->ndim >= 1);
    if (!view)
        return NULL;
    *tokens = 1;
    for (int axis = 0; axis + 1 < view->ndim; axis++)
        *tokens *= length(view, axis);
    return view;
}

int expect_arguments(const char *function, Py_ssize_t got, Py_ssize_t expected)
{
    if (got == expected)
        return 1;
    PyErr_Format(PyExc_TypeError, "%s: expected %zd arguments, got %zd", function, expected, got);
    return 0;
}

int expect_length(const char *name, const Py_buffer *view, int axis, size_t expected)
{
    if (length(view, axis) == expected)
        return 1;
    if (view->ndim == 1)
        PyErr_Format(PyExc_ValueError, "%s has length %zd, expected %zu", name, view->shape[axis],
                     expected);
    else
        PyErr_Format(PyExc_ValueError, "%s: axis %d has length %zd, expected %zu", name, axis,
                     view->shape[axis], expected);
    return 0;
}

int expect_panels(const char *name, const Py_buffer *panels, size_t inputs, size_t units)
{
    size_t count = units / PANEL + (units % PANEL != 0);
    if (length(panels, 0) == count && length(panels, 1) == inputs && length(panels, 2) == PANEL)
        return 1;
    PyErr_Format(PyExc_ValueError,
                 "%s: expected shape (%zu, %zu, %d) for a matrix of %zu inputs and %zu units, "
                 "got (%zd, %zd, %zd)",
                 name, count, inputs, (int)PANEL, inputs, units, panels->shape[0],
                 panels->shape[1], panels->shape[2]);
    return 0;
}

int get_double(PyObject *object, const char *name, double *number)
{
    *number = PyFloat_AsDouble(object);
    if (!PyErr_Occurred())
        return 1;
    if (PyErr_ExceptionMatches(PyExc_TypeError))
        PyErr_Format(PyExc_TypeError, "%s: expected a number, got %R", name, object);
    return 0;
}

int get_activation(PyObject *object, enum activation *activation)
{
    long number = PyLong_AsLong(object);
    if (!PyErr_Occurred() && number >= 0 && number < ACTIVATIONS) {
        *activation = (enum activation)number;
        return 1;
    }
    PyErr_Clear();
    PyErr_Format(PyExc_ValueError, "activation: expected a number from 0 to %d, got %R",
                 (int)ACTIVATIONS - 1, object);
    return 0;
}

PyObject *fail(struct call *call)
{
    release(call);
    return NULL;
}

PyObject *return_none(struct call *call, enum status status)
{
    release(call);
    return status == NO_MEMORY ? PyErr_NoMemory() : Py_NewRef(Py_None);
}

PyObject *return_bool(struct call *call, enum status status)
{
    release(call);
    return status == NO_MEMORY ? PyErr_NoMemory() : PyBool_FromLong(status == OK);
}
