/* Stages by name: what a caller passes for a kernel's arguments, and the struct made of it. */
#ifndef CORELM_STAGES_H
#define CORELM_STAGES_H

#include "kernels.h"

enum { MAX_PARAMETERS = 8, ERROR_ROOM = 200 };

/* A parameter: a number, or a list of ids, of numbers or of flags, which the stage refers to. */
struct parameter {
    double number;
    const int64_t *ids;
    const double *numbers;
    const uint8_t *flags;
    size_t count;
};

/* Whether rows are those of a batch, and rising. */
int are_rising_rows(const int64_t *rows, size_t count, size_t batch);

/* Fill a stage for these logits, which must not be moved afterwards. Returns 0, with the reason in
 * `error`, where no stage has the name or its parameters are others. */
int read_stage(struct stage *, const char *name, const struct parameter *, size_t count,
               const struct logits *, char error[ERROR_ROOM]);

#endif
