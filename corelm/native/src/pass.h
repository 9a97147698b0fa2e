/* The passes of corelm's own networks, over a window that grows by a token of each row. */
#ifndef CORELM_WINDOW_PASS_H
#define CORELM_WINDOW_PASS_H

#include "corelm_pass.h"
#include "graph.h"

struct window_pass {
    const struct graph *reader, *head; /* from tokens to states, and from there to logits */
    struct step step; /* the next one; each reads one token more */
    int64_t *window;  /* of the steps; has room for the tokens */
    int64_t *times;   /* of the step; NULL where all rows have one length */
    float *states;    /* (batch, width) */
};

/* `next` of `struct corelm_pass`, whose state is a `struct window_pass`. */
int next_of_window(void *state, const int64_t *tokens, float *logits);

#endif
