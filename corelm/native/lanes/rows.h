/* Rows of logits, worked on in blocks.
 *
 * Of each block the largest logit is known first, so that blocks in which nothing is possible, as
 * after a filter, cost no exponentials.
 */
#ifndef CORELM_ROWS_H
#define CORELM_ROWS_H

#include "../kernels.h"
#include "simd.h"

#include <string.h>

enum { BLOCK = 128 };
static const double SLACK = 1e-12; /* as in corelm/selection.py */

/* What a thread needs for a row; it is kept for the next one. */
struct desk {
    size_t room;
    float *tops;     /* of each block */
    double *sums;    /* of each block's weights; there is room for some more */
    float *weights;  /* of each token, or of each that is near */
    float *logits;   /* of each that is near */
    int32_t *tokens; /* those that are near */
    int32_t *some;   /* some of these */
};

typedef void one_row(struct rows *, size_t row, struct desk *);

/* Do something with each row, on all cores where that pays. */
static void each_row(struct rows *, one_row *);

static inline size_t blocks_in(size_t vocabulary) { return (vocabulary + BLOCK - 1) / BLOCK; }

INLINE size_t block_size(size_t vocabulary, size_t block)
{
    size_t left = vocabulary - block * BLOCK;
    return left < BLOCK ? left : BLOCK;
}

/* Some of the logits up to an end, minus infinity after it. */
INLINE floats load_up_to(const float *from, size_t left)
{
    return load_until(from, (ptrdiff_t)left, -INFINITY);
}

INLINE floats load_logits(const float *from, size_t left, int part)
{
    return load_part(from, left, part, -INFINITY);
}

/* The largest of some logits, or nan where one of them is nan. */
INLINE float top_of(const float *logits, size_t count)
{
    floats most = all(-INFINITY), other = most;
    ints strange = {0};
    size_t i = 0;
    for (; i + 2 * LANES <= count; i += 2 * LANES) {
        floats a = load(logits + i), b = load(logits + i + LANES);
        strange |= (a != a) | (b != b);
        most = larger(a, most), other = larger(b, other);
    }
    for (; i < count; i += LANES) {
        floats a = load_up_to(logits + i, count - i);
        strange |= a != a;
        most = larger(a, most);
    }
    return bits_of(strange) ? NAN : largest_of(larger(most, other));
}

/* The largest logit of each block, and of the row. */
INLINE float find_tops(const float *row, size_t vocabulary, float *tops)
{
    float most = -INFINITY;
    for (size_t block = 0; block < blocks_in(vocabulary); block++) {
        float top = top_of(row + block * BLOCK, block_size(vocabulary, block));
        tops[block] = top;
        most = top > most ? top : most;
    }
    return most;
}

/* Whether a row with such tops of its blocks is a distribution. */
INLINE int are_proper(const float *tops, size_t blocks, float most)
{
    int strange = 0;
    for (size_t block = 0; block < blocks; block++)
        strange |= tops[block] != tops[block];
    return isfinite(most) && !strange;
}

INLINE floats weigh_some(floats logits, float most, float *weights)
{
    floats w = exponential(logits - all(most));
    store(weights, w);
    return w;
}

/* The exponentials of a block, zeros after its end; returns what they sum to. Eight are added up
 * in the precision of each, which costs no more of it than they have. */
INLINE double weigh_block(const float *logits, size_t count, float most, float *weights)
{
    doubles sum = {0};
    size_t i = 0;
    for (; i + 4 * SIXTEEN <= count; i += 4 * SIXTEEN) {
        floats w[4 * PARTS];
        UNROLLED for (int v = 0; v < 4 * PARTS; v++)
            w[v] = weigh_some(load(logits + i + v * LANES), most, weights + i + v * LANES);
        EACH_PART(v) w[v] = (w[v] + w[v + PARTS]) + (w[v + 2 * PARTS] + w[v + 3 * PARTS]);
        sum += as_doubles(w);
    }
    for (; i < count; i += SIXTEEN) {
        floats w[PARTS];
        EACH_PART(v)
            w[v] = weigh_some(load_logits(logits + i, count - i, v), most, weights + i + v * LANES);
        sum += as_doubles(w);
    }
    return sum_of_doubles(sum);
}

