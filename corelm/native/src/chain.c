#include "corelm_chain.h"
#include "history.h"
#include "stages.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a stage was made of; its lists are the chain's own. */
struct recipe {
    enum { KERNEL, BIAS, PENALTY } kind;
    double numbers[MAX_PARAMETERS];
    size_t number_count, id_count;
    int64_t *ids; /* NULL: no list */
    double *less; /* what a bias subtracts from each */
    struct penalty penalty;
};

struct corelm_chain {
    struct sample_args args; /* the stages, and the tokens that are never drawn */
    struct recipe recipes[MOST_STAGES];
    int64_t *never;
    struct history history;
    float *model, *out; /* a row without these tokens, and one that nobody wants */
    char error[ERROR_ROOM];
};

static int fail(corelm_chain *chain, const char *reason)
{
    snprintf(chain->error, sizeof chain->error, "%s", reason);
    return 0;
}

/* ---- making one ---- */

corelm_chain *corelm_chain_new(size_t vocabulary)
{
    if (!vocabulary || vocabulary >= INT32_MAX || !use_kernels(16))
        return NULL;
    corelm_chain *chain = calloc(1, sizeof *chain);
    if (!chain)
        return NULL;
    chain->args.logits.vocabulary = vocabulary, chain->args.logits.batch = 1;
    chain->history.start = -1;
    chain->model = malloc(vocabulary * sizeof *chain->model);
    chain->out = malloc(vocabulary * sizeof *chain->out);
    if (chain->model && chain->out)
        return chain;
    corelm_chain_free(chain);
    return NULL;
}

void corelm_chain_free(corelm_chain *chain)
{
    if (!chain)
        return;
    for (size_t i = 0; i < MOST_STAGES; i++) {
        free(chain->recipes[i].ids), free(chain->recipes[i].less);
        free(chain->recipes[i].penalty.less), free(chain->recipes[i].penalty.counts);
    }
    free(chain->history.tokens), free(chain->never), free(chain->model), free(chain->out), free(chain);
}

static int64_t *copy_of(const int64_t *ids, size_t count)
{
    int64_t *copy = malloc((count + 1) * sizeof *copy); /* also of no ids */
    if (copy && count)
        memcpy(copy, ids, count * sizeof *copy);
    return copy;
}

/* The parameters of a recipe; returns how many there are. */
static size_t list_parameters(const struct recipe *recipe, struct parameter *parameters)
{
    size_t count = recipe->number_count;
    for (size_t i = 0; i < count; i++)
        parameters[i] = (struct parameter){.number = recipe->numbers[i]};
    if (recipe->ids)
        parameters[count++] = (struct parameter){.ids = recipe->ids, .count = recipe->id_count};
    return count;
}

int corelm_chain_add(corelm_chain *chain, const char *kernel, const double *numbers,
                     size_t number_count, const int64_t *ids, size_t id_count)
{
    struct sample_args *args = &chain->args;
    struct recipe *recipe = chain->recipes + args->stage_count;
    struct parameter parameters[MAX_PARAMETERS];
    if (args->stage_count == MOST_STAGES)
        return fail(chain, "the chain has as many stages as fit in one");
    if (number_count >= MAX_PARAMETERS)
        return fail(chain, "no stage has that many parameters");
    *recipe = (struct recipe){.number_count = number_count, .id_count = id_count};
    if (number_count)
        memcpy(recipe->numbers, numbers, number_count * sizeof *numbers);
    if (ids && !(recipe->ids = copy_of(ids, id_count)))
        return fail(chain, "memory ran out");
    size_t count = list_parameters(recipe, parameters);
    if (read_stage(args->stages + args->stage_count, kernel, parameters, count, &args->logits,
                   chain->error)) {
        args->stage_count++;
        return 1;
    }
    free(recipe->ids);
    recipe->ids = NULL;
    return 0;
}

int corelm_chain_bias(corelm_chain *chain, const int64_t *ids, const double *biases, size_t count)
{
    struct sample_args *args = &chain->args;
    struct recipe *recipe = chain->recipes + args->stage_count;
    if (args->stage_count == MOST_STAGES)
        return fail(chain, "the chain has as many stages as fit in one");
    *recipe = (struct recipe){.kind = BIAS, .id_count = count, .ids = copy_of(ids, count),
                              .less = malloc((count + 1) * sizeof *recipe->less)};
    if (!recipe->ids || !recipe->less) {
        free(recipe->ids), free(recipe->less);
        *recipe = (struct recipe){.kind = KERNEL};
        return fail(chain, "memory ran out");
    }
    for (size_t i = 0; i < count; i++)
        recipe->less[i] = -biases[i];
    struct stage *stage = args->stages + args->stage_count++;
    stage->kernel = STAGE_change_tokens;
    stage->change_tokens = (struct change_tokens_args){
        .ids = recipe->ids, .count = count, .divide = 1, .subtract = recipe->less,
        .subtract_each = 1};
    return 1;
}

int corelm_chain_penalty(corelm_chain *chain, double divide, double once, double each,
                         size_t last, int skip_prompt)
{
    struct sample_args *args = &chain->args;
    if (args->stage_count == MOST_STAGES)
        return fail(chain, "the chain has as many stages as fit in one");
    if (!(divide > 0 && isfinite(divide) && isfinite(once) && isfinite(each)))
        return fail(chain, "a penalty is a finite number, and divides by one above 0");
    chain->recipes[args->stage_count] = (struct recipe){
        .kind = PENALTY, .penalty = {divide, once, each, last, skip_prompt, NULL, 0, NULL}};
    args->stages[args->stage_count++].kernel = STAGE_change_tokens;
    return 1;
}

