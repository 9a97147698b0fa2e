/* Row kernels as Python functions: (logits, parameters, ..., out). */
#include "args.h"

/* (batch, vocabulary); token numbers are 32 bits wide inside the kernels. */
static int get_logits(struct call *call, PyObject *object, struct logits *logits)
{
    Py_buffer *view = get_array(call, object, "logits", FLOAT32, 2, READ);
    if (!view)
        return 0;
    *logits = (struct logits){view->buf, length(view, 0), length(view, 1)};
    if (logits->vocabulary && logits->vocabulary < INT32_MAX)
        return 1;
    PyErr_Format(PyExc_ValueError, "logits: expected 1 to %d tokens in a row, got %zu",
                 INT32_MAX - 1, logits->vocabulary);
    return 0;
}

static void *get_rows(struct call *call, PyObject *object, const char *name,
                      const struct logits *logits, int flags)
{
    Py_buffer *view = get_array(call, object, name, FLOAT32, 2, flags);
    if (!view || !expect_length(name, view, 0, logits->batch) ||
        !expect_length(name, view, 1, logits->vocabulary))
        return NULL;
    return view->buf;
}

/* One number for each row. */
static void *get_column(struct call *call, PyObject *object, const char *name,
                        enum element element, const struct logits *logits, int flags)
{
    Py_buffer *view = get_array(call, object, name, element, 1, flags);
    return view && expect_length(name, view, 0, logits->batch) ? view->buf : NULL;
}

/* `columns` numbers for each row. */
static void *get_table(struct call *call, PyObject *object, const char *name,
                       const struct logits *logits, size_t columns, int flags)
{
    Py_buffer *view = get_array(call, object, name, FLOAT64, 2, flags);
    if (!view || !expect_length(name, view, 0, logits->batch) ||
        !expect_length(name, view, 1, columns))
        return NULL;
    return view->buf;
}

static int expect_tokens(const int64_t *tokens, size_t count, const struct logits *logits)
{
    for (size_t i = 0; i < count; i++)
        if (tokens[i] < 0 || (uint64_t)tokens[i] >= logits->vocabulary) {
            PyErr_Format(PyExc_ValueError, "tokens: expected ids from 0 to %zu, got %lld",
                         logits->vocabulary - 1, (long long)tokens[i]);
            return 0;
        }
    return 1;
}

/* (logits, tokens, out): whether each row is a distribution, before and after */
PyObject *py_mask_tokens(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    struct call call = {.count = 0};
    struct mask_tokens_args job;
    Py_buffer *tokens;
    if (!expect_arguments("mask_tokens", count, 3) || !get_logits(&call, args[0], &job.logits) ||
        !(tokens = get_array(&call, args[1], "tokens", INT64, 1, READ)) ||
        !expect_tokens(tokens->buf, length(tokens, 0), &job.logits) ||
        !(job.out = get_rows(&call, args[2], "out", &job.logits, WRITE)))
        return fail(&call);
    job.tokens = tokens->buf, job.count = length(tokens, 0);
    enum status status;
    RUN_KERNEL(status, mask_tokens, &job);
    return return_bool(&call, status);
}

/* (logits) */
PyObject *py_rows_are_valid(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    struct call call = {.count = 0};
    struct rows_are_valid_args job;
    if (!expect_arguments("rows_are_valid", count, 1) || !get_logits(&call, args[0], &job.logits))
        return fail(&call);
    enum status status;
    RUN_KERNEL(status, rows_are_valid, &job);
    return return_bool(&call, status);
}

/* Returns a float for all rows, or an array of one number for each; NULL if it is neither. `each`
 * becomes the step from one row to the next, 0 or 1. */
static const double *get_numbers(struct call *call, PyObject *object, const char *name,
                                 const struct logits *logits, double *number, size_t *each)
{
    *each = !PyFloat_Check(object);
    if (*each)
        return get_column(call, object, name, FLOAT64, logits, READ);
    return get_double(object, name, number) ? number : NULL;
}

