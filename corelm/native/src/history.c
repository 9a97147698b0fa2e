#include "history.h"

#include <stdlib.h>
#include <string.h>

int append_token(struct history *history, int64_t token, int is_drawn)
{
    const int is_first = !history->has_begun;
    history->has_begun = 1;
    if (is_first && token == history->start)
        return 1;
    if (history->count == history->room) {
        size_t room = 2 * history->room + 64;
        int64_t *tokens = realloc(history->tokens, room * sizeof *tokens);
        if (!tokens)
            return 0;
        history->tokens = tokens, history->room = room;
    }
    history->tokens[history->count++] = token;
    if (!is_drawn)
        history->prompt = history->count;
    return 1;
}

int copy_history(struct history *history, const struct history *other)
{
    history->start = other->start, history->has_begun = other->has_begun;
    for (size_t i = 0; i < other->count; i++)
        if (!append_token(history, other->tokens[i], i >= other->prompt))
            return 0;
    history->prompt = other->prompt;
    return 1;
}

/* The numbers that are subtracted from tokens, which depend on how often they occur. */
static int count_tokens(struct penalty *penalty, const int64_t *tokens, size_t count,
                        size_t vocabulary)
{
    if (!penalty->counts && !(penalty->counts = calloc(vocabulary, sizeof *penalty->counts)))
        return 0;
    if (count > penalty->room) {
        double *less = realloc(penalty->less, 2 * count * sizeof *less);
        if (!less)
            return 0;
        penalty->less = less, penalty->room = 2 * count;
    }
    for (size_t i = 0; i < count; i++)
        if ((uint64_t)tokens[i] < vocabulary)
            penalty->counts[tokens[i]]++;
    for (size_t i = 0; i < count; i++)
        penalty->less[i] = (uint64_t)tokens[i] < vocabulary
                               ? penalty->each * (double)penalty->counts[tokens[i]] + penalty->once
                               : 0;
    for (size_t i = 0; i < count; i++)
        if ((uint64_t)tokens[i] < vocabulary)
            penalty->counts[tokens[i]] = 0;
    return 1;
}

int fill_penalty(struct penalty *penalty, const struct history *history, size_t vocabulary,
                 struct change_tokens_args *args)
{
    size_t first = penalty->skip_prompt ? history->prompt : 0;
    if (penalty->last && history->count - first > penalty->last)
        first = history->count - penalty->last;
    args->ids = history->count ? history->tokens + first : NULL, args->count = history->count - first;
    args->owners = NULL, args->owners_each = args->owners_row = 0, args->divide = penalty->divide;
    args->subtract_each = penalty->each != 0, args->subtract_of_all = penalty->once;
    args->subtract = &args->subtract_of_all;
    if (!args->subtract_each)
        return 1;
    int fits = count_tokens(penalty, args->ids, args->count, vocabulary);
    args->subtract = penalty->less;
    return fits;
}
