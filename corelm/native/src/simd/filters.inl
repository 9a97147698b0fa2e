/* Filters that compare logits, row by row, as corelm.numerics.filters and the samplers define
 * them. */
#include "rows.h"
#include "select.h"
#include "weights.h"

#include <float.h>

/* ---- tokens nearly as likely as the likeliest ---- */

TARGET static enum status greedy_row(const void *work, size_t i, struct scratch *scratch)
{
    const struct greedy_args *args = work;
    const size_t vocabulary = args->logits.vocabulary;
    const float *row = args->logits.values + i * vocabulary;
    float *out = args->out + i * vocabulary;
    out[keep_one(row, vocabulary, find_max(row, vocabulary, scratch), out)] = 0;
    return OK;
}

KERNEL_OF_ROWS(greedy)

/* ---- masks ---- */

/* Keep the tokens that a mask allows. Returns the largest of their logits. */
INLINE float keep_allowed(const float *row, const uint8_t *allowed, size_t vocabulary, float *out)
{
    floats largest = splat(-INFINITY);
    size_t k = 0;
    for (; k + LANES <= vocabulary; k += LANES) {
        floats x = load_where(row + k, allowed + k, -INFINITY);
        store(out + k, x);
        largest = max(x, largest);
    }
    float last = max_of(largest);
    for (; k < vocabulary; k++) {
        out[k] = allowed[k] ? row[k] : -INFINITY;
        last = out[k] > last ? out[k] : last;
    }
    return last;
}

/* Where the logits have no allowed token, keep the model's likeliest allowed one; where the model
 * has none either, its likeliest one. */
TARGET static enum status apply_mask_row(const void *work, size_t i, struct scratch *scratch)
{
    (void)scratch;
    const struct apply_mask_args *args = work;
    const size_t vocabulary = args->logits.vocabulary, start = i * vocabulary;
    const float *model = args->model + start;
    const uint8_t *allowed = args->allowed + start;
    float *out = args->out + start;
    float largest = keep_allowed(args->logits.values + start, allowed, vocabulary, out);
    args->fell_back[i] = largest == -INFINITY;
    if (args->fell_back[i]) {
        largest = keep_allowed(model, allowed, vocabulary, out);
        size_t token = largest > -INFINITY
                           ? keep_one(out, vocabulary, largest, out)
                           : keep_one(model, vocabulary, max_logit(model, vocabulary), out);
        out[token] = 0;
    }
    return OK;
}

KERNEL_OF_ROWS(apply_mask)

TARGET static enum status allow_tokens_row(const void *work, size_t i, struct scratch *scratch)
{
    (void)scratch;
    const struct allow_tokens_args *args = work;
    const size_t vocabulary = args->logits.vocabulary, start = i * vocabulary;
    float largest = keep_allowed(args->logits.values + start, args->allowed + start, vocabulary,
                                 args->out + start);
    return isfinite(largest) ? OK : INVALID;
}

KERNEL_OF_ROWS(allow_tokens)

/* The smallest finite float that is at least this. */
static float round_up(double bar)
{
    float nearest = bar < -(double)FLT_MAX ? -FLT_MAX : (float)bar;
    return (double)nearest < bar ? nextafterf(nearest, INFINITY) : nearest;
}

/* Keep the tokens whose logits are at most `nats` below the largest; if the number is negative, the
 * likeliest token alone. */
INLINE void keep_within(const float *row, size_t vocabulary, float largest, double nats, float *out,
                        struct scratch *scratch)
{
    if (nats < -TOLERANCE)
        keep_one(row, vocabulary, largest, out);
    else
        keep_at_least(row, vocabulary, round_up((double)largest - nats - TOLERANCE), out, scratch);
}

TARGET static enum status within_nats_row(const void *work, size_t i, struct scratch *scratch)
{
    const struct within_nats_args *args = work;
    const size_t vocabulary = args->logits.vocabulary;
    const float *row = args->logits.values + i * vocabulary;
    keep_within(row, vocabulary, find_max(row, vocabulary, scratch),
                args->nats[i * args->nats_row], args->out + i * vocabulary, scratch);
    return OK;
}