/* (logits, t, out): t is a float, or an array of one number for each row */
PyObject *py_apply_temperature(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    struct call call = {.count = 0};
    struct apply_temperature_args job;
    double t;
    if (!expect_arguments("apply_temperature", count, 3) ||
        !get_logits(&call, args[0], &job.logits) ||
        !(job.t = get_numbers(&call, args[1], "t", &job.logits, &t, &job.t_row)) ||
        !(job.out = get_rows(&call, args[2], "out", &job.logits, WRITE)))
        return fail(&call);
    enum status status;
    RUN_KERNEL(status, apply_temperature, &job);
    return return_none(&call, status);
}

/* (logits, uniforms, tokens, surprisals): whether each row is a distribution */
PyObject *py_draw(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    struct call call = {.count = 0};
    struct draw_args job;
    const struct logits *logits = &job.logits;
    if (!expect_arguments("draw", count, 4) || !get_logits(&call, args[0], &job.logits) ||
        !(job.uniforms = get_column(&call, args[1], "uniforms", FLOAT64, logits, READ)) ||
        !(job.tokens = get_column(&call, args[2], "tokens", INT64, logits, WRITE)) ||
        !(job.surprisals = get_column(&call, args[3], "surprisals", FLOAT64, logits, WRITE)))
        return fail(&call);
    enum status status;
    RUN_KERNEL(status, draw, &job);
    return return_bool(&call, status);
}

/* (logits, tokens, out) */
PyObject *py_surprisals(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    struct call call = {.count = 0};
    struct surprisals_args job;
    const struct logits *logits = &job.logits;
    if (!expect_arguments("surprisals", count, 3) || !get_logits(&call, args[0], &job.logits) ||
        !(job.tokens = get_column(&call, args[1], "tokens", INT64, logits, READ)) ||
        !expect_tokens(job.tokens, logits->batch, logits) ||
        !(job.out = get_column(&call, args[2], "out", FLOAT64, logits, WRITE)))
        return fail(&call);
    enum status status;
    RUN_KERNEL(status, surprisals, &job);
    return return_none(&call, status);
}

/* (logits, tokens, surprisals, entropy) */
PyObject *py_surprisals_and_entropy(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    struct call call = {.count = 0};
    struct surprisals_and_entropy_args job;
    const struct logits *logits = &job.logits;
    if (!expect_arguments("surprisals_and_entropy", count, 4) ||
        !get_logits(&call, args[0], &job.logits) ||
        !(job.tokens = get_column(&call, args[1], "tokens", INT64, logits, READ)) ||
        !expect_tokens(job.tokens, logits->batch, logits) ||
        !(job.surprisals = get_column(&call, args[2], "surprisals", FLOAT64, logits, WRITE)) ||
        !(job.entropy = get_column(&call, args[3], "entropy", FLOAT64, logits, WRITE)))
        return fail(&call);
    enum status status;
    RUN_KERNEL(status, surprisals_and_entropy, &job);
    return return_none(&call, status);
}

/* (logits, min_entropy, entropy): the last one may be None */
PyObject *py_min_and_shannon_entropy(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    struct call call = {.count = 0};
    struct min_and_shannon_entropy_args job = {.entropy = NULL};
    const struct logits *logits = &job.logits;
    if (!expect_arguments("min_and_shannon_entropy", count, 3) ||
        !get_logits(&call, args[0], &job.logits) ||
        !(job.min_entropy = get_column(&call, args[1], "min_entropy", FLOAT64, logits, WRITE)) ||
        (args[2] != Py_None &&
         !(job.entropy = get_column(&call, args[2], "entropy", FLOAT64, logits, WRITE))))
        return fail(&call);
    enum status status;
    RUN_KERNEL(status, min_and_shannon_entropy, &job);
    return return_none(&call, status);
}

/* (logits, out) */
PyObject *py_greedy(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    struct call call = {.count = 0};
    struct greedy_args job;
    if (!expect_arguments("greedy", count, 2) || !get_logits(&call, args[0], &job.logits) ||
        !(job.out = get_rows(&call, args[1], "out", &job.logits, WRITE)))
        return fail(&call);
    enum status status;
    RUN_KERNEL(status, greedy, &job);
    return return_none(&call, status);
}

