/* Functions that move probability without a sort, row by row, as corelm.numerics defines them. */
#include "weights.h"

#include <float.h>

/* ---- probabilities ---- */

TARGET static enum status softmax_row(const void *work, size_t i, struct scratch *scratch)
{
    const struct softmax_args *args = work;
    const size_t vocabulary = args->logits.vocabulary, blocks = block_count(vocabulary);
    const float *row = args->logits.values + i * vocabulary;
    float *out = args->out + i * vocabulary;
    float largest = find_block_max(row, vocabulary, scratch);
    int valid = is_valid(scratch->block_max, blocks, largest);
    float total = valid ? (float)exp_row(row, vocabulary, largest, scratch, 1) : 1;
    for (size_t block = 0; block < blocks; block++) {
        size_t start = block * BLOCK, end = start + block_size(vocabulary, block);
        if (valid && scratch->block_max[block] - largest >= -MAX_DEPTH)
            for (size_t token = start; token < end; token++)
                out[token] = scratch->weights[token] / total;
        else
            for (size_t token = start; token < end; token++)
                out[token] = valid ? 0 : NAN;
    }
    return OK;
}

KERNEL_OF_ROWS(softmax)

TARGET static enum status log_softmax_row(const void *work, size_t i, struct scratch *scratch)
{
    const struct log_softmax_args *args = work;
    const size_t vocabulary = args->logits.vocabulary;
    const float *row = args->logits.values + i * vocabulary;
    float *out = args->out + i * vocabulary;
    float largest = find_block_max(row, vocabulary, scratch), ln_total = NAN;
    if (is_valid(scratch->block_max, block_count(vocabulary), largest))
        ln_total = (float)ln(exp_row(row, vocabulary, largest, scratch, 0));
    for (size_t token = 0; token < vocabulary; token++)
        out[token] = (row[token] - largest) - ln_total;
    return OK;
}

KERNEL_OF_ROWS(log_softmax)

/* ---- temperatures that depend on the entropy ---- */

INLINE enum status divide_by(double t, const float *row, size_t vocabulary, float *out,
                             struct scratch *scratch)
{
    struct apply_temperature_args args = {.logits = {row, 1, vocabulary}, .t = &t, .out = out};
    return apply_temperature_row(&args, 0, scratch);
}

TARGET static enum status edt_row(const void *work, size_t i, struct scratch *scratch)
{
    const struct edt_args *args = work;
    const size_t vocabulary = args->logits.vocabulary;
    const float *row = args->logits.values + i * vocabulary;
    float largest = find_block_max(row, vocabulary, scratch);
    double min_entropy, entropy, t = 0; /* a certain row is greedy */
    entropy_row(row, vocabulary, largest, scratch, 0, &min_entropy, &entropy);
    if (entropy > 0)
        t = args->t * e_to(args->theta / entropy * ln(args->base));
    return divide_by(t, row, vocabulary, args->out + i * vocabulary, scratch);
}

KERNEL_OF_ROWS(edt)

/* A share of 1 to a power of at least 0. */
INLINE double share_to(double share, double power)
{
    if (power == 1 || !(share > 0))
        return power > 0 ? share : 1;
    return e_to(power * ln(share));
}

TARGET static enum status dynamic_temperature_row(const void *work, size_t i,
                                                  struct scratch *scratch)
{
    const struct dynamic_temperature_args *args = work;
    const size_t vocabulary = args->logits.vocabulary;
    const float *row = args->logits.values + i * vocabulary;
    const size_t possible = possible_tokens(row, vocabulary);
    float largest = find_block_max(row, vocabulary, scratch);
    double min_entropy, entropy, t = 1; /* a single token has no entropy */
    entropy_row(row, vocabulary, largest, scratch, 0, &min_entropy, &entropy);
    if (possible > 1) {
        double most = ln((double)possible); /* which rounding may put the entropy above */
        double share = entropy < most ? entropy / most : 1;
        t = args->t_min + (args->t_max - args->t_min) * share_to(share, args->exponent);
    }
    return divide_by(t, row, vocabulary, args->out + i * vocabulary, scratch);
}

