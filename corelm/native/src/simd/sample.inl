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

/* Do all stages of the i-th row; `row` becomes the last one's result. */
INLINE enum status do_stages(const struct sample_args *args, size_t i, const float **row,
                             struct scratch *scratch)
{
    const size_t vocabulary = args->logits.vocabulary, count = args->stage_count;
    float *last = args->out + i * vocabulary;
    for (size_t stage = 0; stage < count; stage++) {
        float *out = (count - stage) % 2 ? last : scratch->row; /* the last one is `last` */
        if (stage && !isfinite(max_logit(*row, vocabulary)))
            return INVALID;
        if (stage_row(args->stages + stage, i, *row, vocabulary, out, scratch) != OK)
            return INVALID;
        *row = out;
    }
    return OK;
}

/* Write the figures that are asked for. */
static void measure(const struct sample_args *args, size_t i, const struct figures *drawn,
                    struct scratch *scratch)
{
    const size_t vocabulary = args->logits.vocabulary;
    struct figures model = *drawn; /* without stages */
    struct surprisals_and_entropy_args of = {{args->model + i * vocabulary, 1, vocabulary},
                                             args->tokens + i, &model.surprisal, &model.entropy};
    if (args->stage_count && (args->model_surprisals || args->model_entropies))
        surprisals_and_entropy_row(&of, 0, scratch);
    if (args->entropies)
        args->entropies[i] = drawn->entropy;
    if (args->model_surprisals)
        args->model_surprisals[i] = model.surprisal;
    if (args->model_entropies)
        args->model_entropies[i] = model.entropy;
}

TARGET static enum status sample_row(const void *work, size_t i, struct scratch *scratch)
{
    const struct sample_args *args = work;
    const size_t vocabulary = args->logits.vocabulary;
    const int measured = args->entropies || args->model_surprisals || args->model_entropies;
    const float *row = args->model + i * vocabulary;
    struct mask_tokens_args mask = {args->logits, args->never, args->never_count, args->model};
    struct figures drawn;
    args->tokens[i] = 0, args->surprisals[i] = NAN;
    if (mask_tokens_row(&mask, i, scratch) != OK || do_stages(args, i, &row, scratch) != OK)
        return INVALID;
    if (draw_from(row, vocabulary, args->uniforms[i], args->tokens + i, args->surprisals + i,
                  measured ? &drawn : NULL, scratch) != OK)
        return INVALID;
    if (measured)
        measure(args, i, &drawn, scratch);
    return OK;
}

KERNEL_OF_ROWS(sample)
