/* Selection: find the value at which a sum over the larger keys reaches a goal, a weight or an
 * entropy.
 *
 * A sample of the keys gives two pivots that probably enclose the answer. One pass sums the keys
 * above and between them, and the search continues in the part that holds the answer, which a
 * second pass collects. If the pivots are equal, it is done: keys that tie need no pass of their
 * own. The expected time is proportional to the number of keys for any distribution of their
 * values: flat, tied, sorted or spread over all exponents.
 */
#ifndef CORELM_SELECT_H
#define CORELM_SELECT_H

#include "rows.h"

#include <float.h>

/* ---- sums of sixteen lanes in double precision ---- */

/* Vectors of eight doubles, or twice as many of four; both add up in the same order. */
#if LANES == 16
typedef double eight_doubles __attribute__((vector_size(64)));
struct sixteen_doubles {
    eight_doubles lanes[2];
};

INLINE eight_doubles to_doubles(floats x, int second)
{
    return (eight_doubles)_mm512_cvtps_pd((__m256)eight_of(x, second));
}

INLINE void add_sixteen(struct sixteen_doubles *sums, const floats *parts)
{
    UNROLLED for (int e = 0; e < 2; e++)
        sums->lanes[e] += to_doubles(parts[0], e);
}

INLINE void add_products(struct sixteen_doubles *sums, const floats *a, const floats *b)
{
    UNROLLED for (int e = 0; e < 2; e++)
        sums->lanes[e] = (eight_doubles)_mm512_fmadd_pd((__m512d)to_doubles(a[0], e),
                                                        (__m512d)to_doubles(b[0], e),
                                                        (__m512d)sums->lanes[e]);
}

INLINE doubles fold_eight_doubles(eight_doubles x)
{
    return __builtin_shufflevector(x, x, 0, 1, 2, 3) + __builtin_shufflevector(x, x, 4, 5, 6, 7);
}

INLINE double sum_of_sixteen(const struct sixteen_doubles *sums)
{
    return sum_of_doubles(fold_eight_doubles(sums->lanes[0]) + fold_eight_doubles(sums->lanes[1]));
}
#else
struct sixteen_doubles {
    doubles lanes[4];
};

INLINE void add_sixteen(struct sixteen_doubles *sums, const floats *parts)
{
    EACH_PART(v) {
        sums->lanes[2 * v] += low_of(parts[v]);
        sums->lanes[2 * v + 1] += high_of(parts[v]);
    }
}

INLINE void add_products(struct sixteen_doubles *sums, const floats *a, const floats *b)
{
    EACH_PART(v) {
        doubles *sum = sums->lanes + 2 * v;
        sum[0] = fmadd_doubles(low_of(a[v]), low_of(b[v]), sum[0]);
        sum[1] = fmadd_doubles(high_of(a[v]), high_of(b[v]), sum[1]);
    }
}

INLINE double sum_of_sixteen(const struct sixteen_doubles *sums)
{
    const doubles *lanes = sums->lanes;
    return sum_of_doubles((lanes[0] + lanes[1]) + (lanes[2] + lanes[3]));
}
#endif

INLINE double sum_weights(const float *weights, size_t count)
{
    struct sixteen_doubles sums = {{{0}}};
    for (size_t k = 0; k < count; k += SIXTEEN) {
        floats w[PARTS];
        EACH_PART(v) w[v] = load_part(weights + k, count - k, v, 0.0f);
        add_sixteen(&sums, w);
    }
    return sum_of_sixteen(&sums);
}

/* ---- keys, and sums over the larger ones ---- */

enum { SMALL_SAMPLE = 32, LARGE_SAMPLE = 64, MANY = 1 << 14, SORTED = 32 };
enum { MARGINS = 10 }; /* in a sample, the part of its places between the answer and a pivot */

/* Keys and their weights. After the last one is room for SIXTEEN. */
struct keys {
    float *values, *weights;
    size_t count;
};

