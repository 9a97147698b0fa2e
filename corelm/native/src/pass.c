#include "pass.h"

/* Let the window end with these tokens: nobody else reads that place meanwhile. */
static void append_tokens(struct window_pass *pass, const int64_t *tokens)
{
    struct step *step = &pass->step;
    for (size_t row = 0; row < step->batch; row++) {
        size_t time = time_of(pass->times, row, step->time);
        pass->window[(ptrdiff_t)row * step->window_row + (ptrdiff_t)time] = tokens[row];
        if (pass->times)
            pass->times[row]++;
    }
    step->time++;
}

int next_of_window(void *state, const int64_t *tokens, float *logits)
{
    struct window_pass *pass = state;
    const struct step *step = &pass->step;
    if (tokens)
        append_tokens(pass, tokens);
    return run_graph(pass->reader, step, NULL, step->batch, pass->states) == OK &&
           run_graph(pass->head, step, pass->states, step->batch, logits) == OK;
}
