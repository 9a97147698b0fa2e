/* Running networks: `run`, or `begin` and `wait`, for each step. */
#include "plan.h"
#include "../pool.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define RUN_NAME "corelm.run" /* of the capsule that `begin` returns */

enum { STEP_ARGUMENTS = 6 }; /* of `run` and `begin`, without the optional last one */

/* One run of a plan, with all it needs. */
struct run {
    struct call call;
    PyObject *capsule; /* of the plan */
    const struct plan *plan;
    struct step step;
    float *outputs, *logits;
    size_t logit_tokens; /* of each row, the last ones, after which logits are wanted */
    atomic_int waited;
    enum status status;
    struct async_task task;
};

/* The last tokens of each row, next to each other. */
static const float *last_tokens(const struct run *run, size_t width, float *buffer)
{
    const struct step *step = &run->step;
    const size_t count = run->logit_tokens;
    if (count == step->added)
        return run->outputs;
    for (size_t row = 0; row < step->batch; row++) {
        size_t first = (row + 1) * step->added - count;
        memcpy(buffer + row * count * width, run->outputs + first * width,
               count * width * sizeof(float));
    }
    return buffer;
}

static void run_plan(void *job)
{
    struct run *run = job;
    const struct step *step = &run->step;
    size_t width = run->plan->head.widths[0], tokens = step->batch * run->logit_tokens;
    float *buffer = malloc((tokens * width + 1) * sizeof(float));
    run->status = buffer ? run_graph(&run->plan->reader, step, NULL, step->batch * step->added,
                                     run->outputs)
                         : NO_MEMORY;
    if (run->status == OK && run->logit_tokens)
        run->status = run_graph(&run->plan->head, step, last_tokens(run, width, buffer), tokens,
                                run->logits);
    free(buffer);
}

static int at_most(const char *name, size_t number, const char *limit_name, size_t limit)
{
    if (number <= limit)
        return 1;
    PyErr_Format(PyExc_ValueError, "run: %s is %zu, expected at most %zu, %s", name, number, limit,
                 limit_name);
    return 0;
}

/* The cache has to be what the attend nodes need. */
static int expect_cache(const struct plan *plan, const Py_buffer *kv_cache,
                        const Py_buffer *masks)
{
    const struct cache_needs *needs = &plan->cache;
    if (!needs->size)
        return 1;
    return at_most("the number of layers", needs->layers, "axis 1 of kv_cache",
                   length(kv_cache, 1)) &&
           expect_length("kv_cache", kv_cache, 2, needs->keys_and_values) &&
           expect_length("kv_cache", kv_cache, 3, needs->kv_heads) &&
           expect_length("kv_cache", kv_cache, 5, needs->size) &&
           (!masks || at_most("the number of masks", needs->masks, "axis 0 of attention_masks",
                              length(masks, 0)));
}

static int expect_window(const Py_buffer *window)
{
    if (window->strides[1] == window->itemsize && window->strides[0] % window->itemsize == 0)
        return 1;
    PyErr_SetString(PyExc_ValueError, "window: expected rows of contiguous ids");
    return 0;
}

/* Each row holds its new tokens, and fits the window. */
static int expect_times(const struct step *step)
{
    for (size_t row = 0; step->times && row < step->batch; row++)
        if (step->times[row] < 0 || (size_t)step->times[row] < step->added ||
            (size_t)step->times[row] > step->time) {
            PyErr_Format(PyExc_ValueError, "times: row %zu has %lld tokens, expected %zu to %zu",
                         row, (long long)step->times[row], step->added, step->time);
            return 0;
        }
    return 1;
}

static int expect_step(const struct plan *plan, const struct step *step)
{
    return at_most("the number of new tokens", step->added, "the length of the window",
                   step->time) &&
           at_most("the length of the window", step->time, "axis 4 of kv_cache", step->context) &&
           at_most("the length of the window", step->time, "the number of positions",
                   plan->positions);
}

/* The arrays of a step: NULL for `masks` where all tokens are visible, for `times` where all rows
 * are as long as the window. */
struct step_arrays {
    Py_buffer *window, *kv_cache, *masks, *outputs, *times;
};

static int get_step_arrays(struct call *call, PyObject *const *args, PyObject *times,
                           struct step_arrays *arrays)
{
    arrays->masks = arrays->times = NULL;
    return (arrays->window = get_array(call, args[0], "window", INT64, 2, PyBUF_STRIDES)) &&
           (arrays->kv_cache = get_array(call, args[1], "kv_cache", FLOAT32, 6, WRITE)) &&
           (args[2] == Py_None ||
            (arrays->masks = get_array(call, args[2], "attention_masks", BOOL, 4, READ))) &&
           (arrays->outputs = get_array(call, args[3], "outputs", FLOAT32, 3, WRITE)) &&
           (times == Py_None || (arrays->times = get_array(call, times, "times", INT64, 1, READ)));
}

/* The arrays have to agree with each other and with the widths of the plan. */
static int expect_shapes(const struct plan *plan, const struct step_arrays *arrays)
{
    const Py_buffer *masks = arrays->masks, *times = arrays->times;
    size_t batch = length(arrays->window, 0), time = length(arrays->window, 1);
    return expect_window(arrays->window) && (!times || expect_length("times", times, 0, batch)) &&
           expect_length("kv_cache", arrays->kv_cache, 0, batch) &&
           expect_length("outputs", arrays->outputs, 0, batch) &&
           expect_length("outputs", arrays->outputs, 2, plan->head.widths[0]) &&
           (!masks || (expect_length("attention_masks", masks, 1, batch) &&
                       expect_length("attention_masks", masks, 2, length(arrays->outputs, 1)) &&
                       expect_length("attention_masks", masks, 3, time)));
}

