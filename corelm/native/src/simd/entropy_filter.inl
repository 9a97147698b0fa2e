/* Top-h: the filter by the entropy of the tokens that stay, as corelm.numerics.filters defines
 * it. */
#include "rows.h"
#include "select.h"

/* ---- sums over a prefix of the falling order ---- */

/* Without the first token, of weight 1: next to it, small weights would be lost. */
struct prefix {
    double rest, moment; /* of the weights, and of weight * (logit - largest) */
};

INLINE int exceeds(struct prefix prefix, double limit)
{
    double entropy = log1p(prefix.rest) - prefix.moment / (1 + prefix.rest);
    return entropy * (1 - TOLERANCE) > limit;
}

INLINE struct prefix add_weight(struct prefix prefix, double weight, double below)
{
    return (struct prefix){prefix.rest + weight, prefix.moment + weight * below};
}

/* The sums of the tokens at most `depth` below the largest. Up to eight numbers are added in single
 * precision. */
INLINE struct prefix sum_to_depth(const float *row, size_t vocabulary, float largest, float depth,
                                  const struct scratch *scratch)
{
    doubles rest = {0}, moment = {0};
    for (size_t block = 0; block < block_count(vocabulary); block++) {
        size_t start = block * BLOCK, count = block_size(vocabulary, block);
        floats weights[PARTS] = {{0}}, moments[PARTS] = {{0}};
        if (!(largest - scratch->block_max[block] <= depth))
            continue;
        for (size_t k = 0; k < count; k += SIXTEEN)
            EACH_PART(v) {
                floats below = load_logits(row + start + k, count - k, v) - splat(largest);
                floats w = load(scratch->weights + start + k + v * LANES);
                w = (floats)((ints)w & (below >= splat(-depth)));
                weights[v] += w;
                moments[v] = fmadd(w, max(below, splat(-MAX_DEPTH)), moments[v]);
            }
        rest += fold_to_doubles(weights);
        moment += fold_to_doubles(moments);
    }
    return (struct prefix){sum_of_doubles(rest), sum_of_doubles(moment)};
}

/* A depth whose tokens have more than enough entropy, with room for the single precision. */
INLINE float excessive_depth(const float *row, size_t vocabulary, float largest, double limit,
                             const struct scratch *scratch)
{
    for (float depth = 1; depth < MAX_DEPTH; depth *= 2)
        if (exceeds(sum_to_depth(row, vocabulary, largest, depth, scratch),
                    limit * (1 + 1e-4) + 1e-6))
            return depth;
    return MAX_DEPTH;
}

/* ---- the last token that fits ---- */

/* Add the keys from `low` to `high`, both included, to a prefix. */
INLINE struct prefix add_between(struct prefix prefix, const struct keys *keys, float low,
                                 float high, float largest)
{
    doubles rest[4] = {{0}}, moment[4] = {{0}};
    for (size_t k = 0; k < keys->count; k += SIXTEEN)
        EACH_PART(v) {
            floats x = load(keys->values + k + v * LANES), w = load(keys->weights + k + v * LANES);
            w = (floats)((ints)w & ((x >= splat(low)) & (x <= splat(high))));
            x = max(x - splat(largest), splat(-MAX_DEPTH)); /* after the last key, 0 * -inf is nan */
            UNROLLED for (int e = 0; e < EIGHTS; e++) {
                const int sum = 2 * (v * EIGHTS + e);
                eight weights = eight_of(w, e), below = eight_of(x, e);
                rest[sum] += low_of(weights), rest[sum + 1] += high_of(weights);
                moment[sum] = fmadd_doubles(low_of(weights), low_of(below), moment[sum]);
                moment[sum + 1] =
                    fmadd_doubles(high_of(weights), high_of(below), moment[sum + 1]);
            }
        }
    prefix.rest += sum_of_sixteen(rest), prefix.moment += sum_of_sixteen(moment);
    return prefix;
}

/* The median of a sample of the keys. */
INLINE float find_median(const struct keys *keys)
{
    float values[SAMPLE], weights[SAMPLE];
    sample_keys(keys, values, weights);
    sort_keys(values, weights, SAMPLE);
    return values[SAMPLE / 2];
}

/* Continue with the keys above a pivot, equal to it or below it, where the limit is exceeded; the
 * larger keys go into `before`. Each part leaves at least one key out, unless all are equal. */
