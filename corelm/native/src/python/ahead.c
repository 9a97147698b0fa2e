/* Drawing several tokens: `draw_ahead`, or `begin_ahead` and `end_ahead` in the background. */
#include "args.h"
#include "../ahead.h"
#include "../pool.h"

#include <stdlib.h>

#define AHEAD_NAME "corelm.ahead" /* of the capsule that `begin_ahead` returns */

enum { ARGUMENTS = 10 };

/* What is drawn, and what it needs. */
struct drawing {
    struct ahead ahead;
    struct call call;
    PyObject *pass;
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
        if (!(each[i] = get_shaped(&drawing->call, item, name, FLOAT32, WRITE,
                                   LENGTHS(ahead->pass->batch, ahead->pass->vocabulary))))
            return 0;
    }
    return 1;
}

/* (count, batch): its first axis decides how many tokens are drawn. */
static int get_uniforms(struct drawing *drawing, PyObject *object)
{
    struct ahead *ahead = &drawing->ahead;
    Py_buffer *view = get_array(&drawing->call, object, "uniforms", FLOAT64, 2, READ);
    if (!view || !expect_length("uniforms", view, 1, ahead->pass->batch))
        return 0;
    size_t most = ahead->pass->count < MOST_AHEAD ? ahead->pass->count : MOST_AHEAD;
    ahead->sample.uniforms = view->buf, ahead->count = length(view, 0);
    if (ahead->count && ahead->count <= most)
        return 1;
    PyErr_Format(PyExc_ValueError, "uniforms: expected 1 to %zu tokens, got %zu", most,
                 ahead->count);
    return 0;
}

/* uniforms, tokens, surprisals, figures: numbers for each token of each text */
static int read_columns(struct drawing *drawing, PyObject *const *args)
{
    struct call *call = &drawing->call;
    struct ahead *ahead = &drawing->ahead;
    struct sample_args *sample = &ahead->sample;
    if (!get_uniforms(drawing, args[0]))
        return 0;
    const size_t count = ahead->count, batch = ahead->pass->batch;
    return (sample->tokens = get_shaped(call, args[1], "tokens", INT64, WRITE,
                                        LENGTHS(count, batch))) &&
           (sample->surprisals = get_shaped(call, args[2], "surprisals", FLOAT64, WRITE,
                                            LENGTHS(count, batch))) &&
           (args[3] == Py_None ||
            (ahead->figures = get_shaped(call, args[3], "figures", FLOAT64, WRITE,
                                         LENGTHS(FIGURES, count, batch))));
}

static int read_pass(struct drawing *drawing, PyObject *capsule)
{
    struct ahead *ahead = &drawing->ahead;
    if (!PyCapsule_IsValid(capsule, CORELM_PASS)) {
        PyErr_Format(PyExc_TypeError, "pass: expected a capsule called %s, got %R", CORELM_PASS,
                     (PyObject *)Py_TYPE(capsule));
        return 0;
    }
    ahead->pass = PyCapsule_GetPointer(capsule, CORELM_PASS), drawing->pass = capsule;
    ahead->sample.logits = (struct logits){NULL, ahead->pass->batch, ahead->pass->vocabulary};
    if (ahead->pass->vocabulary < INT32_MAX)
        return 1;
    PyErr_SetString(PyExc_ValueError, "pass: expected fewer tokens in the vocabulary");
    return 0;
}

/* (pass, uniforms, tokens, surprisals, figures, logits, results, never, stages, stops) */
static int read_arguments(struct drawing *drawing, PyObject *const *args)
{
    struct ahead *ahead = &drawing->ahead;
    struct sample_args *sample = &ahead->sample;
    return read_pass(drawing, args[0]) && read_columns(drawing, args + 1) &&
           get_logits_of_each(drawing, args[5], "logits", ahead->logits) &&
           get_logits_of_each(drawing, args[6], "results", ahead->results) &&
           (sample->never = get_list(&drawing->call, args[7], "never", INT64,
                                     &sample->never_count)) &&
           expect_ids("never", sample->never, sample->never_count, &sample->logits) &&
           get_stages(&drawing->call, args[8], "stages", &sample->logits,
                      sample->stages, &sample->stage_count) &&
           (ahead->stops = get_list(&drawing->call, args[9], "stops", INT64, &ahead->stop_count));
}

/* A pass is for one call: a second one would write after the end of its window. */
static int read_drawing(struct drawing *drawing, PyObject *const *args)
{
    if (!read_arguments(drawing, args))
        return 0;
    drawing->ahead.pass->count = 0;
    return 1;
}

/* The arguments of `begin_ahead`; draws in this thread, and returns how many of each text. */
PyObject *py_draw_ahead(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    struct drawing drawing = {.is_waited = 1};
    if (!expect_arguments("draw_ahead", count, ARGUMENTS))
        return NULL;
    if (!read_drawing(&drawing, args))
        return fail(&drawing.call);
    Py_BEGIN_ALLOW_THREADS
    draw_ahead(&drawing.ahead);
    Py_END_ALLOW_THREADS
    release(&drawing.call);
    return PyLong_FromSize_t(atomic_load(&drawing.ahead.drawn));
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
    Py_DecRef(drawing->pass);
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
    Py_IncRef(drawing->pass); /* the caller may drop it before the draws are done */
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
