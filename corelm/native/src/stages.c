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
    if (parameter->is_list)
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
    if (!parameter->is_list)
        return refuse(error, "%s: expected a list of ids, got a number", name);
    *ids = parameter->ids, *count = parameter->count;
    return 1;
}

/* The parameters of a stage: its kernel's arguments, without the logits and the result. */
#define ARG(kind, ...) +1
#define STAGE(name, arguments) enum { name##_PARAMETERS = 0 arguments };
#include "kernels.def"

#define TAKE_NUMBER(x) take_number(next++, #x, &args->x, error)
#define TAKE_NUMBER_OR_DOUBLES(x)                                                                 \
    (args->x##_row = 0, args->x = &args->x##_of_all,                                              \
     take_number(next++, #x, &args->x##_of_all, error))
#define TAKE_COUNT(x) take_count(next++, #x, &args->x, error)
#define TAKE_ID_LIST(name, x, count) take_ids(next++, name, &args->x, &args->count, error)

#define ARG(kind, ...) && TAKE_##kind(__VA_ARGS__)
#define STAGE(name, arguments)                                                                    \
    static int read_##name(struct name##_args *args, const struct parameter *next, char *error)   \
    {                                                                                             \
        (void)args, (void)next, (void)error;                                                      \
        return 1 arguments;                                                                       \
    }
#include "kernels.def"

int read_stage(struct stage *stage, const char *name, const struct parameter *parameters,
               size_t count, char error[ERROR_ROOM])
{
#define STAGE(name_, arguments)                                                                   \
    if (strcmp(name, #name_) == 0) {                                                              \
        stage->kernel = STAGE_##name_;                                                            \
        if (count != name_##_PARAMETERS)                                                          \
            return refuse(error, "%s: expected %d parameters, got %zu", name,                     \
                          (int)name_##_PARAMETERS, count);                                        \
        return read_##name_(&stage->name_, parameters, error);                                    \
    }
#include "kernels.def"
    return refuse(error, "expected the name of a stage, got '%.60s'", name);
}

const char *stage_name(const struct stage *stage)
{
    static const char *const names[] = {
#define STAGE(name, arguments) #name,
#include "kernels.def"
    };
    return names[stage->kernel];
}