/* The same for each block of a row, one after the other in `weights` where there is room. */
INLINE double weigh_row(const float *row, size_t vocabulary, float most, const struct desk *desk,
                        int kept)
{
    float local[BLOCK];
    double total = 0;
    for (size_t block = 0; block < blocks_in(vocabulary); block++) {
        float *weights = kept ? desk->weights + block * BLOCK : local;
        int possible = desk->tops[block] - most >= -DEEPEST;
        desk->sums[block] = 0;
        if (possible)
            desk->sums[block] = weigh_block(row + block * BLOCK, block_size(vocabulary, block),
                                            most, weights);
        total += desk->sums[block];
    }
    return total;
}

/* The first token that has this logit, or that is nan. */
INLINE size_t first_of(const float *row, size_t count, float logit)
{
    for (size_t k = 0; k < count; k += LANES) {
        floats x = load_up_to(row + k, count - k);
        unsigned bits = bits_of((x == all(logit)) | (x != x));
        if (bits)
            return k + (size_t)__builtin_ctz(bits);
    }
    return 0;
}

/* The first token with the largest logit; some token where the row is no distribution. */
INLINE size_t likeliest(const float *row, size_t vocabulary, float most, const float *tops)
{
    size_t block = 0, last = blocks_in(vocabulary) - 1;
    while (block < last && tops[block] != most)
        block++;
    size_t start = block * BLOCK;
    return start + first_of(row + start, block_size(vocabulary, block), most);
}

/* A block, or what it is in this room where its likeliest token is left out, if that is there. */
INLINE const float *without_likeliest(const float *row, size_t start, size_t count,
                                      size_t likeliest, float *room)
{
    if (likeliest < start || likeliest >= start + count)
        return row + start;
    memcpy(room, row + start, count * sizeof(float));
    room[likeliest - start] = -INFINITY;
    return room;
}

/* The weights of a block, what they sum to, and what they sum to times the logits below the largest:
 * sums of eight numbers, in the precision of each. */
INLINE void measure_block(const float *logits, size_t count, float most, float *weights,
                          floats *rest, floats *first)
{
    EACH_PART(v) rest[v] = first[v] = all(0.0f);
    for (size_t k = 0; k < count; k += SIXTEEN)
        EACH_PART(v) {
            floats below = load_logits(logits + k, count - k, v) - all(most);
            floats w = exponential(below);
            store(weights + k + v * LANES, w);
            rest[v] += w;
            first[v] = fused(w, larger(below, all(-DEEPEST)), first[v]); /* 0 * -inf is nan */
        }
}

/* ln of the sum of the weights, and the entropy where it is wanted, in nats. The likeliest token,
 * next to whose weight of 1 the others would be lost, is added last. */
INLINE void measure_row(const float *row, size_t vocabulary, float most, const struct desk *desk,
                        int kept, double *peak, double *entropy)
{
    size_t at = likeliest(row, vocabulary, most, desk->tops);
    doubles unlikely = {0}, moment = {0};
    float local[BLOCK], others[BLOCK];
    for (size_t block = 0; block < blocks_in(vocabulary); block++) {
        size_t start = block * BLOCK, count = block_size(vocabulary, block);
        floats rest[PARTS], first[PARTS];
        desk->sums[block] = 0;
        if (!(desk->tops[block] - most >= -DEEPEST))
            continue;
        const float *from = without_likeliest(row, start, count, at, others);
        measure_block(from, count, most, kept ? desk->weights + start : local, rest, first);
        doubles weight = as_doubles(rest);
        desk->sums[block] = sum_of_doubles(weight) + (from == others);
        unlikely += weight;
        moment += as_doubles(first);
    }
    double rest = sum_of_doubles(unlikely);
    *peak = log1p(rest);
    if (entropy)
        *entropy = *peak - sum_of_doubles(moment) / (1 + rest);
    if (kept)
        desk->weights[at] = 1;
}

/* ---- the tokens that are near: at most so many nats below the largest ---- */

/* A bit for each lane before an end. */
INLINE unsigned lanes_before(size_t left) { return left < LANES ? (1u << left) - 1 : ~0u; }

