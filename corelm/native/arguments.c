#include "arguments.h"
#include "kernels.h"

void let_go(struct call *call)
{
    while (call->count)
        PyBuffer_Release(&call->views[--call->count]);
}

static const char *plain(const char *format)
{
    return format && strchr("@=<", format[0]) && format[0] ? format + 1 : format;
}

int is_kind(const Py_buffer *view, char kind)
{
    const char *format = plain(view->format);
    if (!format || strlen(format) != 1)
        return 0;
    if (kind == 'q')
        return view->itemsize == 8 && (*format == 'q' || *format == 'l');
    return *format == kind;
}

Py_buffer *array(struct call *call, PyObject *object, char kind, int axes, int flags)
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

Py_buffer *tokens_array(struct call *call, PyObject *object, int flags, size_t *tokens)
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

Py_buffer *panels_array(struct call *call, PyObject *object, int flags, int *halves)
{
    Py_buffer view;
    if (PyObject_GetBuffer(object, &view, PyBUF_FORMAT | PyBUF_STRIDES) < 0)
        return NULL;
    *halves = is_kind(&view, 'e');
    PyBuffer_Release(&view);
    return array(call, object, *halves ? 'e' : 'f', 3, flags);
}

int are_panels(const Py_buffer *panels, Py_ssize_t inputs, Py_ssize_t units)
{
    return panels->shape[0] == (units + PANEL - 1) / PANEL && panels->shape[1] == inputs &&
           panels->shape[2] == PANEL;
}

Py_ssize_t last_axis(const Py_buffer *view) { return view->shape[view->ndim - 1]; }

PyObject *answer(struct call *call, int failed)
{
    let_go(call);
    if (failed)
        return PyErr_NoMemory();
    return Py_NewRef(Py_None);
}

PyObject *fault(struct call *call, const char *text)
{
    let_go(call);
    if (text && !PyErr_Occurred())
        PyErr_SetString(PyExc_ValueError, text);
    return NULL;
}

int wants(Py_ssize_t given, Py_ssize_t wanted)
{
    if (given == wanted)
        return 1;
    PyErr_Format(PyExc_TypeError, "%zd arguments are wanted, not %zd", wanted, given);
    return 0;
}
