/* Weighted selection: find the value at which the weights of the larger keys reach a given sum.
 *
 * A sample of the keys gives two pivots that probably enclose the answer. The weights above and
 * between them are summed, and the search continues in the part that holds the answer. The
 * expected time is proportional to the number of keys for any distribution of their values: flat,
 * tied, sorted or spread over all exponents.
 */
#ifndef CORELM_SELECT_H
#define CORELM_SELECT_H

#include "rows.h"

#include <float.h>

enum { SAMPLE = 32, SORTED = 32, MARGIN = 3 }; /* margin: places in the sample around the answer */

/* Keys and their weights. After the last one come at least SIXTEEN of weight 0. */
struct keys {
    float *values, *weights;
    size_t count;
    double before; /* the weight of larger keys that are left out already */
    double mass;   /* the weight of these keys */
};

struct selected {
    float value;       /* at which the weights reach the sum; the smallest one if they never do */
    size_t ties, kept; /* keys with that value, and how many of them it takes */
    double before;     /* the weight of larger keys */
};

/* Add sixteen lanes to four doubles each, in the same order for both numbers of LANES. */
INLINE void add_sixteen(doubles *sums, const floats *parts)
{
    EACH_PART(v) UNROLLED for (int e = 0; e < EIGHTS; e++) {
        eight x = eight_of(parts[v], e);
        sums[2 * (v * EIGHTS + e)] += low_of(x);
        sums[2 * (v * EIGHTS + e) + 1] += high_of(x);
    }
}