INLINE void narrow_prefix(struct keys *keys, float pivot, float largest, double limit,
                          struct prefix *before)
{
    float above = nextafterf(pivot, INFINITY);
    struct prefix next = add_between(*before, keys, above, FLT_MAX, largest);
    if (exceeds(next, limit)) {
        keep_between(keys, above, FLT_MAX);
        return;
    }
    *before = next, next = add_between(*before, keys, pivot, pivot, largest);
    float smallest, unused;
    range_of(keys, &smallest, &unused);
    if (exceeds(next, limit) || smallest == pivot) {
        keep_between(keys, pivot, pivot);
        return;
    }
    *before = next;
    keep_between(keys, -FLT_MAX, nextafterf(pivot, -INFINITY));
}

/* Keep the larger values alone. */
INLINE struct selected select_above(float value)
{
    return (struct selected){.value = nextafterf(value, INFINITY)};
}

/* Select among keys that are all equal, by bisection of their number. The likeliest token, the
 * first of its ties, has no weight here. */
INLINE struct selected select_tied_prefix(const struct keys *keys, double largest, double limit,
                                          struct prefix before)
{
    double below = (double)keys->values[0] - largest, weight = 0;
    size_t weightless = 0, fit = 0, excess = keys->count + 1;
    for (size_t k = 0; k < keys->count; k++) {
        weightless += keys->weights[k] == 0;
        weight = fmax(weight, (double)keys->weights[k]);
    }
    while (excess - fit > 1) {
        size_t middle = fit + (excess - fit) / 2;
        size_t heavy = middle > weightless ? middle - weightless : 0;
        if (exceeds(add_weight(before, (double)heavy * weight, below), limit))
            excess = middle;
        else
            fit = middle;
    }
    if (!fit)
        return select_above(keys->values[0]);
    return (struct selected){.value = keys->values[0], .ties = keys->count, .kept = fit};
}

INLINE struct selected select_sorted_prefix(const struct keys *keys, double largest, double limit,
                                            struct prefix before)
{
    const float *values = keys->values, *weights = keys->weights;
    sort_keys(keys->values, keys->weights, keys->count);
    size_t fit = 0;
    for (; fit < keys->count; fit++) {
        before = add_weight(before, (double)weights[fit], (double)values[fit] - largest);
        if (exceeds(before, limit))
            break;
    }
    if (!fit)
        return select_above(values[0]);
    struct selected selected = {.value = values[fit - 1]};
    for (size_t k = 0; k < keys->count; k++) {
        selected.ties += values[k] == selected.value;
        selected.kept += values[k] == selected.value && k < fit;
    }
    return selected;
}

/* Select the longest prefix, by falling logit, whose entropy is within a limit. */
INLINE struct selected select_entropy(struct keys *keys, float largest, double limit)
{
    struct prefix before = {0, 0};
    while (keys->count > SORTED) {
        float low, high;
        range_of(keys, &low, &high);
        if (low == high)
            return select_tied_prefix(keys, (double)largest, limit, before);
        narrow_prefix(keys, find_median(keys), largest, limit, &before);
    }
    return select_sorted_prefix(keys, (double)largest, limit, before);
}

TARGET static enum status top_h_row(const void *work, size_t i, struct scratch *scratch)
{
    const struct top_h_args *args = work;
    const size_t vocabulary = args->logits.vocabulary;
    const float *row = args->logits.values + i * vocabulary;
    float *out = args->out + i * vocabulary;
    if (args->h >= 1) { /* exactly, in spite of rounding */
        memcpy(out, row, vocabulary * sizeof(float));
        return OK;
    }
    float largest = find_block_max(row, vocabulary, scratch->block_max);
    double min_entropy, entropy;
    entropy_row(row, vocabulary, largest, scratch, 1, &min_entropy, &entropy);
    double limit = fmax(args->h * entropy, 0);
    scratch->weights[argmax(row, vocabulary, largest, scratch->block_max)] = 0;
    float depth = excessive_depth(row, vocabulary, largest, limit, scratch);
    struct keys keys = find_keys(row, vocabulary, largest, depth, scratch);
    struct selected selected = {.value = largest};
    if (keys.count) /* in a distribution there is one */
        selected = select_entropy(&keys, largest, limit);
    keep_selected(row, vocabulary, &selected, out);
    return OK;
}

KERNEL_OF_ROWS(top_h)