/* Sums over the larger keys. */
struct prefix {
    double weight, moment; /* the moment, of weight * (key - largest), is for entropies alone */
};

/* A number that the sums have to reach: a weight or, of an entropy, to exceed. The likeliest token
 * has weight 1 in an entropy, which is added last: next to it, small weights would be lost. */
struct goal {
    double enough;
    int is_entropy;
    float largest;    /* for an entropy: the key of the likeliest token; its stored weight is 0 */
    float resolution; /* keys that differ by less may be taken for ties */
};

struct selected {
    float value;      /* at which the goal is reached; the smallest key if it never is */
    size_t ties, fit; /* keys with that value, and how many of them don't reach the goal */
    double before;    /* the weight of larger keys */
};

INLINE int reaches(struct prefix prefix, const struct goal *goal)
{
    if (!goal->is_entropy)
        return prefix.weight >= goal->enough;
    double entropy = ln_1p(prefix.weight) - prefix.moment / (1 + prefix.weight);
    return entropy * (1 - TOLERANCE) > goal->enough;
}

/* The prefix with some multiple of another one's sums. */
INLINE struct prefix add_times(struct prefix prefix, double times, struct prefix other)
{
    prefix.weight += times * other.weight, prefix.moment += times * other.moment;
    return prefix;
}

INLINE struct prefix prefix_of(float value, float weight, const struct goal *goal)
{
    double below = goal->is_entropy ? (double)(value - goal->largest) : 0;
    return (struct prefix){(double)weight, (double)weight * below};
}

/* Add sixteen keys, with these values and weights, to the sums. */
INLINE void add_keys(struct sixteen_doubles *weights, struct sixteen_doubles *moments,
                     const floats *x, const floats *w, const struct goal *goal)
{
    floats below[PARTS];
    add_sixteen(weights, w);
    if (!goal->is_entropy)
        return;
    EACH_PART(v) /* after the last key, 0 * -inf would be nan */
        below[v] = max(x[v] - splat(goal->largest), splat(-MAX_DEPTH));
    add_products(moments, w, below);
}

INLINE struct prefix sum_keys(const struct keys *keys, const struct goal *goal)
{
    struct sixteen_doubles weights = {{{0}}}, moments = {{{0}}};
    for (size_t k = 0; k < keys->count; k += SIXTEEN) {
        floats x[PARTS], w[PARTS];
        EACH_PART(v) {
            x[v] = load(keys->values + k + v * LANES);
            w[v] = load(keys->weights + k + v * LANES);
        }
        add_keys(&weights, &moments, x, w, goal);
    }
    return (struct prefix){sum_of_sixteen(&weights), sum_of_sixteen(&moments)};
}

/* ---- the parts that two pivots make of the keys ---- */

struct part {
    struct prefix sums;
    size_t count;
};

/* Sum the keys above `high`, and those from `low` to `high`, both included. */
INLINE void sum_parts(const struct keys *keys, const struct goal *goal, float low, float high,
                      struct part *above, struct part *between)
{
    struct sixteen_doubles weights[2] = {{{{0}}}}, moments[2] = {{{{0}}}};
    size_t counts[2] = {0, 0};
    for (size_t k = 0; k < keys->count; k += SIXTEEN) {
        floats x[PARTS], parts[2][PARTS];
        EACH_PART(v) {
            floats w = load(keys->weights + k + v * LANES);
            x[v] = load(keys->values + k + v * LANES);
            ints is_above = x[v] > splat(high), is_between = (x[v] >= splat(low)) & ~is_above;
            parts[0][v] = (floats)((ints)w & is_above);
            parts[1][v] = (floats)((ints)w & is_between);
            counts[0] += (size_t)__builtin_popcount(movemask(is_above));
            counts[1] += (size_t)__builtin_popcount(movemask(is_between));
        }
        UNROLLED for (int part = 0; part < 2; part++)
            add_keys(&weights[part], &moments[part], x, parts[part], goal);
    }
    *above = (struct part){{sum_of_sixteen(&weights[0]), sum_of_sixteen(&moments[0])}, counts[0]};
    *between =
        (struct part){{sum_of_sixteen(&weights[1]), sum_of_sixteen(&moments[1])}, counts[1]};
}

