#include "stages.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static int refuse(char *error, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    vsnprintf(error, ERROR_ROOM, format, values);
    va_end(values);
    return 0;
}

static int take_number(const struct parameter *parameter, const char *name, double *number,
                       char *error)
{
    if (parameter->ids || parameter->numbers || parameter->flags)
        return refuse(error, "%s: expected a number, got a list", name);
    *number = parameter->number;
    return 1;
}

static int take_count(const struct parameter *parameter, const char *name, size_t *count,
                      char *error)
{
    double number = 0;
    if (!take_number(parameter, name, &number, error))
        return 0;
    if (!(number >= 1 && number <= INT32_MAX && number == floor(number)))
        return refuse(error, "%s: expected a whole number from 1 to %d, got %g", name,
                      (int)INT32_MAX, number);
    *count = (size_t)number;
    return 1;
}

static int take_ids(const struct parameter *parameter, const char *name, const int64_t **ids,
                    size_t *count, char *error)
{
    if (!parameter->ids)
        return refuse(error, "%s: expected a list of ids", name);
    *ids = parameter->ids, *count = parameter->count;
    return 1;
}

int are_rising_rows(const int64_t *rows, size_t count, size_t batch)
{
    for (size_t i = 0; i < count; i++)
        if (rows[i] < (i ? rows[i - 1] : 0) || (uint64_t)rows[i] >= batch)
            return 0;
    return 1;
}

static int take_owners(const struct parameter *parameter, const char *name, const int64_t **rows,
                       size_t *each, size_t count, size_t batch, char *error)
{
    double number = 0;
    *rows = parameter->ids, *each = 0;
    if (*rows)
        return (parameter->count == count && are_rising_rows(*rows, count, batch)) ||
               refuse(error, "%s: expected a row for each id, rising", name);
    if (!take_number(parameter, name, &number, error))
        return 0;
    if (number != 0 && !(number > 0 && number * (double)batch == (double)count))
        return refuse(error, "%s: expected as many ids in each row", name);
    *each = (size_t)number;
    return 1;
}

static int take_list(const struct parameter *parameter, const char *name, const double **numbers,
                     size_t count, char *error)
{
    *numbers = parameter->numbers;
    return parameter->count == count ||
           refuse(error, "%s: expected %zu numbers, got %zu", name, count, parameter->count);
}

static int take_mask(const struct parameter *parameter, const char *name, const uint8_t **flags,
                     const struct logits *logits, char *error)
{
    *flags = parameter->flags;
    return (*flags && parameter->count == logits->batch * logits->vocabulary) ||
           refuse(error, "%s: expected a flag for each logit", name);
}

/* The parameters of a stage: its kernel's arguments, without the logits and the result. */
#define ARG(kind, ...) +1
#define STAGE(name, arguments) enum { name##_PARAMETERS = 0 arguments };
#include "kernels.def"

#define TAKE_NUMBER(x) take_number(next++, #x, &args->x, error)
#define TAKE_NUMBER_OR_DOUBLES(x)                                                                 \
    (args->x##_row = next->numbers != NULL, args->x = &args->x##_of_all,                          \
     args->x##_row ? take_list(next++, #x, &args->x, logits->batch, error)                        \
                   : take_number(next++, #x, &args->x##_of_all, error))
#define TAKE_NUMBER_OR_LIST(x, count)                                                             \
    (args->x##_each = next->numbers != NULL, args->x = &args->x##_of_all,                         \
     args->x##_each ? take_list(next++, #x, &args->x, args->count, error)                         \
                    : take_number(next++, #x, &args->x##_of_all, error))
#define TAKE_OWNERS(x, list, count)                                                               \
    (args->x##_row = 0, take_owners(next++, #x, &args->x, &args->x##_each, args->count,           \
                                    logits->batch, error))
#define TAKE_COUNT(x) take_count(next++, #x, &args->x, error)
#define TAKE_MASK_IN(x) take_mask(next++, #x, &args->x, logits, error)
#define TAKE_ID_LIST(name, x, count) take_ids(next++, name, &args->x, &args->count, error)

#define ARG(kind, ...) && TAKE_##kind(__VA_ARGS__)
#define STAGE(name, arguments)                                                                    \
    static int read_##name(struct name##_args *args, const struct parameter *next,                \
                           const struct logits *logits, char *error)                              \
    {                                                                                             \
        (void)args, (void)next, (void)logits, (void)error;                                                    \
        return 1 arguments;                                                                       \
    }
#include "kernels.def"

int read_stage(struct stage *stage, const char *name, const struct parameter *parameters,
               size_t count, const struct logits *logits, char error[ERROR_ROOM])
{
#define STAGE(name_, arguments)                                                                   \
    if (strcmp(name, #name_) == 0) {                                                              \
        stage->kernel = STAGE_##name_;                                                            \
        if (count != name_##_PARAMETERS)                                                          \
            return refuse(error, "%s: expected %d parameters, got %zu", name,                     \
                          (int)name_##_PARAMETERS, count);                                        \
        return read_##name_(&stage->name_, parameters, logits, error);                            \
    }
#include "kernels.def"
    return refuse(error, "expected the name of a stage, got '%.60s'", name);
}
