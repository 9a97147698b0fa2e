/* Drawing several tokens in the background: `begin_ahead` and `end_ahead`. */
#include "plan.h"
#include "../ahead.h"

#include <stdlib.h>

#define AHEAD_NAME "corelm.ahead" /* of the capsule that `begin_ahead` returns */

enum { ARGUMENTS = 14 };

/* What is drawn, and what it needs. */
struct drawing {
    struct ahead ahead;
    struct call call;
    PyObject *plan;
    struct async_task task;
    atomic_int is_waited;
};

/* A tuple of (batch, vocabulary) arrays, one for each token of a text. */
static int get_logits_of_each(struct drawing *drawing, PyObject *tuple, const char *name,
                              float **each)
{
    struct ahead *ahead = &drawing->ahead;
    if (!PyTuple_Check(tuple) || PyTuple_Size(tuple) != (Py_ssize_t)ahead->count) {
        PyErr_Format(PyExc_ValueError, "%s: expected a tuple of %zu arrays", name, ahead->count);
        return 0;
    }
    for (size_t i = 0; i < ahead->count; i++) {
        PyObject *item = PyTuple_GetItem(tuple, (Py_ssize_t)i);
        Py_buffer *view = get_array(&drawing->call, item, name, FLOAT32, 2, WRITE);
        if (!view || !expect_length(name, view, 0, ahead->step.batch) ||
            !expect_length(name, view, 1, ahead->sample.logits.vocabulary))
            return 0;
        each[i] = view->buf;
    }
    return 1;
}

/* A result for each token of each text: (count, batch). */
static void *get_columns(struct drawing *drawing, PyObject *object, const char *name,
                         enum element element)
{
    Py_buffer *view = get_array(&drawing->call, object, name, element, 2, WRITE);
    if (!view || !expect_length(name, view, 0, drawing->ahead.count) ||
        !expect_length(name, view, 1, drawing->ahead.step.batch))
        return NULL;
    return view->buf;
}

/* (count, batch): its first axis decides how many tokens are drawn. */
static int get_uniforms(struct drawing *drawing, PyObject *object)
{
    struct ahead *ahead = &drawing->ahead;
    Py_buffer *view = get_array(&drawing->call, object, "uniforms", FLOAT64, 2, READ);
    if (!view || !expect_length("uniforms", view, 1, ahead->step.batch))
        return 0;
    ahead->sample.uniforms = view->buf, ahead->count = length(view, 0);
    if (ahead->count && ahead->count <= MOST_AHEAD)
        return 1;
    PyErr_Format(PyExc_ValueError, "uniforms: expected 1 to %d tokens, got %zu", MOST_AHEAD,
                 ahead->count);
    return 0;
}

/* (FIGURES, count, batch) */
static int get_figures(struct drawing *drawing, PyObject *object)
{
    struct ahead *ahead = &drawing->ahead;
    if (object == Py_None)
        return 1;
    Py_buffer *view = get_array(&drawing->call, object, "figures", FLOAT64, 3, WRITE);
    if (!view || !expect_length("figures", view, 0, FIGURES) ||
        !expect_length("figures", view, 1, ahead->count) ||
        !expect_length("figures", view, 2, ahead->step.batch))
        return 0;
    ahead->figures = view->buf;
    return 1;
}

/* uniforms, tokens, surprisals, figures */
static int read_columns(struct drawing *drawing, PyObject *const *args)
{
    struct sample_args *sample = &drawing->ahead.sample;
    return get_uniforms(drawing, args[0]) &&
           (sample->tokens = get_columns(drawing, args[1], "tokens", INT64)) &&
           (sample->surprisals = get_columns(drawing, args[2], "surprisals", FLOAT64)) &&
           get_figures(drawing, args[3]);
}

/* plan, window, kv_cache, outputs, times */
static int read_step(struct drawing *drawing, PyObject *const *args)
{
    struct ahead *ahead = &drawing->ahead;
    const struct plan *plan = get_plan(args[0]);
    PyObject *const arrays[] = {args[1], args[2], Py_None, args[3]};
    if (!plan || !get_step(&drawing->call, arrays, args[4], plan, &ahead->step, &ahead->states) ||
        !get_array(&drawing->call, args[1], "window", INT64, 2, PyBUF_STRIDES | PyBUF_WRITABLE) ||
        (args[4] != Py_None && !get_array(&drawing->call, args[4], "times", INT64, 1, WRITE)))
        return 0;
    ahead->reader = &plan->reader, ahead->head = &plan->head, drawing->plan = args[0];
    /* Both may be written to, as just checked. */
    ahead->window = (int64_t *)ahead->step.window, ahead->times = (int64_t *)ahead->step.times;
    ahead->sample.logits = (struct logits){NULL, ahead->step.batch, result_width(ahead->head)};
    if (ahead->step.added == 1 && ahead->sample.logits.vocabulary < INT32_MAX)
        return 1;
    PyErr_SetString(PyExc_ValueError, "outputs: expected those of one token");
    return 0;
}