INLINE void end_keys(struct keys *keys, size_t count)
{
    keys->count = count;
    EACH_PART(v) {
        store(keys->values + count + v * LANES, splat(-INFINITY));
        store(keys->weights + count + v * LANES, splat(0.0f));
    }
}

/* Copy the keys from `low` to `high`, both included, to the scratch memory for keys. */
INLINE struct keys copy_between(const struct keys *keys, float low, float high,
                                const struct scratch *scratch)
{
    struct keys kept = {.values = scratch->keys, .weights = scratch->key_weights};
    size_t count = 0;
    for (size_t k = 0; k < keys->count; k += LANES) {
        floats x = load(keys->values + k), w = load(keys->weights + k);
        unsigned bits = movemask((x >= splat(low)) & (x <= splat(high)));
        bits &= lanes_before(keys->count - k);
        store(kept.values + count, compress(x, bits));
        store(kept.weights + count, compress(w, bits));
        count += (size_t)__builtin_popcount(bits);
    }
    end_keys(&kept, count);
    return kept;
}

/* ---- the pivots ---- */

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

/* Take one key from each of some equal parts. */
INLINE void sample_keys(const struct keys *keys, size_t size, float *values, float *weights)
{
    uint32_t random = 1;
    for (size_t i = 0; i < size; i++) {
        random = random * 1664525 + 1013904223;
        size_t place = (keys->count * i + keys->count * (random >> 24) / 256) / size;
        values[i] = keys->values[place], weights[i] = keys->weights[place];
    }
}

/* Two pivots around the value at which the sums reach the goal, if each key of a sample stands for
 * an equal number of keys. The sums down to the smallest key are `all`; going up from there, keys
 * are taken out of them. For the other way round, a sample tells too little: it may hold none of
 * the few largest weights. The answer is rarely more than a tenth of the sample away. To miss it
 * costs a pass over most keys, so a larger sample is taken of many keys. */
INLINE void find_pivots(const struct keys *keys, struct prefix all, const struct goal *goal,
                        int apart, float *low, float *high)
{
    float values[LARGE_SAMPLE], weights[LARGE_SAMPLE];
    const int size = keys->count < MANY ? SMALL_SAMPLE : LARGE_SAMPLE;
    const int margin = apart ? size / MARGINS : 0;
    const double times = (double)keys->count / size;
    sample_keys(keys, (size_t)size, values, weights);
    sort_keys(values, weights, (size_t)size);
    int place = size - 1;
    for (; place > 0; place--) {
        all = add_times(all, -times, prefix_of(values[place], weights[place], goal));
        if (!reaches(all, goal))
            break;
    }
    *high = values[place > margin ? place - margin : 0];
    *low = values[place + margin < size ? place + margin : size - 1];
}

/* ---- the selection ---- */

/* Select among keys that are all equal, by bisection of their number. */
INLINE struct selected select_tied(float value, const struct part *ties, struct prefix before,
                                   const struct goal *goal)
{
    const size_t weightless = goal->is_entropy && value == goal->largest;
    const double heavy = ties->count > weightless ? (double)(ties->count - weightless) : 1;
    const struct prefix each = {ties->sums.weight / heavy, ties->sums.moment / heavy};
    size_t fit = 0, excess = ties->count + 1;
    while (excess - fit > 1) {
        size_t middle = fit + (excess - fit) / 2;
        double times = middle > weightless ? (double)(middle - weightless) : 0;
        if (reaches(add_times(before, times, each), goal))
            excess = middle;
        else
            fit = middle;
    }
    return (struct selected){value, ties->count, fit, before.weight};
}

