/* The text that a chain's penalties read, and the penalties. */
#ifndef CORELM_HISTORY_H
#define CORELM_HISTORY_H

#include "kernels.h"

struct history {
    int64_t *tokens, start; /* start: the token that is no part of a text where it is first */
    size_t count, room, prompt;
    int has_begun; /* also where the start token is all so far */
};

/* Append a token; 0 where memory runs out. One that was not drawn makes the text so far a prompt. */
int append_token(struct history *, int64_t token, int is_drawn);

/* Make an empty history a copy of another; 0 where memory runs out. */
int copy_history(struct history *, const struct history *);

/* Tokens of the text are divided by `divide` as `change_tokens` does, less `once` and less `each` for
 * each time that they occur. */
struct penalty {
    double divide, once, each;
    size_t last;     /* how many of the last tokens count, 0: all */
    int skip_prompt; /* only drawn tokens count */
    double *less;    /* of each of these tokens */
    size_t room;
    uint32_t *counts; /* of each token of the vocabulary: zeros between two calls */
};

/* Fill the arguments of a kernel for the text so far; 0 where memory runs out. */
int fill_penalty(struct penalty *, const struct history *, size_t vocabulary,
                 struct change_tokens_args *);

#endif