int corelm_chain_never(corelm_chain *chain, const int64_t *tokens, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (tokens[i] < 0 || (uint64_t)tokens[i] >= chain->args.logits.vocabulary)
            return fail(chain, "a token that is never drawn is not in the vocabulary");
    int64_t *never = copy_of(tokens, count);
    if (!never)
        return fail(chain, "memory ran out");
    free(chain->never);
    chain->args.never = chain->never = never, chain->args.never_count = count;
    return 1;
}

/* Append the stage of a recipe to another chain. */
static int add_again(corelm_chain *chain, const struct stage *stage, const struct recipe *recipe)
{
    const struct penalty *of = &recipe->penalty;
    if (recipe->kind == PENALTY)
        return corelm_chain_penalty(chain, of->divide, of->once, of->each, of->last,
                                    of->skip_prompt);
    if (recipe->kind == KERNEL)
        return corelm_chain_add(chain, stage_name(stage), recipe->numbers, recipe->number_count,
                                recipe->ids, recipe->id_count);
    size_t place = chain->args.stage_count;
    if (!corelm_chain_bias(chain, recipe->ids, recipe->less, recipe->id_count))
        return 0;
    if (recipe->id_count) /* not minus what is subtracted */
        memcpy(chain->recipes[place].less, recipe->less, recipe->id_count * sizeof *recipe->less);
    return 1;
}

corelm_chain *corelm_chain_clone(const corelm_chain *chain)
{
    const struct sample_args *args = &chain->args;
    corelm_chain *clone = corelm_chain_new(args->logits.vocabulary);
    int complete = clone && corelm_chain_never(clone, args->never, args->never_count) &&
                   copy_history(&clone->history, &chain->history);
    for (size_t i = 0; complete && i < args->stage_count; i++)
        complete = add_again(clone, args->stages + i, chain->recipes + i);
    if (complete)
        return clone;
    corelm_chain_free(clone);
    return NULL;
}

size_t corelm_chain_vocabulary(const corelm_chain *chain)
{
    return chain->args.logits.vocabulary;
}

const char *corelm_chain_error(const corelm_chain *chain) { return chain->error; }

/* ---- the text ---- */

void corelm_chain_start_token(corelm_chain *chain, int64_t token) { chain->history.start = token; }

int corelm_chain_accept(corelm_chain *chain, int64_t token, int is_drawn)
{
    return append_token(&chain->history, token, is_drawn) || fail(chain, "memory ran out");
}

void corelm_chain_reset(corelm_chain *chain)
{
    chain->history.count = chain->history.prompt = 0, chain->history.has_begun = 0;
    chain->error[0] = 0;
}

/* Make the stages of penalties those of the text so far. */
static int fill_penalties(corelm_chain *chain)
{
    for (size_t i = 0; i < chain->args.stage_count; i++)
        if (chain->recipes[i].kind == PENALTY &&
            !fill_penalty(&chain->recipes[i].penalty, &chain->history,
                          chain->args.logits.vocabulary, &chain->args.stages[i].change_tokens))
            return fail(chain, "memory ran out");
    return 1;
}

/* ---- drawing ---- */

/* Draw the token of one row. `logits` are where the result goes, or NULL. */
static enum status draw_row(corelm_chain *chain, const float *row, double uniform, float *logits,
                            int64_t *token, double *surprisal, double *entropy)
{
    struct sample_args *args = &chain->args;
    args->logits.values = row, args->out = logits ? logits : chain->out;
    args->model = args->never_count ? chain->model : (float *)row; /* then it is not written to */
    args->uniforms = &uniform, args->tokens = token, args->surprisals = surprisal;
    args->entropies = entropy;
    enum status status = active_kernels()->sample(args);
    if (status != OK) {
        *token = -1, *surprisal = NAN;
        return status;
    }
    const size_t vocabulary = args->logits.vocabulary;
    const float *last = args->stage_count ? args->out : args->model;
    if (logits && last != logits)
        memcpy(logits, last, vocabulary * sizeof *logits);
    return OK;
}

int corelm_chain_draw(corelm_chain *chain, const float *logits, size_t rows,
                      const double *uniforms, const struct corelm_draws *draws)
{
    const size_t vocabulary = chain->args.logits.vocabulary;
    enum status worst = OK;
    if (!fill_penalties(chain))
        return 0;
    for (size_t i = 0; i < rows; i++) {
        int64_t token;
        double surprisal, entropy = NAN;
        float *out = draws->logits ? draws->logits + i * vocabulary : NULL;
        enum status status = draw_row(chain, logits + i * vocabulary, uniforms[i], out, &token,
                                      &surprisal, draws->entropies ? &entropy : NULL);
        worst = status == OK ? worst : status;
        if (draws->tokens)
            draws->tokens[i] = token;
        if (draws->surprisals)
            draws->surprisals[i] = surprisal;
        if (draws->entropies)
            draws->entropies[i] = entropy;
    }
    if (worst == OK)
        return 1;
    return fail(chain, worst == NO_MEMORY ? "memory ran out" : "a row is not a distribution");
}