KERNEL_OF_ROWS(dynamic_temperature)

/* ---- a peak at a probability ---- */

TARGET static enum status peak_at_row(const void *work, size_t i, struct scratch *scratch)
{
    const struct peak_at_args *args = work;
    const size_t vocabulary = args->logits.vocabulary;
    const float *row = args->logits.values + i * vocabulary;
    const float target = (float)args->target[i * args->target_row], peak = (float)args->peak;
    const float sharpness = (float)args->sharpness, width = (float)args->width;
    float *out = args->out + i * vocabulary;
    struct softmax_args softmax = {{row, 1, vocabulary}, out};
    softmax_row(&softmax, 0, scratch);
    for (size_t token = 0; token < vocabulary; token++) {
        float distance = fabsf(out[token] - target) / width;
        float near = peak - sharpness * (distance * distance) / (1 + distance);
        out[token] = row[token] > -INFINITY ? near : -INFINITY;
    }
    return OK;
}

KERNEL_OF_ROWS(peak_at)

/* ---- single tokens ---- */

/* The first item of a list that is not of a row before row i: rows rise. */
static size_t first_of_row(const int64_t *rows, size_t count, size_t i)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (rows[middle] < (int64_t)i)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* A change neither removes a token nor brings one back. */
static float changed(float logit, double divide, double subtract)
{
    double before = (double)logit;
    double after = (before > 0 ? before / divide : before * divide) - subtract;
    after = after < -(double)FLT_MAX ? -(double)FLT_MAX : after;
    after = after > (double)FLT_MAX ? (double)FLT_MAX : after;
    return logit > -INFINITY ? (float)after : -INFINITY;
}

/* A part of a list. */
struct span {
    size_t first, end;
};

/* The items of row i: see OWNERS in kernels.def. */
static struct span span_of(const int64_t *owners, size_t each, size_t count, size_t i)
{
    if (owners)
        return (struct span){first_of_row(owners, count, i), first_of_row(owners, count, i + 1)};
    return each ? (struct span){i * each, (i + 1) * each} : (struct span){0, count};
}

TARGET static enum status change_tokens_row(const void *work, size_t i, struct scratch *scratch)
{
    const struct change_tokens_args *args = work;
    const size_t vocabulary = args->logits.vocabulary;
    const float *row = args->logits.values + i * vocabulary;
    float *out = args->out + i * vocabulary;
    struct span mine =
        span_of(args->owners, args->owners_each, args->count, args->owners_row + i);
    memcpy(out, row, vocabulary * sizeof(float));
    for (size_t k = mine.first; k < mine.end; k++) {
        size_t token = (size_t)args->ids[k]; /* one below 0 is a large one */
        if (token < vocabulary)
            out[token] =
                changed(row[token], args->divide, args->subtract[k * args->subtract_each]);
    }
    if (row == scratch->known)
        know_changed(out, vocabulary, args->ids + mine.first, mine.end - mine.first, scratch);
    return OK;
}

KERNEL_OF_ROWS(change_tokens)

TARGET static enum status subtract_counts_row(const void *work, size_t i, struct scratch *scratch)
{
    const struct subtract_counts_args *args = work;
    const size_t vocabulary = args->logits.vocabulary;
    const float *row = args->logits.values + i * vocabulary;
    float *out = args->out + i * vocabulary;
    int32_t *counts = scratch->indices; /* of the listed tokens; the others' are not set */
    struct span mine =
        span_of(args->owners, args->owners_each, args->count, args->owners_row + i);
    memcpy(out, row, vocabulary * sizeof(float));
    for (size_t k = mine.first; k < mine.end; k++)
        if ((size_t)args->ids[k] < vocabulary) /* one below 0 is a large one */
            counts[args->ids[k]] = 0;
    for (size_t k = mine.first; k < mine.end; k++) {
        size_t token = (size_t)args->ids[k];
        if (token < vocabulary)
            out[token] = changed(row[token], 1, args->each * (double)++counts[token]);
    }
    if (row == scratch->known)
        know_changed(out, vocabulary, args->ids + mine.first, mine.end - mine.first, scratch);
    return OK;
}