/* (logits, nats, out): nats is a float, or an array of one number for each row */
PyObject *py_within_nats(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    struct call call = {.count = 0};
    struct within_nats_args job;
    double nats;
    if (!expect_arguments("within_nats", count, 3) || !get_logits(&call, args[0], &job.logits) ||
        !(job.nats = get_numbers(&call, args[1], "nats", &job.logits, &nats, &job.nats_row)) ||
        !(job.out = get_rows(&call, args[2], "out", &job.logits, WRITE)))
        return fail(&call);
    enum status status;
    RUN_KERNEL(status, within_nats, &job);
    return return_none(&call, status);
}

static int get_k(PyObject *object, size_t *k)
{
    Py_ssize_t number = PyLong_AsSsize_t(object);
    if (PyErr_Occurred())
        return 0;
    if (number < 1)
        PyErr_Format(PyExc_ValueError, "k: expected at least 1, got %zd", number);
    *k = (size_t)number;
    return number >= 1;
}

/* (logits, k, out) */
PyObject *py_top_k(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    struct call call = {.count = 0};
    struct top_k_args job;
    if (!expect_arguments("top_k", count, 3) || !get_logits(&call, args[0], &job.logits) ||
        !get_k(args[1], &job.k) ||
        !(job.out = get_rows(&call, args[2], "out", &job.logits, WRITE)))
        return fail(&call);
    enum status status;
    RUN_KERNEL(status, top_k, &job);
    return return_none(&call, status);
}

/* (logits, p, out) */
PyObject *py_top_p(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    struct call call = {.count = 0};
    struct top_p_args job;
    if (!expect_arguments("top_p", count, 3) || !get_logits(&call, args[0], &job.logits) ||
        !get_double(args[1], "p", &job.p) ||
        !(job.out = get_rows(&call, args[2], "out", &job.logits, WRITE)))
        return fail(&call);
    enum status status;
    RUN_KERNEL(status, top_p, &job);
    return return_none(&call, status);
}

/* (logits, h, out) */
PyObject *py_top_h(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    struct call call = {.count = 0};
    struct top_h_args job;
    if (!expect_arguments("top_h", count, 3) || !get_logits(&call, args[0], &job.logits) ||
        !get_double(args[1], "h", &job.h) ||
        !(job.out = get_rows(&call, args[2], "out", &job.logits, WRITE)))
        return fail(&call);
    enum status status;
    RUN_KERNEL(status, top_h, &job);
    return return_none(&call, status);
}

/* (logits, p, out) */
PyObject *py_typical(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    struct call call = {.count = 0};
    struct typical_args job;
    if (!expect_arguments("typical", count, 3) || !get_logits(&call, args[0], &job.logits) ||
        !get_double(args[1], "p", &job.p) ||
        !(job.out = get_rows(&call, args[2], "out", &job.logits, WRITE)))
        return fail(&call);
    enum status status;
    RUN_KERNEL(status, typical, &job);
    return return_none(&call, status);
}

/* (logits, out) */
PyObject *py_softmax(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    struct call call = {.count = 0};
    struct softmax_args job;
    if (!expect_arguments("softmax", count, 2) || !get_logits(&call, args[0], &job.logits) ||
        !(job.out = get_rows(&call, args[1], "out", &job.logits, WRITE)))
        return fail(&call);
    enum status status;
    RUN_KERNEL(status, softmax, &job);
    return return_none(&call, status);
}

/* (logits, factor, curve, out) */
PyObject *py_quadratic(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    struct call call = {.count = 0};
    struct quadratic_args job;
    if (!expect_arguments("quadratic", count, 4) || !get_logits(&call, args[0], &job.logits) ||
        !get_double(args[1], "factor", &job.factor) ||
        !get_double(args[2], "curve", &job.curve) ||
        !(job.out = get_rows(&call, args[3], "out", &job.logits, WRITE)))
        return fail(&call);
    enum status status;
    RUN_KERNEL(status, quadratic, &job);
    return return_none(&call, status);
}

