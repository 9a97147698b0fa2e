/* The stages of a chain and the draw, one row after the other: a row stays in the cache from the
 * first stage to the token. */
#include "rows.h"

/* Arguments that differ from row to row, for the i-th. */
#define AT_OWNERS(x, list, count) args.x##_row = i;
#define AT_NUMBER(x)
#define AT_NUMBER_OR_DOUBLES(x) args.x += i * args.x##_row;
#define AT_NUMBER_OR_LIST(x, count)
#define AT_COUNT(x)
#define AT_ID_LIST(name, x, count)

/* Do one stage of the i-th row. */
static enum status stage_row(const struct stage *stage, size_t i, const float *row,
                             size_t vocabulary, float *out, struct scratch *scratch)
{
    switch (stage->kernel) {
#define ARG(kind, ...) AT_##kind(__VA_ARGS__)
#define STAGE(name, arguments)                                                                    \
    case STAGE_##name: {                                                                          \
        struct name##_args args = stage->name;                                                    \
        arguments                                                                                 \
        args.logits = (struct logits){row, 1, vocabulary}, args.out = out;                        \
        return name##_row(&args, 0, scratch);                                                     \
    }
#include "../kernels.def"
    }
    return INVALID;
}

TARGET static enum status sample_row(const void *work, size_t i, struct scratch *scratch)
{
    const struct sample_args *args = work;
    const size_t vocabulary = args->logits.vocabulary, count = args->stage_count;
    const float *row = args->model + i * vocabulary;
    float *last = args->out + i * vocabulary;
    struct mask_tokens_args mask = {args->logits, args->never, args->never_count, args->model};
    args->tokens[i] = 0, args->surprisals[i] = NAN;
    if (mask_tokens_row(&mask, i, scratch) != OK)
        return INVALID;
    for (size_t stage = 0; stage < count; stage++) {
        float *out = (count - stage) % 2 ? last : scratch->row; /* the last one is `last` */
        if (stage && !isfinite(max_logit(row, vocabulary)))
            return INVALID;
        if (stage_row(args->stages + stage, i, row, vocabulary, out, scratch) != OK)
            return INVALID;
        row = out;
    }
    struct draw_args draw = {
        {row, 1, vocabulary}, args->uniforms + i, args->tokens + i, args->surprisals + i};
    return draw_row(&draw, 0, scratch);
}

KERNEL_OF_ROWS(sample)