KERNEL_OF_ROWS(subtract_counts)

TARGET static enum status forbid_tokens_row(const void *work, size_t i, struct scratch *scratch)
{
    const struct forbid_tokens_args *args = work;
    const size_t vocabulary = args->logits.vocabulary;
    const float *row = args->logits.values + i * vocabulary;
    float *out = args->out + i * vocabulary;
    struct span mine =
        span_of(args->owners, args->owners_each, args->count, args->owners_row + i);
    if (row != scratch->known)
        return forbid(args->ids + mine.first, mine.end - mine.first, vocabulary,
                      copy_row(row, vocabulary, out), out);
    memcpy(out, row, vocabulary * sizeof(float));
    set_impossible(args->ids + mine.first, mine.end - mine.first, vocabulary, out);
    know_changed(out, vocabulary, args->ids + mine.first, mine.end - mine.first, scratch);
    return OK; /* what is left is looked at before the next stage */
}

KERNEL_OF_ROWS(forbid_tokens)

/* ---- quadratic: a parabola in place of the logits ---- */

/* In double precision, where the factor as a float would be 0 or infinite. */
static void bend_exactly(const float *row, size_t vocabulary, float largest, double factor,
                         double curve, float *out)
{
    double top = 0;
    for (int pass = 0; pass < 2; pass++)
        for (size_t token = 0; token < vocabulary; token++) {
            double below = (double)row[token] - (double)largest;
            double slope = curve > 1 ? (3 - curve) / 2 - (curve - 1) / 2 * below : 1;
            double bent = -factor * below * below * slope;
            int possible = row[token] > -INFINITY;
            top = !pass && possible && bent > top ? bent : top;
            out[token] = possible ? (float)(bent - top) : -INFINITY;
        }
}

TARGET static enum status quadratic_row(const void *work, size_t i, struct scratch *scratch)
{
    const struct quadratic_args *args = work;
    const size_t vocabulary = args->logits.vocabulary;
    const float *row = args->logits.values + i * vocabulary;
    float *out = args->out + i * vocabulary, largest = find_max(row, vocabulary, scratch);
    if (!(args->factor > 1e-30 && args->factor < 1e30)) {
        bend_exactly(row, vocabulary, largest, args->factor, args->curve, out);
        return OK;
    }
    const float factor = -(float)args->factor;
    const float second = (float)((3 - args->curve) / 2), third = (float)((args->curve - 1) / 2);
    for (size_t token = 0; token < vocabulary; token++) {
        float below = row[token] - largest;
        float bent = factor * below * below * (third > 0 ? second - third * below : second);
        out[token] = row[token] > -INFINITY ? bent : -INFINITY;
    }
    float top = max_logit(out, vocabulary);
    if (top > 0) /* a steep curve lifts tokens above the likeliest */
        for (size_t token = 0; token < vocabulary; token++)
            out[token] -= top;
    return OK;
}

KERNEL_OF_ROWS(quadratic)

/* ---- xtc: the mixture of a row with and without its top choices ---- */

/* The good tokens of a row: at least a bar, and not protected. */
struct choices {
    float bar, least; /* the least good logit */
    size_t count, last; /* and the last token that has it, which is never dropped */
};

INLINE int is_protected(const struct xtc_args *args, size_t token)
{
    for (size_t k = 0; k < args->protected_count; k++)
        if ((size_t)args->protected_tokens[k] == token)
            return 1;
    return 0;
}

INLINE struct choices find_choices(const struct xtc_args *args, const float *row, float bar,
                                   const float *block_max)
{
    const size_t vocabulary = args->logits.vocabulary;
    struct choices choices = {.bar = bar, .least = INFINITY};
    for (size_t block = 0; block < block_count(vocabulary); block++) {
        size_t start = block * BLOCK, end = start + block_size(vocabulary, block);
        for (size_t token = block_max[block] >= bar ? start : end; token < end; token++)
            if (row[token] >= bar && !is_protected(args, token)) {
                choices.count++;
                if (row[token] <= choices.least)
                    choices.least = row[token], choices.last = token;
            }
    }
    return choices;
}

