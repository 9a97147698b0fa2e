/* A chain of corelm's samplers, without Python: from rows of logits to tokens in one call.
 *
 *     char error[CORELM_ERROR_ROOM];
 *     corelm_chain *chain = corelm_chain_read(text, length, error);
 *     corelm_stream stream;
 *     corelm_stream_start(&stream, seed, 0, 0);
 *     double uniform = corelm_stream_next(&stream);
 *     int64_t token;
 *     corelm_chain_draw(chain, logits, 1, &uniform, &(struct corelm_draws){.tokens = &token});
 *     corelm_chain_free(chain);
 *
 * Tokens, surprisals and logits have the bits that corelm's in Python have, on every platform. A
 * chain is used by one thread at a time; different chains by different ones.
 */
#ifndef CORELM_CHAIN_H
#define CORELM_CHAIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32)
#define CORELM_API __declspec(dllexport)
#else
#define CORELM_API __attribute__((visibility("default")))
#endif

enum { CORELM_ERROR_ROOM = 200 }; /* bytes for the reason of a failure */

typedef struct corelm_chain corelm_chain;

/* Return a chain without stages, for rows of this many logits; NULL where memory runs out, the size
 * is not from 1 to 2^31 - 2, or the processor has too few instructions (AVX2 on x86-64). */
CORELM_API corelm_chain *corelm_chain_new(size_t vocabulary);

/* Return the chain that `corelm.interop.chain_text` has written, which need not end with a zero;
 * NULL, with the reason in `error`, where the text is anything else. */
CORELM_API corelm_chain *corelm_chain_read(const char *text, size_t length,
                                           char error[CORELM_ERROR_ROOM]);

/* Return a chain with the same stages and text; NULL where memory runs out. */
CORELM_API corelm_chain *corelm_chain_clone(const corelm_chain *);

/* Free a chain, or do nothing with NULL. */
CORELM_API void corelm_chain_free(corelm_chain *);

/* Append a stage: the name of a kernel that kernels.def calls STAGE, its numbers in their order, and
 * the ids that its list has, which are copied (NULL and 0 where it has none). Returns 0, with the
 * reason in corelm_chain_error, where it is none. A number outside the kernel's range gives logits
 * without a meaning. */
CORELM_API int corelm_chain_add(corelm_chain *, const char *kernel, const double *numbers,
                                size_t number_count, const int64_t *ids, size_t id_count);

/* Append a stage that adds a bias to the logits of tokens; ids outside the vocabulary are left out.
 * Returns 0, with the reason in corelm_chain_error, where memory runs out or the chain is full. */
CORELM_API int corelm_chain_bias(corelm_chain *, const int64_t *ids, const double *biases,
                                 size_t count);

/* Append a penalty on the tokens of the text: those above 0 are divided, others multiplied, by
 * `divide`, less `once`, and less `each` for each time that they occur. `last`: how many of the last
 * tokens count, 0 for all; skip_prompt: only those that were drawn. Returns 0, with the reason in
 * corelm_chain_error, where a number is none that changes logits. */
CORELM_API int corelm_chain_penalty(corelm_chain *, double divide, double once, double each,
                                    size_t last, int skip_prompt);

/* Never draw these tokens, instead of those named before. Returns 0, with the reason in
 * corelm_chain_error, where one is not in the vocabulary. */
CORELM_API int corelm_chain_never(corelm_chain *, const int64_t *tokens, size_t count);

/* The token that comes before texts and is no part of them; none by default. */
CORELM_API void corelm_chain_start_token(corelm_chain *, int64_t token);

/* Append a token to the text that the penalties read, which all rows of a draw have; one that was
 * not drawn makes the text so far a prompt. Returns 0 where memory runs out. */
CORELM_API int corelm_chain_accept(corelm_chain *, int64_t token, int is_drawn);

/* Forget the text. */
CORELM_API void corelm_chain_reset(corelm_chain *);

/* The number of logits in a row. */
CORELM_API size_t corelm_chain_vocabulary(const corelm_chain *);

/* Why the last function returned 0, in English. */
CORELM_API const char *corelm_chain_error(const corelm_chain *);

/* What to return for each row; NULL for what isn't wanted. */
struct corelm_draws {
    int64_t *tokens;    /* (rows); -1 where a row, or what a stage made of it, is no distribution */
    double *surprisals; /* (rows) nats, of the token; nan there */
    double *entropies;  /* (rows) nats, of the distribution drawn from; nan there */
    float *logits;      /* (rows, vocabulary), drawn from; without a meaning there */
};

/* Apply the stages to rows of logits, and draw a token of each by its uniform number in [0, 1).
 * Returns 1; 0 where a row is no distribution (nan, plus infinity, nothing but minus infinity) or
 * memory runs out, with the reason in corelm_chain_error. */
CORELM_API int corelm_chain_draw(corelm_chain *, const float *logits, size_t rows,
                                 const double *uniforms, const struct corelm_draws *);

/* The random numbers of a text, those of corelm.RandomStream(seed, [sample], prompt). */
typedef struct corelm_stream {
    uint64_t state[2], increment[2]; /* of a PCG64, the upper half first */
} corelm_stream;

/* Start a stream: sample 0 is the first text of a seed and a prompt, prompt 0 the first prompt. */
CORELM_API void corelm_stream_start(corelm_stream *, uint64_t seed, uint64_t sample,
                                    uint64_t prompt);

/* The next number in [0, 1). */
CORELM_API double corelm_stream_next(corelm_stream *);

#ifdef __cplusplus
}
#endif

#endif
