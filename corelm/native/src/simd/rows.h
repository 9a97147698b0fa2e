/* Rows of logits, in blocks of 128.
 *
 * The largest logit of each block is found first. Blocks that are far below the largest of the
 * row, as most are after a filter, then cost no exponentials (README.md, "Block maxima").
 */
#ifndef CORELM_ROWS_H
#define CORELM_ROWS_H

#include "../kernels.h"
#include "../pool.h"
#include "elementary.h"
#include "vec.h"

#include <string.h>

enum { BLOCK = 128 };
static const double TOLERANCE = 1e-12; /* of sums of probabilities, as in corelm.numerics */

/* Memory that a thread needs for a row. It is kept for the next one. */
struct scratch {
    size_t capacity;     /* the vocabulary that there is room for */
    float *block_max;    /* of each block */
    double *block_sums;  /* of each block's weights, and some zeros */
    float *weights;      /* of each token, or of each candidate */
    float *logits;       /* of each candidate */
    int32_t *tokens;     /* the candidates */
    int32_t *indices;    /* places of some candidates */
    float *keys, *key_weights; /* what select.h works on */
    float *row;          /* the result of a stage, for the next one */
    const float *known;  /* in `sample`: the row that block_max is of; NULL if it is of none */
    float largest;       /* of the known row */
};

/* Do one row. Returns INVALID where it isn't a distribution. */
typedef enum status row_function(const void *args, size_t row, struct scratch *);

/* Do each row, on all cores where that pays. */
static enum status for_each_row(const struct logits *, const void *args, row_function *);