static struct step new_step(const struct step_arrays *arrays)
{
    const Py_buffer *window = arrays->window, *kv_cache = arrays->kv_cache;
    return (struct step){
        .window = window->buf, .window_row = window->strides[0] / window->itemsize,
        .kv_cache = kv_cache->buf, .attention_masks = arrays->masks ? arrays->masks->buf : NULL,
        .times = arrays->times ? arrays->times->buf : NULL,
        .batch = length(window, 0), .added = length(arrays->outputs, 1),
        .time = length(window, 1), .layers = length(kv_cache, 1),
        .keys_and_values = length(kv_cache, 2), .kv_heads = length(kv_cache, 3),
        .context = length(kv_cache, 4), .size = length(kv_cache, 5),
    };
}

const struct plan *get_plan(PyObject *capsule)
{
    if (PyCapsule_IsValid(capsule, PLAN_NAME))
        return PyCapsule_GetPointer(capsule, PLAN_NAME);
    return (void)PyErr_Format(PyExc_TypeError, "plan: expected what plan() returned, got %R",
                              (PyObject *)Py_TYPE(capsule)),
           NULL;
}

int get_step(struct call *call, PyObject *const *args, PyObject *times, const struct plan *plan,
             struct step *step, float **outputs)
{
    struct step_arrays arrays;
    if (!get_step_arrays(call, args, times, &arrays) || !expect_shapes(plan, &arrays))
        return 0;
    *step = new_step(&arrays), *outputs = arrays.outputs->buf;
    return expect_step(plan, step) && expect_times(step) &&
           expect_cache(plan, arrays.kv_cache, arrays.masks);
}

/* (plan, window, kv_cache, attention_masks, outputs, logits, times): the outputs of all new tokens,
 * the logits after the last ones */
static int read_run(struct run *run, PyObject *const *args, Py_ssize_t count)
{
    if (count != STEP_ARGUMENTS + 1 && !expect_arguments("run", count, STEP_ARGUMENTS))
        return 0;
    PyObject *times = count > STEP_ARGUMENTS ? args[STEP_ARGUMENTS] : Py_None;
    run->plan = get_plan(args[0]), run->capsule = args[0];
    if (!run->plan || !get_step(&run->call, args + 1, times, run->plan, &run->step, &run->outputs))
        return 0;
    const Py_buffer *logits = get_array(&run->call, args[5], "logits", FLOAT32, 3, WRITE);
    if (!logits || !expect_length("logits", logits, 0, run->step.batch) ||
        !expect_length("logits", logits, 2, result_width(&run->plan->head)))
        return 0;
    run->logits = logits->buf, run->logit_tokens = length(logits, 1);
    return at_most("the number of logits wanted in a row", run->logit_tokens,
                   "that of new tokens", run->step.added);
}

static PyObject *return_run(struct run *run)
{
    if (run->status == INVALID) {
        PyErr_SetString(PyExc_ValueError, "window: a token is not in the vocabulary");
        return fail(&run->call);
    }
    return return_none(&run->call, run->status);
}

/* (plan, window, kv_cache, attention_masks, outputs, logits, times or nothing) */
PyObject *py_run(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    struct run run = {.status = OK};
    if (!read_run(&run, args, count))
        return fail(&run.call);
    Py_BEGIN_ALLOW_THREADS
    run_plan(&run);
    Py_END_ALLOW_THREADS
    return return_run(&run);
}

/* A run that nobody waited for is dropped. If a worker has started it, its arrays have to stay
 * until it is done: other Python threads go on meanwhile. */
static void free_run_capsule(PyObject *capsule)
{
    struct run *run = PyCapsule_GetPointer(capsule, RUN_NAME);
    if (!run->waited) {
        Py_BEGIN_ALLOW_THREADS
        async_cancel(&run->task);
        Py_END_ALLOW_THREADS
    }
    release(&run->call);
    Py_DecRef(run->capsule);
    free(run);
}

/* The arguments of `run`. A worker starts in the background; until `wait` returns, the arrays
 * hold nothing of use and must not be changed. */
PyObject *py_begin(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    struct run *run = calloc(1, sizeof *run);
    if (!run)
        return PyErr_NoMemory();
    PyObject *capsule = NULL;
    if (read_run(run, args, count))
        capsule = PyCapsule_New(run, RUN_NAME, free_run_capsule);
    if (!capsule) {
        release(&run->call);
        free(run);
        return NULL;
    }
    Py_IncRef(run->capsule); /* the caller may drop the plan before the run is done */
    run->task.run = run_plan, run->task.job = run;
    async_submit(&run->task);
    return capsule;
}

/* (what `begin` returned) */
PyObject *py_wait(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    if (!expect_arguments("wait", count, 1))
        return NULL;
    if (!PyCapsule_IsValid(args[0], RUN_NAME))
        return PyErr_Format(PyExc_TypeError, "run: expected what begin() returned, got %R",
                            (PyObject *)Py_TYPE(args[0]));
    struct run *run = PyCapsule_GetPointer(args[0], RUN_NAME);
    if (atomic_exchange(&run->waited, 1)) /* another thread may ask for the same run */
        return PyErr_Format(PyExc_ValueError, "run: has been waited for already");
    Py_BEGIN_ALLOW_THREADS
    async_wait(&run->task);
    Py_END_ALLOW_THREADS
    return return_run(run);
}
