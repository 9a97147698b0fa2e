/* Filters by how likely a token is beside others, row by row, as corelm/filters.py and the samplers
 * define them. */
#include "rows.h"

#include <float.h>
#include <string.h>

/* ---- what is nearly as likely as the likeliest ---- */

INLINE void keep_one(const float *row, size_t vocabulary, float most, float kept, float *out)
{
    size_t token = first_of(row, vocabulary, most);
    for (size_t k = 0; k < vocabulary; k++)
        out[k] = -INFINITY;
    out[token] = kept;
}

FAST static void greedy_row(struct rows *rows, size_t i, struct desk *desk)
{
    (void)desk;
    const size_t vocabulary = rows->vocabulary;
    const float *row = rows->logits + i * vocabulary;
    keep_one(row, vocabulary, top_of(row, vocabulary), 0, rows->out + i * vocabulary);
}

static void greedy(struct rows *rows) { each_row(rows, greedy_row); }

/* The smallest finite float that is at least this. */
static float rounded_up(double least)
{
    float near = least < -FLT_MAX ? -FLT_MAX : (float)least;
    return (double)near < least ? nextafterf(near, INFINITY) : near;
}

/* What is at most so many nats less likely; the likeliest alone where they are below 0. */
FAST static void keep_row(struct rows *rows, size_t i, struct desk *desk)
{
    (void)desk;
    const size_t vocabulary = rows->vocabulary;
    const float *row = rows->logits + i * vocabulary;
    float *out = rows->out + i * vocabulary, most = top_of(row, vocabulary);
    double nats = rows->nats[i];
    if (nats < -SLACK)
        keep_one(row, vocabulary, most, most, out);
    else
        keep_from(row, vocabulary, rounded_up((double)most - nats - SLACK), out);
}

static void keep(struct rows *rows) { each_row(rows, keep_row); }

/* Less the mean, and 0 where it is minus infinity. */
INLINE doubles deviation(doubles x, double mean)
{
    longs there = x > (doubles){-INFINITY, -INFINITY, -INFINITY, -INFINITY};
    return (doubles)((longs)(x - mean) & there);
}

/* The standard deviation of the logits that are not minus infinity. */
FAST static void deviation_of_row(struct rows *rows, size_t i, struct desk *desk)
{
    (void)desk;
    const size_t vocabulary = rows->vocabulary;
    const float *row = rows->logits + i * vocabulary;
    doubles low = {0}, high = {0};
    size_t possible = 0;
    for (size_t k = 0; k < vocabulary; k += LANES) {
        floats x = load_up_to(row + k, vocabulary - k);
        ints there = x > all(-INFINITY);
        possible += (size_t)__builtin_popcount(bits_of(there));
        x = (floats)((ints)x & there);
        UNROLLED for (int e = 0; e < EIGHTS; e++)
            low += low_of(eight_of(x, e)), high += high_of(eight_of(x, e));
    }
    double count = (double)possible, mean = sum_of_doubles(low + high) / count;
    low = high = (doubles){0};
    for (size_t k = 0; k < vocabulary; k += LANES) {
        floats x = load_up_to(row + k, vocabulary - k);
        UNROLLED for (int e = 0; e < EIGHTS; e++) {
            doubles a = deviation(low_of(eight_of(x, e)), mean);
            doubles b = deviation(high_of(eight_of(x, e)), mean);
            low += a * a, high += b * b;
        }
    }
    rows->first[i] = sqrt(sum_of_doubles(low + high) / count);
}

static void deviations(struct rows *rows) { each_row(rows, deviation_of_row); }

/* ---- the k largest ---- */

/* A number of which the order, as a whole one, is that of the float. */
INLINE uint32_t ordered(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits >> 31 ? ~bits : bits | 1u << 31;
}

/* The k-th largest of some numbers, which are changed: digit by digit from the highest on, by how
 * many have each, and those that have the right one go on. */
