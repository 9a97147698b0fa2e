#include "ahead.h"

/* Let the window end with the tokens of a draw: nobody else reads that place meanwhile. */
static void append_tokens(struct ahead *ahead, const int64_t *tokens)
{
    struct step *step = &ahead->step;
    for (size_t row = 0; row < step->batch; row++) {
        size_t time = time_of(ahead->times, row, step->time);
        ahead->window[(ptrdiff_t)row * step->window_row + (ptrdiff_t)time] = tokens[row];
        if (ahead->times)
            ahead->times[row]++;
    }
    step->time++;
}

static enum status compute_logits(const struct ahead *ahead, float *logits)
{
    const struct step *step = &ahead->step;
    enum status status = run_graph(ahead->reader, step, NULL, step->batch, ahead->states);
    if (status == OK)
        status = run_graph(ahead->head, step, ahead->states, step->batch, logits);
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
            append_tokens(ahead, ahead->sample.tokens + (at - 1) * ahead->step.batch);
        if (compute_logits(ahead, ahead->logits[at]) != OK || draw(ahead, at) != OK)
            return;
        atomic_store(&ahead->drawn, at + 1);
        if (has_stop(ahead, at))
            return;
    }
}
