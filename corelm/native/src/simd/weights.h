/* The weights of a row, exp(logit - largest), in blocks: their sums for the draw, the entropies that
 * these give, and both of a row that is only then divided by a temperature.
 */
#ifndef CORELM_WEIGHTS_H
#define CORELM_WEIGHTS_H

#include "rows.h"

INLINE floats exp_some(floats logits, float largest, float *weights)
{
    floats w = exp_nonpositive(logits - splat(largest));
    store(weights, w);
    return w;
}

/* The weights of a block, zeros after its end. Returns their sum: up to eight of them are added in
 * single precision, which loses no more than the exponentials do. */
INLINE double exp_block(const float *logits, size_t count, float largest, float *weights)
{
    doubles sum = {0};
    size_t i = 0;
    for (; i + 4 * SIXTEEN <= count; i += 4 * SIXTEEN) {
        floats w[4 * PARTS];
        UNROLLED for (int v = 0; v < 4 * PARTS; v++)
            w[v] = exp_some(load(logits + i + v * LANES), largest, weights + i + v * LANES);
        EACH_PART(v) w[v] = (w[v] + w[v + PARTS]) + (w[v + 2 * PARTS] + w[v + 3 * PARTS]);
        sum += fold_to_doubles(w);
    }
    for (; i < count; i += SIXTEEN) {
        floats w[PARTS];
        EACH_PART(v)
            w[v] = exp_some(load_logits(logits + i, count - i, v), largest,
                            weights + i + v * LANES);
        sum += fold_to_doubles(w);
    }
    return sum_of_doubles(sum);
}

/* A row that is still to be computed, a block at a time: a shift less than another, divided. */
struct quotient {
    const float *row;
    float shift, t;
    float *out; /* NULL: nothing is to be computed */
};

INLINE floats divide_some(const float *row, const struct quotient *quotient, float *out)
{
    floats x = (load(row) - splat(quotient->shift)) / splat(quotient->t);
    store(out, x);
    return x;
}

INLINE void divide_block(const struct quotient *quotient, size_t vocabulary, size_t block,
                         const struct scratch *scratch)
{
    size_t start = block * BLOCK, count = block_size(vocabulary, block), k = 0;
    const float *row = quotient->row + start;
    float *out = quotient->out + start;
    if (!(scratch->block_max[block] > -INFINITY)) {
        fill(out, count, -INFINITY);
        return;
    }
    for (; k + LANES <= count; k += LANES)
        divide_some(row + k, quotient, out + k);
    for (; k < count; k++)
        out[k] = (row[k] - quotient->shift) / quotient->t;
}

/* Compute a whole block of a quotient, and return the sum of its weights, as `exp_block` does. */
INLINE double exp_divided_block(const struct quotient *quotient, size_t start, float largest)
{
    doubles sum = {0};
    for (size_t i = start; i < start + BLOCK; i += 4 * SIXTEEN) {
        floats w[4 * PARTS];
        UNROLLED for (int v = 0; v < 4 * PARTS; v++) {
            size_t k = i + (size_t)v * LANES;
            floats x = divide_some(quotient->row + k, quotient, quotient->out + k);
            w[v] = exp_nonpositive(x - splat(largest));
        }
        EACH_PART(v) w[v] = (w[v] + w[v + PARTS]) + (w[v + 2 * PARTS] + w[v + 3 * PARTS]);
        sum += fold_to_doubles(w);
    }
    return sum_of_doubles(sum);
}

/* Return the sum of a row's weights; store each block's sum and, if asked for, each weight. */
INLINE double exp_row(const float *row, size_t vocabulary, float largest,
                      const struct scratch *scratch, int keep_weights)
{
    float local[BLOCK];
    double total = 0;
    for (size_t block = 0; block < block_count(vocabulary); block++) {
        float *weights = keep_weights ? scratch->weights + block * BLOCK : local;
        scratch->block_sums[block] = 0;
        if (scratch->block_max[block] - largest >= -MAX_DEPTH)
            scratch->block_sums[block] = exp_block(
                row + block * BLOCK, block_size(vocabulary, block), largest, weights);
        total += scratch->block_sums[block];
    }
    return total;
}

/* The same of a quotient, which is computed here: to divide takes little more time than to wait for
 * the exponentials. */
INLINE double exp_quotient(const struct quotient *quotient, size_t vocabulary, float largest,
                           const struct scratch *scratch)
{
    float weights[BLOCK];
    double total = 0;
    for (size_t block = 0; block < block_count(vocabulary); block++) {
        size_t start = block * BLOCK, count = block_size(vocabulary, block);
        int weighs = scratch->block_max[block] - largest >= -MAX_DEPTH;
        double *sum = scratch->block_sums + block;
        *sum = 0;
        if (weighs && count == BLOCK) {
            *sum = exp_divided_block(quotient, start, largest);
        } else {
            divide_block(quotient, vocabulary, block, scratch);
            if (weighs)
                *sum = exp_block(quotient->out + start, count, largest, weights);
        }
        total += *sum;
    }
    return total;
}

/* The weights of a block, and the sums of weight and of weight * (logit - largest). Up to eight
 * numbers are added in single precision. */
