/* Stages by name: what a caller passes for a kernel's arguments, and the struct made of it. */
#ifndef CORELM_STAGES_H
#define CORELM_STAGES_H

#include "kernels.h"

enum { MAX_PARAMETERS = 8, ERROR_ROOM = 200 };

/* A parameter: a number, or a list of ids, which the stage refers to. */
struct parameter {
    int is_list;
    double number;
    const int64_t *ids;
    size_t count;
};

/* Fill a stage, which must not be moved afterwards. Returns 0, with the reason in `error`, where no
 * stage has the name or its parameters are others. */
int read_stage(struct stage *, const char *name, const struct parameter *, size_t count,
               char error[ERROR_ROOM]);

/* The name of a stage's kernel. */
const char *stage_name(const struct stage *);

#endif
