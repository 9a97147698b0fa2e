/* Several tokens of each text without a word from Python: a pass of a network, the draw, the next
 * pass. */
#ifndef CORELM_AHEAD_H
#define CORELM_AHEAD_H

#include "corelm_pass.h"
#include "kernels.h"

#include <stdatomic.h>

enum { MOST_AHEAD = 8, FIGURES = 3 }; /* tokens of a text; what `sample` measures of each */

struct ahead {
    struct corelm_pass *pass;
    float *logits[MOST_AHEAD];  /* (batch, vocabulary) of each pass */
    float *results[MOST_AHEAD]; /* the same, of the sampler */
    struct sample_args sample;  /* of the first draw, without logits and results */
    double *figures;            /* (FIGURES, count, batch), or NULL */
    const int64_t *stops;       /* tokens after which nothing is drawn */
    size_t stop_count, count;
    /* How many tokens of each text are drawn; whether nobody wants more. */
    atomic_size_t drawn;
    atomic_int is_cancelled;
};

/* Draw `count` tokens of each row, fewer where logits are no distribution or a token is a stop: the
 * job of a task. */
void draw_ahead(void *ahead);

#endif