INLINE void entropy_block(const float *logits, size_t count, float largest, float *weights,
                          floats *sum, floats *moment)
{
    EACH_PART(v) sum[v] = moment[v] = splat(0.0f);
    for (size_t k = 0; k < count; k += SIXTEEN)
        EACH_PART(v) {
            floats below = load_logits(logits + k, count - k, v) - splat(largest);
            floats w = exp_nonpositive(below);
            store(weights + k + v * LANES, w);
            sum[v] += w;
            moment[v] = fmadd(w, max(below, splat(-MAX_DEPTH)), moment[v]); /* 0 * -inf is nan */
        }
}

/* The min-entropy and, if asked for, the Shannon entropy of a row, in nats. The likeliest token has
 * weight 1. It is added last: next to it, small weights would be lost. */
INLINE void entropy_row(const float *row, size_t vocabulary, float largest,
                        const struct scratch *scratch, int keep_weights, double *min_entropy,
                        double *entropy)
{
    size_t likeliest = argmax(row, vocabulary, largest, scratch->block_max);
    doubles sums = {0}, moments = {0};
    float local[BLOCK], copy[BLOCK];
    for (size_t block = 0; block < block_count(vocabulary); block++) {
        size_t start = block * BLOCK, count = block_size(vocabulary, block);
        floats sum[PARTS], moment[PARTS];
        scratch->block_sums[block] = 0;
        if (!(scratch->block_max[block] - largest >= -MAX_DEPTH))
            continue;
        const float *from = without_argmax(row, start, count, likeliest, copy);
        entropy_block(from, count, largest, keep_weights ? scratch->weights + start : local, sum,
                      moment);
        doubles weight = fold_to_doubles(sum);
        scratch->block_sums[block] = sum_of_doubles(weight) + (from == copy);
        sums += weight;
        moments += fold_to_doubles(moment);
    }
    double rest = sum_of_doubles(sums);
    *min_entropy = ln_1p(rest);
    if (entropy)
        *entropy = *min_entropy - sum_of_doubles(moments) / (1 + rest);
    if (keep_weights)
        scratch->weights[likeliest] = 1;
}

/* `entropy_block` of a whole block, and the sum that `exp_block` returns; the block of a quotient is
 * computed unless that is NULL. */
INLINE double exp_entropy_block(const float *logits, const struct quotient *quotient, float largest,
                                floats *sum, floats *moment)
{
    const ptrdiff_t place = quotient ? logits - quotient->out : 0;
    doubles total = {0};
    EACH_PART(v) sum[v] = moment[v] = splat(0.0f);
    for (ptrdiff_t i = 0; i < BLOCK; i += 4 * SIXTEEN) {
        floats w[4 * PARTS];
        UNROLLED for (int v = 0; v < 4 * PARTS; v++) {
            ptrdiff_t k = place + i + v * LANES;
            floats x = quotient ? divide_some(quotient->row + k, quotient, quotient->out + k)
                                : load(logits + k);
            floats below = x - splat(largest);
            w[v] = exp_nonpositive(below);
            sum[v % PARTS] += w[v];
            moment[v % PARTS] = fmadd(w[v], max(below, splat(-MAX_DEPTH)), moment[v % PARTS]);
        }
        EACH_PART(v) w[v] = (w[v] + w[v + PARTS]) + (w[v + 2 * PARTS] + w[v + 3 * PARTS]);
        total += fold_to_doubles(w);
    }
    return sum_of_doubles(total);
}

/* Of a row, in nats. */
struct figures {
    double min_entropy, entropy;
    float largest; /* the logit that they are relative to */
};

/* `exp_quotient` and `entropy_row` at once: each exponential is computed once. */
INLINE double exp_entropy_row(const float *row, size_t vocabulary, float largest,
                              const struct quotient *quotient, const struct scratch *scratch,
                              struct figures *figures)
{
    for (size_t block = 0; quotient->out && block < block_count(vocabulary); block++)
        if (scratch->block_max[block] == largest) /* where the likeliest is looked for */
            divide_block(quotient, vocabulary, block, scratch);
    size_t likeliest = argmax(row, vocabulary, largest, scratch->block_max);
    doubles sums = {0}, moments = {0};
    double total = 0;
    float local[BLOCK], copy[BLOCK];
    for (size_t block = 0; block < block_count(vocabulary); block++) {
        size_t start = block * BLOCK, count = block_size(vocabulary, block);
        floats sum[PARTS], moment[PARTS];
        scratch->block_sums[block] = 0;
        int weighs = scratch->block_max[block] - largest >= -MAX_DEPTH;
        int at_once = weighs && count == BLOCK && (likeliest < start || likeliest >= start + count);
        if (quotient->out && !at_once)
            divide_block(quotient, vocabulary, block, scratch);
        if (!weighs)
            continue;
        if (at_once) {
            scratch->block_sums[block] =
                quotient->out ? exp_entropy_block(row + start, quotient, largest, sum, moment)
                              : exp_entropy_block(row + start, NULL, largest, sum, moment);
        } else {
            const float *from = without_argmax(row, start, count, likeliest, copy);
            scratch->block_sums[block] = exp_block(row + start, count, largest, local);
            entropy_block(from, count, largest, local, sum, moment);
        }
        total += scratch->block_sums[block];
        sums += fold_to_doubles(sum);
        moments += fold_to_doubles(moment);
    }
    double rest = sum_of_doubles(sums);
    figures->min_entropy = ln_1p(rest);
    figures->entropy = figures->min_entropy - sum_of_doubles(moments) / (1 + rest);
    figures->largest = largest;
    return total;
}

#endif
