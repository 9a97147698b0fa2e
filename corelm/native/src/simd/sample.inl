/* The stages of a chain and the draw, one row after the other: a row stays in the cache from the
 * first stage to the token. */
#include "weights.h"

/* Arguments that differ from row to row, for the i-th. */
#define AT_OWNERS(x, list, count) args.x##_row = i;
#define AT_NUMBER(x)
#define AT_NUMBER_OR_DOUBLES(x) args.x += i * args.x##_row;
#define AT_NUMBER_OR_LIST(x, count)
#define AT_COUNT(x)
#define AT_ID_LIST(name, x, count)
#define AT_MASK_IN(x) args.x += i * vocabulary;

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

/* Mask the tokens of the i-th row that are never drawn. */
INLINE enum status mask(const struct sample_args *args, size_t i, struct scratch *scratch)
{
    const size_t vocabulary = args->logits.vocabulary;
    const float *row = args->logits.values + i * vocabulary;
    float *model = args->model + i * vocabulary;
    if (model != row)
        memcpy(model, row, vocabulary * sizeof(float));
    if (look_at(model, vocabulary, scratch) != OK)
        return INVALID;
    set_impossible(args->never, args->never_count, vocabulary, model);
    scratch->known = NULL;
    know_changed(model, vocabulary, args->never, args->never_count, scratch);
    return look_at(model, vocabulary, scratch);
}

/* Do all stages of the i-th row; `row` becomes the last one's result. A temperature that comes last
 * is left to the draw, which computes the quotient. */
INLINE enum status do_stages(const struct sample_args *args, size_t i, const float **row,
                             struct quotient *quotient, struct scratch *scratch)
{
    const size_t vocabulary = args->logits.vocabulary, count = args->stage_count;
    float *last = args->out + i * vocabulary;
    for (size_t stage = 0; stage < count; stage++) {
        const struct apply_temperature_args *divided = &args->stages[stage].apply_temperature;
        if (stage + 1 == count && args->stages[stage].kernel == STAGE_apply_temperature &&
            is_usual(divided->t[i * divided->t_row])) {
            *quotient = divide_maxima(*row, vocabulary, (float)divided->t[i * divided->t_row],
                                      last, scratch);
            *row = last;
            return OK;
        }
        float *out = (count - stage) % 2 ? last : scratch->row; /* the last one is `last` */
        if (stage_row(args->stages + stage, i, *row, vocabulary, out, scratch) != OK ||
            look_at(out, vocabulary, scratch) != OK)
            return INVALID;
        *row = out;
    }
    return OK;
}

/* The figures of the model's row, which is known; its token is not. */
INLINE void measure(const struct sample_args *args, const float *row, struct figures *model,
                    const struct scratch *scratch)
{
    entropy_row(row, args->logits.vocabulary, scratch->largest, scratch, 0, &model->min_entropy,
                &model->entropy);
    model->largest = scratch->largest;
}

/* Write the figures that are asked for. */
INLINE void report(const struct sample_args *args, size_t i, const struct figures *model,
                   const struct figures *drawn)
{
    float logit = args->model[i * args->logits.vocabulary + (size_t)args->tokens[i]];
    if (args->entropies)
        args->entropies[i] = drawn->entropy;
    if (args->model_surprisals)
        args->model_surprisals[i] = surprisal_of(logit, model->largest, model->min_entropy);
    if (args->model_entropies)
        args->model_entropies[i] = model->entropy;
}

/* Do everything for the i-th row but forget it. */
INLINE enum status do_row(const struct sample_args *args, size_t i, struct scratch *scratch)
{
    const size_t vocabulary = args->logits.vocabulary;
    const int of_model = args->model_surprisals || args->model_entropies;
    const float *row = args->model + i * vocabulary;
    struct figures model, drawn;
    struct quotient quotient = {NULL};
    args->tokens[i] = 0, args->surprisals[i] = NAN;
    if (mask(args, i, scratch) != OK)
        return INVALID;
    if (of_model && args->stage_count)
        measure(args, row, &model, scratch);
    if (do_stages(args, i, &row, &quotient, scratch) != OK ||
        draw_from(row, vocabulary, args->uniforms[i], args->tokens + i, args->surprisals + i,
                  of_model || args->entropies ? &drawn : NULL, &quotient, scratch) != OK)
        return INVALID;
    report(args, i, args->stage_count ? &model : &drawn, &drawn);
    return OK;
}

TARGET static enum status sample_row(const void *work, size_t i, struct scratch *scratch)
{
    enum status status = do_row(work, i, scratch);
    scratch->known = NULL;
    return status;
}

KERNEL_OF_ROWS(sample)