/* The kernel of a function for one row. */
#define KERNEL_OF_ROWS(name)                                                                      \
    static enum status name(const struct name##_args *args)                                       \
    {                                                                                             \
        return for_each_row(&args->logits, args, name##_row);                                     \
    }

static inline size_t block_count(size_t vocabulary) { return (vocabulary + BLOCK - 1) / BLOCK; }

INLINE size_t block_size(size_t vocabulary, size_t block)
{
    size_t left = vocabulary - block * BLOCK;
    return left < BLOCK ? left : BLOCK;
}

/* Load a vector of logits, minus infinity from an end on. */
INLINE floats load_up_to(const float *from, size_t left)
{
    return load_until(from, (ptrdiff_t)left, -INFINITY);
}

INLINE floats load_logits(const float *from, size_t left, int part)
{
    return load_part(from, left, part, -INFINITY);
}

/* ---- the largest logits ---- */

/* The largest of some logits, or nan where one of them is nan. */
INLINE float max_logit(const float *logits, size_t count)
{
    floats max_a = splat(-INFINITY), max_b = max_a;
    ints is_nan = {0};
    size_t i = 0;
    for (; i + 2 * LANES <= count; i += 2 * LANES) {
        floats a = load(logits + i), b = load(logits + i + LANES);
        is_nan |= (a != a) | (b != b);
        max_a = max(a, max_a), max_b = max(b, max_b);
    }
    for (; i < count; i += LANES) {
        floats a = load_up_to(logits + i, count - i);
        is_nan |= a != a;
        max_a = max(a, max_a);
    }
    return movemask(is_nan) ? NAN : max_of(max(max_a, max_b));
}

/* Find the largest logit of each block, unless they are known, and return the row's largest. */
INLINE float find_block_max(const float *row, size_t vocabulary, const struct scratch *scratch)
{
    float largest = -INFINITY;
    if (row == scratch->known)
        return scratch->largest;
    for (size_t block = 0; block < block_count(vocabulary); block++) {
        float logit = max_logit(row + block * BLOCK, block_size(vocabulary, block));
        scratch->block_max[block] = logit;
        largest = logit > largest ? logit : largest;
    }
    return largest;
}

/* The largest logit of a row, or nan where one of them is nan. */
INLINE float find_max(const float *row, size_t vocabulary, const struct scratch *scratch)
{
    return row == scratch->known ? scratch->largest : max_logit(row, vocabulary);
}

/* Whether a row with these block maxima is a distribution. */
INLINE int is_valid(const float *block_max, size_t blocks, float largest)
{
    int has_nan = 0;
    for (size_t block = 0; block < blocks; block++)
        has_nan |= block_max[block] != block_max[block];
    return isfinite(largest) && !has_nan;
}

/* Take the maxima in block_max, which a stage has kept, for those of its result. */
INLINE void know(const float *row, size_t vocabulary, struct scratch *scratch)
{
    float largest = -INFINITY;
    for (size_t block = 0; block < block_count(vocabulary); block++)
        largest = scratch->block_max[block] > largest ? scratch->block_max[block] : largest;
    scratch->known = row, scratch->largest = largest;
}

/* The same of a copy of the known row in which few tokens were changed. Ids that are no token are
 * left out. Of many, a pass over all blocks takes less time, and is left to who asks for them. */
INLINE void know_changed(const float *row, size_t vocabulary, const int64_t *ids, size_t count,
                         struct scratch *scratch)
{
    if (count > block_count(vocabulary) / 2)
        return;
    for (size_t k = 0; k < count; k++) {
        size_t block = (size_t)ids[k] / BLOCK; /* one below 0 is a large one */
        if (block < block_count(vocabulary))
            scratch->block_max[block] =
                max_logit(row + block * BLOCK, block_size(vocabulary, block));
    }
    know(row, vocabulary, scratch);
}

/* The first token with this logit, or with nan. */
INLINE size_t index_of(const float *row, size_t count, float logit)
{
    for (size_t k = 0; k < count; k += LANES) {
        floats x = load_up_to(row + k, count - k);
        unsigned bits = movemask((x == splat(logit)) | (x != x));
        if (bits)
            return k + (size_t)__builtin_ctz(bits);
    }
    return 0;
}

/* The first token with the largest logit; any token where the row isn't a distribution. */
INLINE size_t argmax(const float *row, size_t vocabulary, float largest, const float *block_max)
{
    size_t block = 0, last = block_count(vocabulary) - 1;
    while (block < last && block_max[block] != largest)
        block++;
    size_t start = block * BLOCK;
    return start + index_of(row + start, block_size(vocabulary, block), largest);
}

/* A block; if it holds the likeliest token, a copy of it without that one. */
INLINE const float *without_argmax(const float *row, size_t start, size_t count, size_t likeliest,
                                   float *copy)
{
    if (likeliest < start || likeliest >= start + count)
        return row + start;
    memcpy(copy, row + start, count * sizeof(float));
    copy[likeliest - start] = -INFINITY;
    return copy;
}

/* ---- candidates: the tokens at most `depth` nats below the largest ---- */

/* A bit for each lane before an end. */
INLINE unsigned lanes_before(size_t left) { return left < LANES ? (1u << left) - 1 : ~0u; }

/* Append the tokens whose bit is set to the candidates; returns how many there are then. */
INLINE size_t compress_store(const struct scratch *scratch, size_t count, ints tokens,
                             floats logits, floats weights, unsigned bits)
{
    store((float *)scratch->tokens + count, compress((floats)tokens, bits));
    store(scratch->logits + count, compress(logits, bits));
    store(scratch->weights + count, compress(weights, bits));
    return count + (size_t)__builtin_popcount(bits);
}

/* The numbers of consecutive tokens. */
INLINE ints tokens_from(size_t first)
{
    ints tokens = {0};
    UNROLLED for (int lane = 0; lane < LANES; lane++)
        tokens[lane] = (int32_t)first + lane;
    return tokens;
}

/* Collect the candidates at the front of the scratch arrays. The weights of all tokens are there:
 * a candidate's never moves behind one that is still to be read. */
INLINE size_t find_candidates(const float *row, size_t vocabulary, float largest, float depth,
                              const struct scratch *scratch)
{
    const ints lanes = tokens_from(0);
    size_t found = 0;
    for (size_t block = 0; block < block_count(vocabulary); block++) {
        size_t start = block * BLOCK, end = start + block_size(vocabulary, block);
        if (!(largest - scratch->block_max[block] <= depth)) /* nor where one is nan */
            continue;
        for (size_t k = start; k < end; k += LANES) {
            floats x = load_up_to(row + k, end - k), w = load(scratch->weights + k);
            unsigned bits = movemask(splat(largest) - x <= splat(depth));
            if (bits)
                found = compress_store(scratch, found, lanes + (int32_t)k, x, w, bits);
        }
    }
    store(scratch->weights + found, splat(0)); /* for loops over whole vectors */
    return found;
}

/* Move the candidates from k on whose bit is set to the front, behind `count` others; returns how
 * many there are then. */
INLINE size_t move_candidates(const struct scratch *scratch, size_t count, size_t k, unsigned bits)
{
    const unsigned all = (1u << LANES) - 1;
    if (count == k && bits == all) /* they are there already: tied rows take half the time */
        return count + LANES;
    ints tokens = (ints)load((float *)scratch->tokens + k);
    return compress_store(scratch, count, tokens, load(scratch->logits + k),
                          load(scratch->weights + k), bits);
}

/* Keep the candidates of a smaller depth. */
INLINE size_t narrow_candidates(float largest, float depth, const struct scratch *scratch,
                                size_t count)
{
    size_t found = 0;
    for (size_t k = 0; k < count; k += LANES) {
        floats x = load(scratch->logits + k);
        unsigned bits = movemask(splat(largest) - x <= splat(depth)) & lanes_before(count - k);
        found = move_candidates(scratch, found, k, bits);
    }
    return found;
}

enum { DEPTHS = 8 }; /* parts of a depth that are tried */

/* The least part of a depth whose candidates surely weigh enough, by the sums of the blocks alone:
 * of a block's weight, at most BLOCK * e_to(-depth) is deeper. Found by bisection. */
INLINE float narrow_by_blocks(const struct scratch *scratch, size_t vocabulary, float depth,
                              double enough)
{
    const size_t blocks = block_count(vocabulary);
    int part = DEPTHS;
    for (size_t i = 0; i < FOUR; i++)
        scratch->block_sums[blocks + i] = 0;
    for (int half = DEPTHS / 2; half; half /= 2) {
        double deeper = BLOCK * (float)e_to(-depth * (float)(part - half) / DEPTHS);
        doubles mass = {0};
        for (size_t block = 0; block < blocks; block += FOUR) {
            doubles rest = load_doubles(scratch->block_sums + block) - deeper;
            mass += (doubles)((longs)rest & (rest > (doubles){0}));
        }
        part -= sum_of_doubles(mass) > 1.001 * enough ? half : 0;
    }
    return depth * (float)part / DEPTHS;
}

INLINE double sum_of_lanes(floats x)
{
    double sum = 0;
    for (int lane = 0; lane < LANES; lane++)
        sum += (double)x[lane];
    return sum;
}

/* The same by the candidates themselves. They have to weigh a little more than enough, for the
 * sums are in single precision. */
INLINE float narrow_by_candidates(const struct scratch *scratch, size_t count, float depth,
                                  double enough)
{
    floats masses[DEPTHS] = {{0}}, bars[DEPTHS];
    UNROLLED for (int part = 1; part < DEPTHS; part++)
        bars[part] = splat((float)e_to(-depth * (float)part / DEPTHS) * 1.00001f);
    for (size_t k = 0; k < count; k += LANES) {
        floats w = load(scratch->weights + k);
        UNROLLED for (int part = 1; part < DEPTHS; part++)
            masses[part] += (floats)((ints)w & (w >= bars[part]));
    }
    for (int part = 1; part < DEPTHS; part++)
        if (sum_of_lanes(masses[part]) > 1.001 * enough)
            return depth * (float)part / DEPTHS;
    return depth;
}

/* ---- results ---- */

INLINE void fill(float *out, size_t count, float logit)
{
    for (size_t k = 0; k < count; k++)
        out[k] = logit;
}

/* Copy the logits above a bar, and those before the token `cut` that equal it; minus infinity
 * elsewhere. */
INLINE void copy_above(const float *row, size_t count, float bar, size_t cut, float *out)
{
    for (size_t k = 0; k < cut; k++)
        out[k] = row[k] >= bar ? row[k] : -INFINITY;
    for (size_t k = cut; k < count; k++)
        out[k] = row[k] > bar ? row[k] : -INFINITY;
}

/* The same, and know the result of the known row. */
INLINE void keep_above(const float *row, size_t vocabulary, float bar, size_t cut, float *out,
                       struct scratch *scratch)
{
    if (row != scratch->known) {
        copy_above(row, vocabulary, bar, cut, out);
        return;
    }
    for (size_t block = 0; block < block_count(vocabulary); block++) {
        size_t start = block * BLOCK, count = block_size(vocabulary, block), equal = count;
        float *largest = scratch->block_max + block;
        if (!(*largest >= bar)) {
            *largest = -INFINITY;
            fill(out + start, count, -INFINITY);
            continue;
        }
        if (cut < start + count)
            equal = cut > start ? cut - start : 0;
        copy_above(row + start, count, bar, equal, out + start);
        if (equal < count && *largest == bar)
            *largest = max_logit(out + start, count);
    }
    know(out, vocabulary, scratch);
}

/* Copy the logits that are at least a bar; minus infinity elsewhere. */
INLINE void keep_at_least(const float *row, size_t vocabulary, float bar, float *out,
                          struct scratch *scratch)
{
    keep_above(row, vocabulary, bar, vocabulary, out, scratch);
}

#endif
