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

TARGET static enum status tail_free_row(const void *work, size_t i, struct scratch *scratch)
{
    const struct tail_free_args *args = work;
    const size_t vocabulary = args->logits.vocabulary;
    const float *row = args->logits.values + i * vocabulary;
    float *out = args->out + i * vocabulary;
    uint32_t *numbers = (uint32_t *)scratch->tokens;
    size_t count = 0, kept = vocabulary, leading, above = 0, ties = 0;
    for (size_t token = 0; token < vocabulary; token++) {
        numbers[count] = falling_bits(row[token] + 0.0f); /* minus 0 equals 0 */
        count += row[token] > -INFINITY;
    }
    const uint32_t *sorted = sort_rising(numbers, (uint32_t *)scratch->indices, count);
    if (args->z < 1 && vocabulary > 2 && count) {
        /* After the last token and one more, nothing bends. */
        size_t bends = vocabulary - 2 < count ? vocabulary - 2 : count;
        double total = sum_bends(sorted, count, bends, INFINITY, &leading);
        if (total > STRAIGHT) {
            sum_bends(sorted, count, bends, args->z * total, &leading);
            kept = 1 + leading;
        }
    }
    if (kept >= count) {
        memcpy(out, row, vocabulary * sizeof(float));
        return OK;
    }
    while (above < kept && sorted[above] != sorted[kept - 1])
        above++;
    while (above + ties < count && sorted[above + ties] == sorted[kept - 1])
        ties++;
    keep_selected(row, vocabulary, float_of(sorted[kept - 1]), ties, kept - above, out);
    return OK;
}

KERNEL_OF_ROWS(tail_free)