KERNEL_OF_ROWS(within_nats)

TARGET static enum status within_min_entropy_row(const void *work, size_t i,
                                                 struct scratch *scratch)
{
    const struct within_min_entropy_args *args = work;
    const size_t vocabulary = args->logits.vocabulary;
    const float *row = args->logits.values + i * vocabulary;
    float largest = find_block_max(row, vocabulary, scratch);
    double min_entropy;
    entropy_row(row, vocabulary, largest, scratch, 0, &min_entropy, NULL);
    keep_within(row, vocabulary, largest,
                args->nats[i * args->nats_row] + args->times * min_entropy,
                args->out + i * vocabulary, scratch);
    return OK;
}

KERNEL_OF_ROWS(within_min_entropy)

TARGET static enum status eta_row(const void *work, size_t i, struct scratch *scratch)
{
    const struct eta_args *args = work;
    const size_t vocabulary = args->logits.vocabulary;
    const float *row = args->logits.values + i * vocabulary;
    float largest = find_block_max(row, vocabulary, scratch);
    double min_entropy, entropy;
    entropy_row(row, vocabulary, largest, scratch, 0, &min_entropy, &entropy);
    double nats = fmax(args->nats / 2 + entropy, args->nats) - min_entropy;
    keep_within(row, vocabulary, largest, nats, args->out + i * vocabulary, scratch);
    return OK;
}

KERNEL_OF_ROWS(eta)

/* ---- the standard deviation ---- */

/* Subtract the mean; 0 where a logit is minus infinity. */
INLINE doubles subtract_mean(doubles x, double mean)
{
    longs possible = x > (doubles){-INFINITY, -INFINITY, -INFINITY, -INFINITY};
    return (doubles)((longs)(x - mean) & possible);
}

/* The standard deviation of the logits that are not minus infinity, in two passes. */
TARGET static enum status logit_std_row(const void *work, size_t i, struct scratch *scratch)
{
    (void)scratch;
    const struct logit_std_args *args = work;
    const size_t vocabulary = args->logits.vocabulary;
    const float *row = args->logits.values + i * vocabulary;
    doubles low = {0}, high = {0};
    size_t possible = 0;
    for (size_t k = 0; k < vocabulary; k += LANES) {
        floats x = load_up_to(row + k, vocabulary - k);
        ints mask = x > splat(-INFINITY);
        possible += (size_t)__builtin_popcount(movemask(mask));
        x = (floats)((ints)x & mask);
        UNROLLED for (int e = 0; e < EIGHTS; e++)
            low += low_of(eight_of(x, e)), high += high_of(eight_of(x, e));
    }
    double count = (double)possible, mean = sum_of_doubles(low + high) / count;
    low = high = (doubles){0};
    for (size_t k = 0; k < vocabulary; k += LANES) {
        floats x = load_up_to(row + k, vocabulary - k);
        UNROLLED for (int e = 0; e < EIGHTS; e++) {
            doubles a = subtract_mean(low_of(eight_of(x, e)), mean);
            doubles b = subtract_mean(high_of(eight_of(x, e)), mean);
            low = fmadd_doubles(a, a, low), high = fmadd_doubles(b, b, high);
        }
    }
    args->out[i] = sqrt(sum_of_doubles(low + high) / count);
    return OK;
}

KERNEL_OF_ROWS(logit_std)

TARGET static enum status within_std_row(const void *work, size_t i, struct scratch *scratch)
{
    const struct within_std_args *args = work;
    const size_t vocabulary = args->logits.vocabulary;
    const float *row = args->logits.values + i * vocabulary;
    double deviation;
    struct logit_std_args of = {{row, 1, vocabulary}, &deviation};
    logit_std_row(&of, 0, scratch);
    keep_within(row, vocabulary, find_max(row, vocabulary, scratch), args->times * deviation,
                args->out + i * vocabulary, scratch);
    return OK;
}

KERNEL_OF_ROWS(within_std)

/* ---- the k largest ---- */

/* The lanes cut each block into columns. Find the largest logit of each column; of the known row, in
 * the blocks that reach a bar. Returns how many columns these are. */
