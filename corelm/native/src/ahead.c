#include "ahead.h"

static enum status draw(const struct ahead *ahead, size_t at)
{
    struct sample_args sample = ahead->sample;
    size_t batch = ahead->pass->batch, first = at * batch;
    sample.logits.values = sample.model = ahead->logits[at], sample.out = ahead->results[at];
    sample.uniforms += first, sample.tokens += first, sample.surprisals += first;
    if (ahead->figures) {
        size_t each = ahead->count * batch;
        sample.entropies = ahead->figures + first;
        sample.model_surprisals = sample.entropies + each;
        sample.model_entropies = sample.model_surprisals + each;
    }
    return active_kernels()->sample(&sample);
}

static const int64_t *tokens_of(const struct ahead *ahead, size_t at)
{
    return ahead->sample.tokens + at * ahead->pass->batch;
}

static int has_stop(const struct ahead *ahead, size_t at)
{
    const int64_t *tokens = tokens_of(ahead, at);
    for (size_t row = 0; row < ahead->pass->batch; row++)
        for (size_t i = 0; i < ahead->stop_count; i++)
            if (tokens[row] == ahead->stops[i])
                return 1;
    return 0;
}

void draw_ahead(void *job)
{
    struct ahead *ahead = job;
    const struct corelm_pass *pass = ahead->pass;
    for (size_t at = 0; at < ahead->count && !atomic_load(&ahead->is_cancelled); at++) {
        const int64_t *last = at ? tokens_of(ahead, at - 1) : NULL;
        if (!pass->next(pass->state, last, ahead->logits[at]) || draw(ahead, at) != OK)
            return;
        atomic_store(&ahead->drawn, at + 1);
        if (has_stop(ahead, at))
            return;
    }
}