/* Of some tokens, those at which a bit is set go to the desk; returns how many are there then. */
INLINE size_t put(const struct desk *desk, size_t found, ints tokens, floats logits,
                  floats weights, unsigned bits)
{
    store((float *)desk->tokens + found, squeezed((floats)tokens, bits));
    store(desk->logits + found, squeezed(logits, bits));
    store(desk->weights + found, squeezed(weights, bits));
    return found + (size_t)__builtin_popcount(bits);
}

/* The tokens from one on. */
INLINE ints tokens_from(size_t first)
{
    ints tokens;
    UNROLLED for (int lane = 0; lane < LANES; lane++)
        tokens[lane] = (int32_t)first + lane;
    return tokens;
}

/* They go to the front of the desk; their weights are there, at the place of each token. */
INLINE size_t find_near(const float *row, size_t vocabulary, float most, float depth,
                        const struct desk *desk)
{
    const ints lanes = tokens_from(0);
    size_t found = 0;
    for (size_t block = 0; block < blocks_in(vocabulary); block++) {
        size_t start = block * BLOCK, end = start + block_size(vocabulary, block);
        if (!(most - desk->tops[block] <= depth)) /* nor where one is nan */
            continue;
        for (size_t k = start; k < end; k += LANES) {
            floats x = load_up_to(row + k, end - k), w = load(desk->weights + k);
            unsigned bits = bits_of(all(most) - x <= all(depth));
            if (bits)
                found = put(desk, found, lanes + (int32_t)k, x, w, bits);
        }
    }
    store(desk->weights + found, all(0)); /* for who looks at some together */
    return found;
}

/* Of those that are near, those that are nearer. */
INLINE size_t find_nearer(float most, float depth, const struct desk *desk, size_t count)
{
    size_t found = 0;
    for (size_t k = 0; k < count; k += LANES) {
        floats x = load(desk->logits + k), w = load(desk->weights + k);
        unsigned bits = bits_of(all(most) - x <= all(depth));
        bits &= lanes_before(count - k);
        found = put(desk, found, (ints)load((float *)desk->tokens + k), x, w, bits);
    }
    return found;
}

enum { STEPS = 8 }; /* shares of a depth that are tried */

/* A share of the depth within which there is enough weight too, as the sums of the blocks tell:
 * in each, what is deeper weighs no more than if all of it were just so deep. */
INLINE float shallower_by_blocks(const struct desk *desk, size_t vocabulary, float depth,
                                 double enough)
{
    const size_t blocks = blocks_in(vocabulary);
    int found = STEPS; /* is enough; halved, for the deeper the more */
    for (size_t i = 0; i < FOUR; i++)
        desk->sums[blocks + i] = 0;
    for (int half = STEPS / 2; half; half /= 2) {
        double deeper = BLOCK * expf(-depth * (float)(found - half) / STEPS);
        doubles mass = {0};
        for (size_t block = 0; block < blocks; block += FOUR) {
            doubles rest = load_doubles(desk->sums + block) - deeper;
            mass += (doubles)((longs)rest & (rest > (doubles){0}));
        }
        found -= sum_of_doubles(mass) > 1.001 * enough ? half : 0;
    }
    return depth * (float)found / STEPS;
}

INLINE double sum_of_lanes(floats x)
{
    double sum = 0;
    for (int lane = 0; lane < LANES; lane++)
        sum += (double)x[lane];
    return sum;
}

/* The same as the tokens tell that are near. Enough and a little more: the sums are in single
 * precision. */
INLINE float shallower(const struct desk *desk, size_t count, float depth, double enough)
{
    floats masses[STEPS] = {{0}}, bars[STEPS];
    UNROLLED for (int step = 1; step < STEPS; step++)
        bars[step] = all(expf(-depth * (float)step / STEPS) * 1.00001f);
    for (size_t k = 0; k < count; k += LANES) {
        floats w = load(desk->weights + k);
        UNROLLED for (int step = 1; step < STEPS; step++)
            masses[step] += (floats)((ints)w & (w >= bars[step]));
    }
    for (int step = 1; step < STEPS; step++)
        if (sum_of_lanes(masses[step]) > 1.001 * enough)
            return depth * (float)step / STEPS;
    return depth;
}

/* What is at least a bar, minus infinity elsewhere. */
INLINE void keep_from(const float *row, size_t vocabulary, float least, float *out)
{
    for (size_t token = 0; token < vocabulary; token++)
        out[token] = row[token] >= least ? row[token] : -INFINITY;
}

#endif
