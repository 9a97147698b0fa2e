#include "ahead.h"

/* Let the window end with the tokens of the last draw: nobody else reads that place meanwhile. */
static void append_tokens(struct ahead *ahead, size_t drawn)
{
    const struct step *step = &ahead->step;
    int64_t *place = ahead->window + step->time + drawn - 1;
    for (size_t row = 0; row < step->batch; row++)
        place[(ptrdiff_t)row * step->window_row] =
            ahead->sample.tokens[(drawn - 1) * step->batch + row];
}

static enum status compute_logits(const struct ahead *ahead, size_t at)
{
    struct step step = ahead->step;
    step.time += at;
    enum status status = run_graph(ahead->reader, &step, NULL, step.batch, ahead->states);
    if (status == OK)
        status = run_graph(ahead->head, &step, ahead->states, step.batch, ahead->logits[at]);
    return status;
}

static enum status draw(const struct ahead *ahead, size_t at)
{
    struct sample_args sample = ahead->sample;
    size_t first = at * ahead->step.batch;
    sample.logits.values = sample.model = ahead->logits[at], sample.out = ahead->results[at];
    sample.uniforms += first, sample.tokens += first, sample.surprisals += first;
    if (ahead->figures) {
        size_t each = ahead->count * ahead->step.batch;
        sample.entropies = ahead->figures + first;
        sample.model_surprisals = sample.entropies + each;
        sample.model_entropies = sample.model_surprisals + each;
    }
    return active_kernels()->sample(&sample);
}

static int has_stop(const struct ahead *ahead, size_t at)
{
    const int64_t *tokens = ahead->sample.tokens + at * ahead->step.batch;
    for (size_t row = 0; row < ahead->step.batch; row++)
        for (size_t i = 0; i < ahead->stop_count; i++)
            if (tokens[row] == ahead->stops[i])
                return 1;
    return 0;
}

void draw_ahead(void *job)
{
    struct ahead *ahead = job;
    for (size_t at = 0; at < ahead->count && !atomic_load(&ahead->is_cancelled); at++) {
        if (at)
            append_tokens(ahead, at);
        if (compute_logits(ahead, at) != OK || draw(ahead, at) != OK)
            return;
        atomic_store(&ahead->drawn, at + 1);
        if (has_stop(ahead, at))
            return;
    }
}