INLINE struct selected select_sorted(const struct keys *keys, struct prefix before,
                                     const struct goal *goal)
{
    float values[SORTED], weights[SORTED];
    struct selected selected = {.value = INFINITY};
    int reached = 0;
    memcpy(values, keys->values, keys->count * sizeof(float));
    memcpy(weights, keys->weights, keys->count * sizeof(float));
    sort_keys(values, weights, keys->count);
    for (size_t k = 0; k < keys->count && !(reached && values[k] < selected.value); k++) {
        if (values[k] < selected.value)
            selected = (struct selected){.value = values[k], .before = before.weight};
        before = add_times(before, 1, prefix_of(values[k], weights[k], goal));
        reached = reached || reaches(before, goal);
        selected.ties++;
        selected.fit += !reached;
    }
    return selected;
}

/* Select among at least one key, none of them nan, whose sums are known. If rounding keeps the
 * goal out of reach, the answer is the smallest key. */
INLINE struct selected select_keys(struct keys keys, struct prefix sums, struct prefix before,
                                   const struct goal *goal, const struct scratch *scratch)
{
    struct prefix all = add_times(before, 1, sums);
    int apart = 1;
    while (keys.count > SORTED) {
        struct part above, between;
        const size_t count = keys.count;
        float low, high;
        find_pivots(&keys, all, goal, apart, &low, &high);
        sum_parts(&keys, goal, low, high, &above, &between);
        struct prefix to_high = add_times(before, 1, above.sums);
        struct prefix to_low = add_times(to_high, 1, between.sums);
        if (reaches(to_high, goal)) {
            all = to_high;
            keys = copy_between(&keys, nextafterf(high, INFINITY), INFINITY, scratch);
        } else if (reaches(to_low, goal) || above.count + between.count == count) {
            before = to_high, all = to_low;
            if (high == low || high - low <= goal->resolution) /* inf - inf is nan */
                return select_tied(low, &between, before, goal);
            keys = copy_between(&keys, low, high, scratch);
        } else {
            before = to_low;
            keys = copy_between(&keys, -FLT_MAX, nextafterf(low, -INFINITY), scratch);
        }
        /* Two pivots around many ties leave few keys out; a single one sets its ties apart. */
        apart = keys.count < count / 2 || !apart;
    }
    return select_sorted(&keys, before, goal);
}

/* Select among at least one key, none of them nan, by weight; `sum` is their total weight. */
INLINE struct selected select_mass(struct keys keys, double sum, double before, double enough,
                                   float resolution, const struct scratch *scratch)
{
    const struct goal goal = {.enough = fmax(enough, DBL_MIN), /* the largest key always counts */
                              .resolution = resolution};
    return select_keys(keys, (struct prefix){sum, 0}, (struct prefix){before, 0}, &goal, scratch);
}

/* Keep the logits above a bar, and the first ones that equal it. */
INLINE void keep_selected(const float *row, size_t vocabulary, float bar, size_t ties, size_t kept,
                          float *out, struct scratch *scratch)
{
    size_t cut = kept ? vocabulary : 0, left = kept;
    if (kept && kept < ties)
        for (cut = 0; cut < vocabulary; cut += LANES) {
            unsigned bits = movemask(load_up_to(row + cut, vocabulary - cut) == splat(bar));
            size_t found = (size_t)__builtin_popcount(bits);
            if (found < left) {
                left -= found;
                continue;
            }
            for (; left > 1; left--)
                bits &= bits - 1;
            cut += (size_t)__builtin_ctz(bits) + 1;
            break;
        }
    keep_above(row, vocabulary, bar, cut < vocabulary ? cut : vocabulary, out, scratch);
}

/* Keep the logits down to the one that reaches a goal. */
INLINE void keep_to_goal(const float *row, size_t vocabulary, const struct selected *selected,
                         float *out, struct scratch *scratch)
{
    size_t kept = selected->fit < selected->ties ? selected->fit + 1 : selected->ties;
    keep_selected(row, vocabulary, selected->value, selected->ties, kept, out, scratch);
}

#endif