INLINE size_t find_column_max(const float *row, size_t vocabulary, float bar,
                              const struct scratch *scratch)
{
    const int is_known = row == scratch->known;
    size_t columns = 0;
    for (size_t block = 0; block < block_count(vocabulary); block++) {
        size_t start = block * BLOCK, end = start + block_size(vocabulary, block);
        floats largest = splat(-INFINITY);
        if (is_known && !(scratch->block_max[block] >= bar))
            continue;
        for (size_t k = start; k < end; k += LANES)
            largest = max(load_up_to(row + k, end - k), largest);
        store(scratch->logits + columns, largest);
        columns += LANES;
    }
    return columns;
}

/* Collect the logits that are at least a bar, with weight 1. */
INLINE struct keys find_at_least(const float *row, size_t vocabulary, float bar,
                                 const struct scratch *scratch)
{
    struct keys keys = {.values = scratch->keys, .weights = scratch->key_weights};
    const int is_known = row == scratch->known;
    size_t found = 0;
    for (size_t block = 0; block < block_count(vocabulary); block++) {
        size_t start = block * BLOCK, end = start + block_size(vocabulary, block);
        if (is_known ? !(scratch->block_max[block] >= bar)
                     : !movemask(load(scratch->logits + block * LANES) >= splat(bar)))
            continue;
        for (size_t k = start; k < end; k += LANES) {
            floats x = load_up_to(row + k, end - k);
            unsigned bits = movemask(x >= splat(bar));
            store(keys.values + found, compress(x, bits));
            store(keys.weights + found, splat(1.0f));
            found += (size_t)__builtin_popcount(bits);
        }
    }
    end_keys(&keys, found);
    return keys;
}

INLINE size_t count_at_least(const float *numbers, size_t count, float bar)
{
    size_t found = 0;
    for (size_t k = 0; k < count; k += LANES)
        found += (size_t)__builtin_popcount(
            movemask(load_up_to(numbers + k, count - k) >= splat(bar)));
    return found;
}

/* Find a bar that at least k numbers reach, and few more than k; -FLT_MAX if fewer than k are
 * finite. */
INLINE float find_bar(const float *numbers, size_t count, size_t k, float largest)
{
    float depth = 1, step = 1;
    if (count_at_least(numbers, count, -FLT_MAX) < k)
        return -FLT_MAX;
    while (depth < FLT_MAX && count_at_least(numbers, count, largest - depth) < k)
        step = depth, depth *= 2;
    for (int halvings = 0; halvings < 4; halvings++) {
        step /= 2;
        depth -= count_at_least(numbers, count, largest - (depth - step)) >= k ? step : 0;
    }
    return fmaxf(largest - depth, -FLT_MAX);
}

/* If k columns have a maximum that reaches a bar, k logits reach it. So the bar comes from the
 * column maxima, and few logits are left to select from; if the maxima of blocks are known, a lower
 * bar comes from these, and leaves few blocks to look at. Of equal logits the first stay. */
TARGET static enum status top_k_row(const void *work, size_t i, struct scratch *scratch)
{
    const struct top_k_args *args = work;
    const size_t vocabulary = args->logits.vocabulary, k = args->k;
    const float *row = args->logits.values + i * vocabulary;
    float *out = args->out + i * vocabulary, bar = -FLT_MAX;
    if (row == scratch->known && k <= block_count(vocabulary))
        bar = find_bar(scratch->block_max, block_count(vocabulary), k, scratch->largest);
    size_t columns = find_column_max(row, vocabulary, bar, scratch);
    if (k <= columns)
        bar = find_bar(scratch->logits, columns, k, max_logit(scratch->logits, columns));
    struct keys keys = find_at_least(row, vocabulary, bar, scratch);
    if (keys.count > k) {
        struct selected selected = select_mass(keys, (double)keys.count, 0, (double)k, 0, scratch);
        keep_to_goal(row, vocabulary, &selected, out, scratch);
    } else {
        keep_at_least(row, vocabulary, bar, out, scratch);
    }
    return OK;
}

KERNEL_OF_ROWS(top_k)
