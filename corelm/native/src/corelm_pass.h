/* A network's passes, for draws of several tokens without Python in between: corelm's own network
 * is one implementation, an engine's another. */
#ifndef CORELM_PASS_H
#define CORELM_PASS_H

#include <stddef.h>
#include <stdint.h>

/* The name of a PyCapsule that holds a `struct corelm_pass`. */
#define CORELM_PASS "corelm.pass"

struct corelm_pass {
    /* Append `tokens`, (batch), which is NULL in the first pass, and write (batch, vocabulary) logits
     * of the next ones. Returns 0 where it fails. Called by one thread at a time, without the
     * interpreter's lock, while the capsule lives. */
    int (*next)(void *state, const int64_t *tokens, float *logits);
    void *state;
    size_t batch, vocabulary;
    size_t count; /* passes at most; 0 once a call has begun to make them */
};

#endif
