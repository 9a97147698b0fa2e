/* Row kernels as Python functions: (logits, parameters, ..., out). Made from kernels.def. */
#include "args.h"
#include "../stages.h"

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

/* Numbers that have nothing to do with the rows; `count` becomes how many there are. */
void *get_list(struct call *call, PyObject *object, const char *name, enum element element,
               size_t *count)
{
    Py_buffer *view = get_array(call, object, name, element, 1, READ);
    if (!view)
        return NULL;
    *count = length(view, 0);
    return view->buf;
}

/* Returns a float for all rows, or an array of one number for each; NULL if it is neither. `each`
 * becomes the step from one row to the next, 0 or 1. */
static const double *get_numbers(struct call *call, PyObject *object, const char *name,
                                 const struct logits *logits, double *number, size_t *each)
{
    *each = !PyFloat_Check(object);
    if (*each)
        return get_shaped(call, object, name, FLOAT64, READ, LENGTHS(logits->batch));
    return get_double(object, name, number) ? number : NULL;
}

static int get_count(PyObject *object, const char *name, size_t *count)
{
    Py_ssize_t number = PyLong_AsSsize_t(object);
    if (PyErr_Occurred())
        return 0;
    if (number < 1)
        PyErr_Format(PyExc_ValueError, "%s: expected at least 1, got %zd", name, number);
    *count = (size_t)number;
    return number >= 1;
}

int expect_ids(const char *name, const int64_t *tokens, size_t count,
               const struct logits *logits)
{
    for (size_t i = 0; i < count; i++)
        if (tokens[i] < 0 || (uint64_t)tokens[i] >= logits->vocabulary) {
            PyErr_Format(PyExc_ValueError, "%s: expected ids from 0 to %zu, got %lld", name,
                         logits->vocabulary - 1, (long long)tokens[i]);
            return 0;
        }
    return 1;
}

/* Rows, one for each of `count` items, or how many of them each row has: see OWNERS. */
static int get_owners(struct call *call, PyObject *object, const char *name, size_t count,
                      const struct logits *logits, const int64_t **rows, size_t *each)
{
    size_t length = 0;
    *rows = NULL, *each = 0;
    if (PyLong_Check(object)) {
        *each = PyLong_AsSize_t(object);
        if (PyErr_Occurred())
            return 0;
        if (!*each || (logits->batch && count % logits->batch == 0 && count / logits->batch == *each) ||
            (!logits->batch && !count))
            return 1;
    } else {
        if (!(*rows = get_list(call, object, name, INT64, &length)))
            return 0;
        if (length == count && are_rising_rows(*rows, count, logits->batch))
            return 1;
    }
    PyErr_Format(PyExc_ValueError, "%s: expected rising rows, or as many ids in each row", name);
    return 0;
}

/* A float for all, or an array of `count` numbers; `each` becomes the step from one to the next. */
static const double *get_number_or_list(struct call *call, PyObject *object, const char *name,
                                        size_t count, double *number, size_t *each)
{
    size_t length = count;
    *each = !PyFloat_Check(object);
    if (!*each)
        return get_double(object, name, number) ? number : NULL;
    const double *numbers = get_list(call, object, name, FLOAT64, &length);
    if (numbers && length != count)
        return (void)PyErr_Format(PyExc_ValueError, "%s has length %zu, expected %zu", name, length,
                                  count),
               NULL;
    return numbers;
}

/* Below 0, or nan, no exponent of `exp_nonpositive` would be in its range. */
static int expect_positive(const char *name, const double *numbers, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!(numbers[i] > 0)) {
            PyErr_Format(PyExc_ValueError, "%s: expected numbers above 0", name);
            return 0;
        }
    return 1;
}

/* The kernel looks up the likeliest token of each row of the model. */
static int expect_argmax(const char *name, const double *stats, const struct logits *logits)
{
    for (size_t i = 0; i < logits->batch; i++) {
        double token = stats[i * MODEL_COLUMNS + MODEL_ARGMAX];
        if (!(token >= 0 && token < (double)logits->vocabulary)) {
            PyErr_Format(PyExc_ValueError,
                         "%s: row %zu: the likeliest token is not in the vocabulary", name, i);
            return 0;
        }
    }
    return 1;
}

