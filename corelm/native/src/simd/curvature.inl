/* tail_free: the tokens before the curve of sorted probabilities flattens out, as
 * corelm.numerics.filters defines it. */
#include "rows.h"
#include "select.h"

enum { DIGIT = 11, DIGITS = 1 << DIGIT, PASSES = 3 }; /* of a sort by the bits of floats */
static const double STRAIGHT = 1e-9; /* as in corelm.numerics.filters */
static const double NO_WEIGHT = -45; /* e^-45 is lost next to a sum above STRAIGHT */

/* The bits of a float, as a number that rises as the float falls; and back. */
INLINE uint32_t falling_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits >> 31 ? bits : ~bits & 0x7fffffff;
}

INLINE float float_of(uint32_t bits)
{
    float x;
    bits = bits >> 31 ? bits : ~bits & 0x7fffffff;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Sort numbers by counting their digits; `spare` has room for as many. Returns the sorted ones, in
 * one of the two. */
static uint32_t *sort_rising(uint32_t *numbers, uint32_t *spare, size_t count)
{
    uint32_t starts[PASSES][DIGITS] = {{0}};
    for (size_t i = 0; i < count; i++)
        for (int pass = 0; pass < PASSES; pass++)
            starts[pass][numbers[i] >> (pass * DIGIT) & (DIGITS - 1)]++;
    for (int pass = 0; pass < PASSES; pass++) {
        uint32_t start = 0, *from = numbers;
        for (int digit = 0; digit < DIGITS; digit++) {
            uint32_t here = starts[pass][digit];
            starts[pass][digit] = start, start += here;
        }
        for (size_t i = 0; i < count; i++)
            spare[starts[pass][from[i] >> (pass * DIGIT) & (DIGITS - 1)]++] = from[i];
        numbers = spare, spare = from;
    }
    return numbers;
}

/* The weights of four tokens of a sorted row from the k-th on, 0 after the last one. */
INLINE doubles weights_at(const uint32_t *sorted, size_t count, size_t k, double largest)
{
    doubles below;
    for (size_t i = 0; i < FOUR; i++)
        below[i] = k + i < count ? (double)float_of(sorted[k + i]) - largest : -INFINITY;
    longs weighs = below > four_of(NO_WEIGHT);
    doubles inside = (doubles)(((longs)below & weighs) | ((longs)four_of(NO_WEIGHT) & ~weighs));
    return (doubles)((longs)four_e_to(inside) & weighs);
}

/* The sum of the leading bends, all `bends` of them or up to the first that exceeds a limit;
 * `leading` becomes how many these are, without that one. */
INLINE double sum_bends(const uint32_t *sorted, size_t count, size_t bends, double limit,
                        size_t *leading)
{
    const double largest = (double)float_of(sorted[0]);
    doubles weights = weights_at(sorted, count, 0, largest);
    double first = 1, second = weights[1], sum = 0;
    *leading = bends;
    for (size_t k = 0; k < bends; k++) {
        if ((k + 2) % FOUR == 0)
            weights = weights_at(sorted, count, k + 2, largest);
        double third = weights[(k + 2) % FOUR];
        sum += fabs((third - second) - (second - first));
        if (limit < sum * (1 - TOLERANCE)) {
            *leading = k;
            break;
        }
        first = second, second = third;
    }
    return sum;
}

/* ---- the tokens that are sorted: the likeliest, or all ---- */

/* Sort the logits that are at least a bar, unless they are more than `most`; returns how many they
 * are, or 0. */
INLINE size_t sort_down_to(float bar, size_t most, const float *row, size_t vocabulary,
                           const struct scratch *scratch, const uint32_t **sorted)
{
    uint32_t *numbers = (uint32_t *)scratch->tokens;
    size_t count = 0;
    for (size_t block = 0; block < block_count(vocabulary); block++) {
        size_t start = block * BLOCK, end = start + block_size(vocabulary, block);
        if (scratch->block_max[block] < bar) /* not where one is nan */
            continue;
        for (size_t k = start; k < end; k += LANES) {
            floats x = load_up_to(row + k, end - k);
            unsigned bits = movemask(x >= splat(bar));
            store((float *)numbers + count, compress(x + splat(0.0f), bits)); /* -0 equals 0 */
            count += (size_t)__builtin_popcount(bits);
        }
    }
    if (count > most)
        return 0;
    for (size_t k = 0; k < count; k++) {
        float logit;
        memcpy(&logit, numbers + k, sizeof logit);
        numbers[k] = falling_bits(logit);
    }
    *sorted = sort_rising(numbers, (uint32_t *)scratch->indices, count);
    return count;
}

/* How many tokens come before the tail, of a row whose possible tokens are all sorted. */
TARGET static size_t kept_of_all(const uint32_t *sorted, size_t count, size_t vocabulary, double z)
{
    /* After the last token and one more, nothing bends. */
    size_t leading, bends = vocabulary - 2 < count ? vocabulary - 2 : count;
    double total = sum_bends(sorted, count, bends, INFINITY, &leading);
    if (!(total > STRAIGHT))
        return vocabulary;
    sum_bends(sorted, count, bends, z * total, &leading);
    return 1 + leading;
}

/* The same of a row of which the likeliest tokens are sorted; 0 if that depends on the others. These
 * have weights that fall to 0 from the last but one, so their bends sum to at most twice its. */
TARGET static size_t kept_of_likeliest(const uint32_t *sorted, size_t count, double z)
{
    if (count < 3)
        return 0;
    size_t leading, bends = count - 2;
    double total = sum_bends(sorted, count, bends, INFINITY, &leading);
    double next = e_to((double)float_of(sorted[count - 2]) - (double)float_of(sorted[0]));
    double most = (total + 2 * next) * (1 + 1e-6); /* more than rounding adds */
    if (!(total > STRAIGHT))
        return 0;
    double sum = sum_bends(sorted, count, bends, z * total, &leading);
    return leading < bends && z * most < sum * (1 - TOLERANCE) ? 1 + leading : 0;
}

enum { LEAST_DEPTH = 8, MOST_DEPTH = 17, DEPTH_STEP = 3 }; /* nats, which are tried first */

TARGET static enum status tail_free_row(const void *work, size_t i, struct scratch *scratch)
{
    const struct tail_free_args *args = work;
    const size_t vocabulary = args->logits.vocabulary;
    const float *row = args->logits.values + i * vocabulary;
    float *out = args->out + i * vocabulary;
    const float largest = find_block_max(row, vocabulary, scratch);
    const size_t possible = possible_tokens(row, vocabulary);
    const uint32_t *sorted = NULL;
    size_t count = 0, kept = 0, above = 0, ties = 0;
    int bends = args->z < 1 && vocabulary > 2 && possible;
    for (int depth = LEAST_DEPTH; bends && !kept && depth <= MOST_DEPTH; depth += DEPTH_STEP) {
        count = sort_down_to(largest - (float)depth, possible / 2, row, vocabulary, scratch, &sorted);
        kept = kept_of_likeliest(sorted, count, args->z);
    }
    if (bends && !kept) {
        count = sort_down_to(-FLT_MAX, possible, row, vocabulary, scratch, &sorted);
        kept = kept_of_all(sorted, count, vocabulary, args->z);
    }
    if (!bends || kept >= possible) {
        memcpy(out, row, vocabulary * sizeof(float));
        return OK;
    }
    while (above < kept && sorted[above] != sorted[kept - 1])
        above++;
    while (above + ties < count && sorted[above + ties] == sorted[kept - 1])
        ties++;
    keep_selected(row, vocabulary, float_of(sorted[kept - 1]), ties, kept - above, out,
                  scratch);
    return OK;
}

KERNEL_OF_ROWS(tail_free)
