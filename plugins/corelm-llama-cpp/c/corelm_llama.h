/* A chain of corelm's samplers as a llama_sampler, without Python. */
#ifndef CORELM_LLAMA_H
#define CORELM_LLAMA_H

#include "corelm_chain.h"
#include "llama.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Return a sampler that draws, the last of a chain or all of it; NULL, with the reason in `error`,
 * where the text is no chain. llama_sampler_free, or its chain, frees it.
 *
 * Its tokens are those of corelm with the same seed and number of the sample: each accepted token
 * that it has drawn takes the next random number, and any other token begins a text.
 *
 * text: what corelm.interop.chain_text has written, `length` bytes of it. */
CORELM_API struct llama_sampler *corelm_llama_init(const char *text, size_t length, uint64_t seed,
                                                   uint64_t sample, char error[CORELM_ERROR_ROOM]);

/* Draw and accept the next token, as llama_sampler_sample does with this sampler alone, from the
 * logits where llama.cpp has them, without a list of candidates. Returns LLAMA_TOKEN_NULL where they
 * are no distribution, or not as many as the chain is for. */
CORELM_API llama_token corelm_llama_sample(struct llama_sampler *, struct llama_context *,
                                           int32_t index);

/* Why the sampler could not draw since it was made or reset, in English; "" where it could. In a
 * chain it then takes the first candidate, because llama.cpp needs one. */
CORELM_API const char *corelm_llama_error(const struct llama_sampler *);

#ifdef __cplusplus
}
#endif

#endif