INLINE int is_dropped(const struct xtc_args *args, const struct choices *choices, const float *row,
                      size_t token)
{
    return row[token] >= choices->bar && token != choices->last && !is_protected(args, token);
}

/* The tokens that are not dropped: the largest logit, and ln of their weight relative to it. */
struct rest {
    float top;
    double ln_weight;
};

enum { SHALLOW = 40 }; /* nats: weights relative to the largest logit of the row are exact enough */

/* Sum one token at a time, where all of them are too deep to have a weight in the row. */
TARGET static double ln_weight_of_rest(const struct xtc_args *args, const struct choices *choices,
                                       const float *row, float top)
{
    double weight = 0;
    for (size_t token = 0; token < args->logits.vocabulary; token++)
        if (row[token] > -INFINITY && !is_dropped(args, choices, row, token))
            weight += e_to((double)row[token] - (double)top);
    return ln(weight);
}

INLINE struct rest find_rest(const struct xtc_args *args, const struct choices *choices,
                             const float *row, float largest, const struct scratch *scratch)
{
    const size_t vocabulary = args->logits.vocabulary;
    struct rest rest = {.top = -INFINITY};
    float copy[BLOCK], weights[BLOCK];
    double weight = 0;
    for (size_t block = 0; block < block_count(vocabulary); block++) {
        size_t start = block * BLOCK, count = block_size(vocabulary, block);
        float top = scratch->block_max[block];
        if (top >= choices->bar) {
            for (size_t k = 0; k < count; k++)
                copy[k] = is_dropped(args, choices, row, start + k) ? -INFINITY : row[start + k];
            top = max_logit(copy, count);
            weight += exp_block(copy, count, largest, weights);
        } else {
            weight += scratch->block_sums[block];
        }
        rest.top = top > rest.top ? top : rest.top;
    }
    double depth = (double)largest - (double)rest.top;
    rest.ln_weight = depth < SHALLOW ? ln(weight) + depth
                                     : ln_weight_of_rest(args, choices, row, rest.top);
    return rest;
}

INLINE double log_add(double a, double b)
{
    double larger = fmax(a, b);
    return larger == -INFINITY ? larger : larger + ln_1p(e_to(fmin(a, b) - larger));
}

TARGET static enum status xtc_row(const void *work, size_t i, struct scratch *scratch)
{
    const struct xtc_args *args = work;
    const size_t vocabulary = args->logits.vocabulary;
    const float *row = args->logits.values + i * vocabulary;
    float *out = args->out + i * vocabulary;
    float largest = find_block_max(row, vocabulary, scratch);
    memcpy(out, row, vocabulary * sizeof(float));
    if (!is_valid(scratch->block_max, block_count(vocabulary), largest))
        return OK;
    double min_entropy;
    entropy_row(row, vocabulary, largest, scratch, 0, &min_entropy, NULL);
    double nats = -ln(args->threshold) - min_entropy;
    if (nats < -TOLERANCE) /* at most the likeliest is good */
        return OK;
    float bar = round_up((double)largest - nats - TOLERANCE);
    struct choices choices = find_choices(args, row, bar, scratch->block_max);
    if (choices.count < 2)
        return OK;
    struct rest rest = find_rest(args, &choices, row, largest, scratch);
    double ln_mass = rest.ln_weight - ((double)largest - (double)rest.top) - min_entropy;
    double cut = ln(args->probability), uncut = ln_1p(-args->probability);
    float stays = (float)(log_add(cut, uncut + ln_mass) - rest.ln_weight);
    float drops = (float)(uncut - min_entropy);
    for (size_t token = 0; token < vocabulary; token++)
        out[token] = (row[token] - rest.top) + stays;
    for (size_t block = 0; block < block_count(vocabulary); block++) {
        size_t start = block * BLOCK, end = start + block_size(vocabulary, block);
        for (size_t token = scratch->block_max[block] >= bar ? start : end; token < end; token++)
            if (is_dropped(args, &choices, row, token))
                out[token] = (row[token] - largest) + drops;
    }
    return OK;
}

KERNEL_OF_ROWS(xtc)
