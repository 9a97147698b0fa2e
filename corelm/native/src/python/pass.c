/* `window_pass`: the passes of a plan as a capsule. */
#include "plan.h"
#include "../pass.h"

#include <stdlib.h>

enum { ARGUMENTS = 6 };

/* The passes, and what they need. */
struct held_pass {
    struct corelm_pass pass;
    struct window_pass window;
    struct call call;
    PyObject *plan;
};

/* plan, window, kv_cache, outputs, times */
static int read_step(struct held_pass *held, PyObject *const *args)
{
    struct window_pass *pass = &held->window;
    PyObject *const arrays[] = {args[1], args[2], Py_None, args[3]};
    const struct plan *plan = get_plan(args[0]);
    if (!plan || !get_step(&held->call, arrays, args[4], plan, &pass->step, &pass->states) ||
        !get_array(&held->call, args[1], "window", INT64, 2, PyBUF_STRIDES | PyBUF_WRITABLE) ||
        (args[4] != Py_None && !get_array(&held->call, args[4], "times", INT64, 1, WRITE)))
        return 0;
    pass->reader = &plan->reader, pass->head = &plan->head, held->plan = args[0];
    /* Both may be written to, as just checked. */
    pass->window = (int64_t *)pass->step.window, pass->times = (int64_t *)pass->step.times;
    if (pass->step.added == 1)
        return 1;
    PyErr_SetString(PyExc_ValueError, "outputs: expected those of one token");
    return 0;
}

/* The window is as long as the longest text before the last of the tokens: the others are written
 * there. */
static int make_room(struct held_pass *held, PyObject *number)
{
    struct step *step = &held->window.step;
    size_t count = PyLong_AsSize_t(number), added = count - 1;
    if (PyErr_Occurred())
        return 0;
    int has_room = count && step->time > added;
    for (size_t row = 0; has_room && row < step->batch; row++)
        has_room = time_of(step->times, row, step->time - added) + added <= step->time;
    if (!has_room)
        PyErr_SetString(PyExc_ValueError, "window: expected room for the tokens");
    else
        step->time -= added, held->pass.count = count;
    return has_room;
}

static void free_pass(PyObject *capsule)
{
    struct held_pass *held = PyCapsule_GetPointer(capsule, CORELM_PASS); /* its first member */
    release(&held->call);
    Py_DecRef(held->plan);
    free(held);
}

/* (plan, window, kv_cache, outputs, times, count) */
PyObject *py_window_pass(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    if (!expect_arguments("window_pass", count, ARGUMENTS))
        return NULL;
    struct held_pass *held = calloc(1, sizeof *held);
    if (!held)
        return PyErr_NoMemory();
    PyObject *capsule = NULL;
    if (read_step(held, args) && make_room(held, args[5]))
        capsule = PyCapsule_New(&held->pass, CORELM_PASS, free_pass);
    if (!capsule) {
        release(&held->call);
        free(held);
        return NULL;
    }
    held->pass.next = next_of_window, held->pass.state = &held->window;
    held->pass.batch = held->window.step.batch;
    held->pass.vocabulary = result_width(held->window.head);
    Py_IncRef(held->plan); /* the caller may drop it before the passes are done */
    return capsule;
}