/* The window is as long as the longest text before the last of the tokens: the others are written
 * there. */
static int make_room(struct ahead *ahead)
{
    struct step *step = &ahead->step;
    size_t added = ahead->count - 1;
    int has_room = step->time > added;
    for (size_t row = 0; row < step->batch; row++)
        has_room &= time_of(step->times, row, step->time - added) + added <= step->time;
    if (!has_room)
        PyErr_SetString(PyExc_ValueError, "window: expected room for the tokens");
    else
        step->time -= added;
    return has_room;
}

/* (plan, window, kv_cache, outputs, times, uniforms, tokens, surprisals, figures, logits, results,
 * never, stages, stops) */
static int read_drawing(struct drawing *drawing, PyObject *const *args)
{
    struct ahead *ahead = &drawing->ahead;
    struct sample_args *sample = &ahead->sample;
    return read_step(drawing, args) && read_columns(drawing, args + 5) && make_room(ahead) &&
           get_logits_of_each(drawing, args[9], "logits", ahead->logits) &&
           get_logits_of_each(drawing, args[10], "results", ahead->results) &&
           (sample->never = get_list(&drawing->call, args[11], "never", INT64,
                                     &sample->never_count)) &&
           expect_ids("never", sample->never, sample->never_count, &sample->logits) &&
           get_stages(&drawing->call, args[12], "stages", &sample->logits,
                      sample->stages, &sample->stage_count) &&
           (ahead->stops = get_list(&drawing->call, args[13], "stops", INT64, &ahead->stop_count));
}

static void free_drawing(PyObject *capsule)
{
    struct drawing *drawing = PyCapsule_GetPointer(capsule, AHEAD_NAME);
    if (!drawing->is_waited) {
        atomic_store(&drawing->ahead.is_cancelled, 1);
        Py_BEGIN_ALLOW_THREADS
        async_cancel(&drawing->task);
        Py_END_ALLOW_THREADS
    }
    release(&drawing->call);
    Py_DecRef(drawing->plan);
    free(drawing);
}

PyObject *py_begin_ahead(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    if (!expect_arguments("begin_ahead", count, ARGUMENTS))
        return NULL;
    struct drawing *drawing = calloc(1, sizeof *drawing);
    if (!drawing)
        return PyErr_NoMemory();
    PyObject *capsule = NULL;
    if (read_drawing(drawing, args))
        capsule = PyCapsule_New(drawing, AHEAD_NAME, free_drawing);
    if (!capsule) {
        release(&drawing->call);
        free(drawing);
        return NULL;
    }
    Py_IncRef(drawing->plan); /* the caller may drop it before the draws are done */
    drawing->task.run = draw_ahead, drawing->task.job = &drawing->ahead;
    async_submit(&drawing->task);
    return capsule;
}

/* (run, whether all tokens are wanted): how many of each text are drawn */
PyObject *py_end_ahead(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    if (!expect_arguments("end_ahead", count, 2))
        return NULL;
    if (!PyCapsule_IsValid(args[0], AHEAD_NAME))
        return PyErr_Format(PyExc_TypeError, "run: expected what begin_ahead() returned, got %R",
                            (PyObject *)Py_TYPE(args[0]));
    struct drawing *drawing = PyCapsule_GetPointer(args[0], AHEAD_NAME);
    int is_wanted = PyObject_IsTrue(args[1]);
    if (is_wanted < 0)
        return NULL;
    if (!is_wanted)
        atomic_store(&drawing->ahead.is_cancelled, 1);
    if (!atomic_exchange(&drawing->is_waited, 1)) { /* the second time, all is done */
        Py_BEGIN_ALLOW_THREADS
        if (is_wanted)
            async_wait(&drawing->task);
        else
            async_cancel(&drawing->task);
        Py_END_ALLOW_THREADS
    }
    return PyLong_FromSize_t(atomic_load(&drawing->ahead.drawn));
}
