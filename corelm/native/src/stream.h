/* The random numbers of a text: those of corelm.RandomStream(seed, [sample], prompt). */
#ifndef CORELM_STREAM_H
#define CORELM_STREAM_H

#include <stddef.h>
#include <stdint.h>

struct stream {
    uint64_t state[2], increment[2]; /* of a PCG64, the upper half first */
};

/* Start a stream: sample 0 is the first text of a seed and a prompt, prompt 0 the first prompt. */
void start_stream(struct stream *, uint64_t seed, uint64_t sample, uint64_t prompt);

/* Return the next number in [0, 1). */
double next_uniform(struct stream *);

#endif