INLINE double sum_of_sixteen(const doubles *sums)
{
    return sum_of_doubles((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

/* The weight of the keys from `low` to `high`, both included, and of those above. */
INLINE double sum_between(const struct keys *keys, float low, float high, double *above)
{
    doubles upper[4] = {{0}}, middle[4] = {{0}};
    for (size_t k = 0; k < keys->count; k += SIXTEEN) {
        floats a[PARTS], b[PARTS];
        EACH_PART(v) {
            floats x = load(keys->values + k + v * LANES), w = load(keys->weights + k + v * LANES);
            ints is_above = x > splat(high), is_between = (x >= splat(low)) & ~is_above;
            a[v] = (floats)((ints)w & is_above), b[v] = (floats)((ints)w & is_between);
        }
        add_sixteen(upper, a), add_sixteen(middle, b);
    }
    *above = sum_of_sixteen(upper);
    return sum_of_sixteen(middle);
}

INLINE void end_keys(struct keys *keys, size_t count)
{
    keys->count = count;
    EACH_PART(v) {
        store(keys->values + count + v * LANES, splat(-INFINITY));
        store(keys->weights + count + v * LANES, splat(0.0f));
    }
}

/* Keep the keys from `low` to `high`, both included. */
INLINE void keep_between(struct keys *keys, float low, float high)
{
    size_t kept = 0;
    for (size_t k = 0; k < keys->count; k += LANES) {
        floats x = load(keys->values + k), w = load(keys->weights + k);
        unsigned bits = movemask((x >= splat(low)) & (x <= splat(high)));
        bits &= lanes_before(keys->count - k);
        store(keys->values + kept, compress(x, bits));
        store(keys->weights + kept, compress(w, bits));
        kept += (size_t)__builtin_popcount(bits);
    }
    end_keys(keys, kept);
}

INLINE void range_of(const struct keys *keys, float *low, float *high)
{
    floats largest = splat(-INFINITY), negated = largest;
    for (size_t k = 0; k < keys->count; k += LANES) {
        ptrdiff_t left = (ptrdiff_t)(keys->count - k);
        largest = max(load_until(keys->values + k, left, -INFINITY), largest);
        negated = max(-load_until(keys->values + k, left, INFINITY), negated);
    }
    *low = -max_of(negated), *high = max_of(largest);
}

/* Sort by falling value; an insertion sort, for few. */
static void sort_keys(float *values, float *weights, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        float value = values[i], weight = weights[i];
        size_t place = i;
        for (; place && values[place - 1] < value; place--)
            values[place] = values[place - 1], weights[place] = weights[place - 1];
        values[place] = value, weights[place] = weight;
    }
}

/* Take one key from each of SAMPLE equal parts; returns the sum of their weights. */
INLINE double sample_keys(const struct keys *keys, float *values, float *weights)
{
    uint32_t random = 1;
    double mass = 0;
    for (size_t i = 0; i < SAMPLE; i++) {
        random = random * 1664525 + 1013904223;
        size_t place = (keys->count * i + keys->count * (random >> 24) / 256) / SAMPLE;
        values[i] = keys->values[place], weights[i] = keys->weights[place];
        mass += (double)weights[i];
    }
    return mass;
}

/* Two pivots around the value at which the weights of a sample reach their share of the sum. */
INLINE void find_pivots(const struct keys *keys, double enough, int margin, float *low,
                        float *high)
{
    float values[SAMPLE], weights[SAMPLE];
    double mass = sample_keys(keys, values, weights), sum = 0;
    sort_keys(values, weights, SAMPLE);
    double share = (enough - keys->before) / keys->mass * mass;
    int place = 0;
    for (; place < SAMPLE - 1; place++)
        if ((sum += (double)weights[place]) >= share)
            break;
    *high = place < margin ? FLT_MAX : values[place - margin];
    *low = place + margin >= SAMPLE ? -FLT_MAX : values[place + margin];
}

/* Continue with the part that holds the answer: above the pivots, between them or below them. If
 * rounding keeps the sum out of reach, that is the part with the smallest key. */
INLINE void narrow_keys(struct keys *keys, double enough, float smallest, float low, float high)
{
    double above, between = sum_between(keys, low, high, &above);
    if (keys->before + above >= enough) {
        keys->mass = above;
        keep_between(keys, nextafterf(high, INFINITY), FLT_MAX);
    } else if (keys->before + above + between >= enough || low <= smallest) {
        keys->before += above, keys->mass = between;
        keep_between(keys, low, high);
    } else {
        keys->before += above + between, keys->mass -= above + between;
        keep_between(keys, -FLT_MAX, nextafterf(low, -INFINITY));
    }
}

/* Select among keys that are all equal: only their number matters. */
INLINE struct selected select_tied(const struct keys *keys, double enough)
{
    double weight = (double)keys->weights[0], before = keys->before;
    double kept = weight > 0 ? ceil((enough - before) / weight) : 1;
    kept = fmin(fmax(kept, 1), (double)keys->count);
    while (kept > 1 && before + (kept - 1) * weight >= enough)
        kept--;
    while (kept < (double)keys->count && before + kept * weight < enough)
        kept++;
    return (struct selected){keys->values[0], keys->count, (size_t)kept, before};
}

INLINE struct selected select_sorted(const struct keys *keys, double enough)
{
    const float *values = keys->values, *weights = keys->weights;
    double mass = keys->before;
    sort_keys(keys->values, keys->weights, keys->count);
    size_t last = 0, first = 0, end;
    for (; last + 1 < keys->count; last++) {
        mass += (double)weights[last];
        if (mass >= enough)
            break;
    }
    while (values[first] > values[last])
        first++;
    for (end = last + 1; end < keys->count && values[end] == values[last];)
        end++;
    mass = keys->before;
    for (size_t i = 0; i < first; i++)
        mass += (double)weights[i];
    return (struct selected){values[last], end - first, last + 1 - first, mass};
}

/* Select among at least one key, all of them finite. The keys are changed. */
INLINE struct selected select_mass(struct keys *keys, double enough)
{
    double above;
    int margin = MARGIN;
    enough = fmax(enough, DBL_MIN); /* the largest key is always taken */
    keys->before = 0;
    if (keys->count > SORTED)
        keys->mass = sum_between(keys, -FLT_MAX, FLT_MAX, &above);
    while (keys->count > SORTED) {
        size_t count = keys->count;
        float smallest, largest, low, high;
        range_of(keys, &smallest, &largest);
        if (smallest == largest)
            return select_tied(keys, enough);
        find_pivots(keys, enough, margin, &low, &high);
        narrow_keys(keys, enough, smallest, low, high);
        margin = keys->count < count ? MARGIN : 0; /* one pivot leaves at least its own ties out */
    }
    return select_sorted(keys, enough);
}

/* Keep the logits above a bar, and of those that equal it the first ones. */
INLINE void keep_selected(const float *row, size_t vocabulary, const struct selected *selected,
                          float *out)
{
    size_t cut = vocabulary, left = selected->kept;
    if (selected->kept < selected->ties)
        for (cut = 0; cut < vocabulary; cut += LANES) {
            unsigned bits =
                movemask(load_up_to(row + cut, vocabulary - cut) == splat(selected->value));
            size_t ties = (size_t)__builtin_popcount(bits);
            if (ties < left) {
                left -= ties;
                continue;
            }
            for (; left > 1; left--)
                bits &= bits - 1;
            cut += (size_t)__builtin_ctz(bits) + 1;
            break;
        }
    cut = cut < vocabulary ? cut : vocabulary;
    keep_at_least(row, cut, selected->value, out);
    for (size_t token = cut; token < vocabulary; token++)
        out[token] = row[token] > selected->value ? row[token] : -INFINITY;
}

#endif
