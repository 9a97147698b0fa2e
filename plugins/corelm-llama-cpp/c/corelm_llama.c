#include "corelm_llama.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* The state of a sampler. llama.cpp may apply it again before a token is accepted, such as when a
 * grammar refuses the token; it then draws with the same random number. */
struct state {
    corelm_chain *chain;
    corelm_stream stream;
    uint64_t seed, sample;
    int drawn; /* whether the uniform number was used */
    double uniform;
    float *row; /* the logits of the candidates */
    char error[CORELM_ERROR_ROOM];
};

static void begin_text(struct state *state)
{
    corelm_stream_start(&state->stream, state->seed, state->sample, 0);
    state->drawn = 0;
}

static void free_state(struct state *state)
{
    if (!state)
        return;
    corelm_chain_free(state->chain);
    free(state->row);
    free(state);
}

/* Draw a token of a row, -1 where it is no distribution. */
static int64_t draw(struct state *state, const float *row)
{
    int64_t token;
    if (!state->drawn)
        state->uniform = corelm_stream_next(&state->stream);
    state->drawn = 1;
    struct corelm_draws draws = {.tokens = &token};
    if (!corelm_chain_draw(state->chain, row, 1, &state->uniform, &draws))
        snprintf(state->error, sizeof state->error, "%s", corelm_chain_error(state->chain));
    return token;
}

/* Write the logits of the candidates into the row; of most lists, all ids come in their order. */
static void spread(const llama_token_data *data, size_t count, float *row, size_t vocabulary)
{
    size_t i = 0;
    for (; i < count && i < vocabulary && data[i].id == (llama_token)i; i++)
        row[i] = data[i].logit;
    for (size_t k = i; k < vocabulary; k++)
        row[k] = -INFINITY;
    for (; i < count; i++)
        if (data[i].id >= 0 && (size_t)data[i].id < vocabulary)
            row[data[i].id] = data[i].logit;
}

/* The place of a token among the candidates; 0 if there was none to draw. */
static int64_t find(const llama_token_data *data, size_t count, int64_t token)
{
    if (token >= 0 && (size_t)token < count && data[token].id == token)
        return token; /* as in a list of all ids */
    size_t place = 0;
    while (place < count && data[place].id != token)
        place++;
    return place < count ? (int64_t)place : 0;
}

static const char *name(const struct llama_sampler *sampler)
{
    (void)sampler;
    return "corelm";
}

static void apply(struct llama_sampler *sampler, llama_token_data_array *candidates)
{
    struct state *state = sampler->ctx;
    const llama_token_data *data = candidates->data;
    spread(data, candidates->size, state->row, corelm_chain_vocabulary(state->chain));
    candidates->selected = find(data, candidates->size, draw(state, state->row));
}

static void accept(struct llama_sampler *sampler, llama_token token)
{
    struct state *state = sampler->ctx;
    if (!corelm_chain_accept(state->chain, token, state->drawn))
        snprintf(state->error, sizeof state->error, "%s", corelm_chain_error(state->chain));
    if (state->drawn)
        state->drawn = 0;
    else
        begin_text(state);
}

static void reset(struct llama_sampler *sampler)
{
    struct state *state = sampler->ctx;
    state->error[0] = 0;
    corelm_chain_reset(state->chain);
    begin_text(state);
}

static void release(struct llama_sampler *sampler) { free_state(sampler->ctx); }

static struct llama_sampler *clone(const struct llama_sampler *sampler);

/* llama.cpp has fields for drawing on a device, which stay empty. */
static struct llama_sampler_i interface = {
    .name = name, .accept = accept, .apply = apply, .reset = reset, .clone = clone, .free = release,
};

/* Make a sampler of a state, which is freed where that fails. */
static struct llama_sampler *sampler_of(struct state *state)
{
    size_t size = corelm_chain_vocabulary(state->chain) * sizeof *state->row;
    state->row = malloc(size);
    struct llama_sampler *sampler = state->row ? llama_sampler_init(&interface, state) : NULL;
    if (!sampler)
        free_state(state);
    return sampler;
}

static struct llama_sampler *clone(const struct llama_sampler *sampler)
{
    const struct state *state = sampler->ctx;
    struct state *copy = malloc(sizeof *copy);
    if (!copy)
        return NULL;
    *copy = *state;
    copy->row = NULL, copy->chain = corelm_chain_clone(state->chain);
    if (copy->chain)
        return sampler_of(copy);
    free(copy);
    return NULL;
}

struct llama_sampler *corelm_llama_init(const char *text, size_t length, uint64_t seed,
                                        uint64_t sample, char error[CORELM_ERROR_ROOM])
{
    corelm_chain *chain = corelm_chain_read(text, length, error);
    if (!chain)
        return NULL;
    struct state *state = calloc(1, sizeof *state);
    struct llama_sampler *sampler = NULL;
    if (state) {
        state->chain = chain, state->seed = seed, state->sample = sample;
        begin_text(state);
        sampler = sampler_of(state);
    } else {
        corelm_chain_free(chain);
    }
    if (!sampler)
        snprintf(error, CORELM_ERROR_ROOM, "memory ran out");
    return sampler;
}

llama_token corelm_llama_sample(struct llama_sampler *sampler, struct llama_context *context,
                                int32_t index)
{
    struct state *state = sampler->ctx;
    const struct llama_vocab *vocabulary = llama_model_get_vocab(llama_get_model(context));
    size_t size = (size_t)llama_vocab_n_tokens(vocabulary);
    const float *row = llama_get_logits_ith(context, index);
    if (!row || size != corelm_chain_vocabulary(state->chain)) {
        snprintf(state->error, sizeof state->error, "llama.cpp has %zu logits, and the chain %zu",
                 row ? size : 0, corelm_chain_vocabulary(state->chain));
        return LLAMA_TOKEN_NULL;
    }
    int64_t token = draw(state, row);
    if (token < 0)
        return LLAMA_TOKEN_NULL;
    accept(sampler, (llama_token)token);
    return (llama_token)token;
}

const char *corelm_llama_error(const struct llama_sampler *sampler)
{
    const struct state *state = sampler->ctx;
    return state->error;
}