/* (logits, probability, threshold, protected tokens, out) */
PyObject *py_xtc(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    struct call call = {.count = 0};
    struct xtc_args job;
    Py_buffer *tokens;
    if (!expect_arguments("xtc", count, 5) || !get_logits(&call, args[0], &job.logits) ||
        !get_double(args[1], "probability", &job.probability) ||
        !get_double(args[2], "threshold", &job.threshold) ||
        !(tokens = get_array(&call, args[3], "protected tokens", INT64, 1, READ)) ||
        !(job.out = get_rows(&call, args[4], "out", &job.logits, WRITE)))
        return fail(&call);
    job.protected_tokens = tokens->buf, job.protected_count = length(tokens, 0);
    enum status status;
    RUN_KERNEL(status, xtc, &job);
    return return_none(&call, status);
}

/* (logits, out) */
PyObject *py_logit_std(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    struct call call = {.count = 0};
    struct logit_std_args job;
    if (!expect_arguments("logit_std", count, 2) || !get_logits(&call, args[0], &job.logits) ||
        !(job.out = get_column(&call, args[1], "out", FLOAT64, &job.logits, WRITE)))
        return fail(&call);
    enum status status;
    RUN_KERNEL(status, logit_std, &job);
    return return_none(&call, status);
}

static int expect_argmax(const struct divergence_args *job)
{
    for (size_t i = 0; i < job->logits.batch; i++) {
        double token = job->model_stats[i * MODEL_COLUMNS + MODEL_ARGMAX];
        if (!(token >= 0 && token < (double)job->logits.vocabulary)) {
            PyErr_Format(PyExc_ValueError,
                         "model_stats: row %zu: the likeliest token is not in the vocabulary", i);
            return 0;
        }
    }
    return 1;
}

/* (logits, model, model_stats, tokens, out): whether each row is a distribution over tokens that
 * the model's row has too */
PyObject *py_divergence(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    struct call call = {.count = 0};
    struct divergence_args job;
    const struct logits *logits = &job.logits;
    if (!expect_arguments("divergence", count, 5) || !get_logits(&call, args[0], &job.logits) ||
        !(job.model = get_rows(&call, args[1], "model", logits, READ)) ||
        !(job.model_stats =
              get_table(&call, args[2], "model_stats", logits, MODEL_COLUMNS, READ)) ||
        !(job.tokens = get_column(&call, args[3], "tokens", INT64, logits, READ)) ||
        !(job.out = get_table(&call, args[4], "out", logits, OUT_COLUMNS, WRITE)) ||
        !expect_argmax(&job) || !expect_tokens(job.tokens, logits->batch, logits))
        return fail(&call);
    enum status status;
    RUN_KERNEL(status, divergence, &job);
    return return_bool(&call, status);
}

/* Below 0, or nan, no exponent of `exp_nonpositive` would be in its range. */
static int expect_positive(const double *numbers, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!(numbers[i] > 0)) {
            PyErr_SetString(PyExc_ValueError, "temperatures: expected numbers above 0");
            return 0;
        }
    return 1;
}

/* (logits, temperatures, out) */
PyObject *py_moments(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    struct call call = {.count = 0};
    struct moments_args job;
    Py_buffer *temperatures, *out;
    if (!expect_arguments("moments", count, 3) || !get_logits(&call, args[0], &job.logits) ||
        !(temperatures = get_array(&call, args[1], "temperatures", FLOAT64, 1, READ)) ||
        !expect_positive(temperatures->buf, length(temperatures, 0)) ||
        !(out = get_array(&call, args[2], "out", FLOAT64, 3, WRITE)) ||
        !expect_length("out", out, 0, job.logits.batch) ||
        !expect_length("out", out, 1, length(temperatures, 0)) ||
        !expect_length("out", out, 2, MOMENTS))
        return fail(&call);
    job.temperatures = temperatures->buf, job.count = length(temperatures, 0), job.out = out->buf;
    enum status status;
    RUN_KERNEL(status, moments, &job);
    return return_none(&call, status);
}