/* How many arguments each kernel has: its logits and each ARG of its line. */
#define ARG(kind, ...) +1
#define ROW_KERNEL(name, result, arguments) enum { name##_ARGUMENTS = 1 arguments };
#include "../kernels.def"

/* Take the next argument into the field x of `job`; 0 with an exception if it doesn't fit. */
#define READ_SHAPED(x, element, flags, ...)                                                       \
    (job->x = get_shaped(call, *args++, #x, element, flags, LENGTHS(__VA_ARGS__)))
#define READ_ROWS(x, element, flags)                                                              \
    READ_SHAPED(x, element, flags, job->logits.batch, job->logits.vocabulary)
#define READ_ROWS_IN(x) READ_ROWS(x, FLOAT32, READ)
#define READ_ROWS_OUT(x) READ_ROWS(x, FLOAT32, WRITE)
#define READ_MASK_IN(x) READ_ROWS(x, BOOL, READ)
#define READ_COLUMN(x, element, flags) READ_SHAPED(x, element, flags, job->logits.batch)
#define READ_DOUBLES_IN(x) READ_COLUMN(x, FLOAT64, READ)
#define READ_DOUBLES_OUT(x) READ_COLUMN(x, FLOAT64, WRITE)
#define READ_DOUBLES_OUT_OR_NONE(x) ((*args == Py_None && args++) || READ_DOUBLES_OUT(x))
#define READ_IDS_OUT(x) READ_COLUMN(x, INT64, WRITE)
#define READ_FLAGS_OUT(x) READ_COLUMN(x, BOOL, WRITE)
#define READ_TOKENS_IN(x)                                                                         \
    (READ_COLUMN(x, INT64, READ) && expect_ids(#x, job->x, job->logits.batch, &job->logits))
#define READ_ID_LIST(name, x, count)                                                              \
    (job->x = get_list(call, *args++, name, INT64, &job->count))
#define READ_TOKEN_LIST(x, count)                                                                 \
    (READ_ID_LIST(#x, x, count) && expect_ids(#x, job->x, job->count, &job->logits))
#define READ_OWNERS(x, list, count)                                                               \
    (job->x##_row = 0, get_owners(call, *args++, #x, job->count, &job->logits, &job->x,           \
                                  &job->x##_each))
#define READ_NUMBER_OR_LIST(x, count)                                                             \
    (job->x = get_number_or_list(call, *args++, #x, job->count, &job->x##_of_all, &job->x##_each))
#define READ_POSITIVE_LIST(x, count)                                                              \
    ((job->x = get_list(call, *args++, #x, FLOAT64, &job->count)) &&                               \
     expect_positive(#x, job->x, job->count))
#define READ_NUMBER(x) get_double(*args++, #x, &job->x)
#define READ_NUMBER_OR_DOUBLES(x)                                                                 \
    (job->x = get_numbers(call, *args++, #x, &job->logits, &job->x##_of_all, &job->x##_row))
#define READ_COUNT(x) get_count(*args++, #x, &job->x)
#define READ_STAGES(x, count) get_stages(call, *args++, #x, &job->logits, job->x, &job->count)
#define READ_MODEL_STATS(x)                                                                       \
    (READ_SHAPED(x, FLOAT64, READ, job->logits.batch, MODEL_COLUMNS) &&                            \
     expect_argmax(#x, job->x, &job->logits))
#define READ_TABLE_OUT(x, columns) READ_SHAPED(x, FLOAT64, WRITE, job->logits.batch, columns)
#define READ_TABLES_OUT(x, rows, columns)                                                         \
    READ_SHAPED(x, FLOAT64, WRITE, job->logits.batch, job->rows, columns)


/* Whether an argument was an array of another type, which is forgotten then. */
static int was_other_type(struct call *call, int arrays)
{
    if (!PyErr_ExceptionMatches(PyExc_TypeError))
        return 0;
    PyErr_Clear();
    while (call->count > arrays)
        PyBuffer_Release(&call->views[--call->count]);
    return 1;
}

/* A number, (count) of int64 or float64, or (batch, vocabulary) of bool. */
static int get_parameter(struct call *call, PyObject *object, const char *name,
                         struct parameter *parameter)
{
    const int arrays = call->count;
    *parameter = (struct parameter){0};
    if (PyFloat_Check(object) || PyLong_Check(object))
        return get_double(object, name, &parameter->number);
    if ((parameter->ids = get_list(call, object, name, INT64, &parameter->count)))
        return 1;
    if (!was_other_type(call, arrays))
        return 0;
    if ((parameter->numbers = get_list(call, object, name, FLOAT64, &parameter->count)))
        return 1;
    if (!was_other_type(call, arrays))
        return 0;
    Py_buffer *view = get_array(call, object, name, BOOL, 2, READ);
    if (!view)
        return 0;
    parameter->flags = view->buf, parameter->count = length(view, 0) * length(view, 1);
    return 1;
}

/* A tuple of a kernel's name and its parameters. */
static int get_stage(struct call *call, PyObject *tuple, const char *name,
                     const struct logits *logits, struct stage *stage)
{
    struct parameter parameters[MAX_PARAMETERS];
    char error[ERROR_ROOM];
    Py_ssize_t count = PyTuple_Check(tuple) ? PyTuple_Size(tuple) - 1 : -1;
    PyObject *kernel = count < 0 || count > MAX_PARAMETERS ? NULL : PyTuple_GetItem(tuple, 0);
    if (!kernel || !PyUnicode_Check(kernel))
        return PyErr_Format(PyExc_ValueError, "%s: expected a stage, got %R", name, tuple), 0;
    for (Py_ssize_t i = 0; i < count; i++)
        if (!get_parameter(call, PyTuple_GetItem(tuple, i + 1), name, parameters + i))
            return 0;
    const char *text = PyUnicode_AsUTF8AndSize(kernel, NULL);
    if (!text)
        return 0;
    if (!read_stage(stage, text, parameters, (size_t)count, logits, error))
        return PyErr_Format(PyExc_ValueError, "%s: %s", name, error), 0;
    return 1;
}

int get_stages(struct call *call, PyObject *object, const char *name,
               const struct logits *logits, struct stage *stages, size_t *count)
{
    Py_ssize_t length = PyTuple_Check(object) ? PyTuple_Size(object) : -1;
    if (length < 0 || length > MOST_STAGES)
        return PyErr_Format(PyExc_ValueError, "%s: expected a tuple of at most %d stages, got %R",
                            name, (int)MOST_STAGES, object),
               0;
    *count = (size_t)length;
    for (Py_ssize_t i = 0; i < length; i++)
        if (!get_stage(call, PyTuple_GetItem(object, i), name, logits, stages + i))
            return 0;
    return 1;
}

/* The functions that Python calls: read all arguments, then run the kernel. */
#define ARG(kind, ...) && READ_##kind(__VA_ARGS__)
#define ROW_KERNEL(name, result, arguments)                                                       \
    PyObject *py_##name(PyObject *self, PyObject *const *args, Py_ssize_t count)                  \
    {                                                                                             \
        (void)self;                                                                               \
        struct call *const call = &(struct call){.count = 0};                                     \
        struct name##_args *const job = &(struct name##_args){.logits = {NULL, 0, 0}};            \
        if (!expect_arguments(#name, count, name##_ARGUMENTS) ||                                  \
            !(get_logits(call, *args++, &job->logits) arguments))                                 \
            return fail(call);                                                                    \
        enum status status;                                                                       \
        RUN_KERNEL(status, name, job);                                                            \
        return result(call, status);                                                             \
    }
#include "../kernels.def"