INLINE float kth_largest(float *numbers, size_t count, size_t k)
{
    for (int shift = 24; shift >= 0 && count > 1; shift -= 8) {
        size_t counts[256] = {0}, kept = 0;
        for (size_t i = 0; i < count; i++)
            counts[ordered(numbers[i]) >> shift & 255]++;
        uint32_t digit = 255;
        for (; counts[digit] < k; digit--)
            k -= counts[digit];
        for (size_t i = 0; i < count; i++) {
            float number = numbers[i];
            numbers[kept] = number;
            kept += (ordered(number) >> shift & 255) == digit;
        }
        count = kept;
    }
    return numbers[0];
}

/* The largest of the columns into which the lanes cut each block; returns how many they are. */
INLINE size_t find_columns(const float *row, size_t vocabulary, float *tops)
{
    for (size_t block = 0; block < blocks_in(vocabulary); block++) {
        size_t start = block * BLOCK, end = start + block_size(vocabulary, block);
        floats most = all(-INFINITY);
        for (size_t k = start; k < end; k += LANES)
            most = larger(load_up_to(row + k, end - k), most);
        store(tops + block * LANES, most);
    }
    return blocks_in(vocabulary) * LANES;
}

/* The tokens that are at least a bar, and their logits, from the tops of columns. */
INLINE size_t find_reaching(const float *row, size_t vocabulary, float bar, const float *tops,
                            const struct desk *desk)
{
    size_t found = 0;
    for (size_t block = 0; block < blocks_in(vocabulary); block++) {
        size_t start = block * BLOCK, end = start + block_size(vocabulary, block);
        if (!bits_of(load(tops + block * LANES) >= all(bar)))
            continue;
        for (size_t k = start; k < end; k += LANES) {
            floats x = load_up_to(row + k, end - k);
            for (unsigned bits = bits_of(x >= all(bar)); bits; bits &= bits - 1) {
                int32_t token = (int32_t)k + __builtin_ctz(bits);
                desk->weights[found] = row[token];
                desk->tokens[found++] = token;
            }
        }
    }
    return found;
}

INLINE size_t how_many_reach(const float *numbers, size_t count, float bar)
{
    size_t found = 0;
    for (size_t k = 0; k < count; k += LANES)
        found += (size_t)__builtin_popcount(bits_of(load(numbers + k) >= all(bar)));
    return found;
}

/* A bar that at least k of some numbers reach, and not many more; the least there is where fewer
 * than k are finite. */
INLINE float bar_for(const float *numbers, size_t count, size_t k, float most)
{
    float depth = 1, step = 1;
    if (how_many_reach(numbers, count, -FLT_MAX) < k)
        return -FLT_MAX;
    while (depth < FLT_MAX && how_many_reach(numbers, count, most - depth) < k)
        step = depth, depth *= 2;
    for (int halvings = 0; halvings < 4; halvings++) {
        step /= 2;
        depth -= how_many_reach(numbers, count, most - (depth - step)) >= k ? step : 0;
    }
    return fmaxf(most - depth, -FLT_MAX);
}

/* As many logits as columns have a top that reaches a bar reach it too. So few are left to be
 * looked through; of those that tie the first ones stay. */
FAST static void largest_of_row(struct rows *rows, size_t i, struct desk *desk)
{
    const size_t vocabulary = rows->vocabulary, k = rows->count;
    const float *row = rows->logits + i * vocabulary;
    float *out = rows->out + i * vocabulary, bar = -FLT_MAX;
    const float *tops = desk->logits;
    size_t columns = find_columns(row, vocabulary, desk->logits);
    if (k <= columns)
        bar = bar_for(tops, columns, k, top_of(tops, columns));
    size_t found = find_reaching(row, vocabulary, bar, tops, desk), above = 0;
    if (found > k)
        bar = kth_largest(desk->weights, found, k);
    keep_from(row, vocabulary, bar, out);
    for (size_t j = 0; j < found; j++)
        above += row[desk->tokens[j]] > bar;
    for (size_t j = 0, tied = above; j < found; j++)
        if (row[desk->tokens[j]] == bar && ++tied > k)
            out[desk->tokens[j]] = -INFINITY;
}

static void largest(struct rows *rows) { each_row(rows, largest_of_row); }
