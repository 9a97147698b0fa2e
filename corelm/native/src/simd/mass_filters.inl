/* Filters that keep a probability mass, row by row, as corelm.numerics.filters defines them. */
#include "rows.h"
#include "select.h"

enum { BUCKETS = 256 };

/* The depth at which there is enough weight in any case: tokens that are each less likely than an
 * equal share of the surplus, 1 - p, can all be left out. */
INLINE float sufficient_depth(double p, double total, size_t vocabulary)
{
    double floor = (1 - p) * total / (double)vocabulary;
    float depth = floor > 0 ? (float)(1e-3 - log(floor)) : MAX_DEPTH;
    return depth < MAX_DEPTH ? depth : MAX_DEPTH;
}

/* ---- top-p ---- */

/* Collect the logits at most `depth` below the largest, and their weights. */
INLINE struct keys find_keys(const float *row, size_t vocabulary, float largest, float depth,
                             const struct scratch *scratch)
{
    struct keys keys = {.values = scratch->keys, .weights = scratch->key_weights};
    size_t found = 0;
    for (size_t block = 0; block < block_count(vocabulary); block++) {
        size_t start = block * BLOCK, end = start + block_size(vocabulary, block);
        if (!(largest - scratch->block_max[block] <= depth)) /* nor where one is nan */
            continue;
        for (size_t k = start; k < end; k += LANES) {
            floats x = load_up_to(row + k, end - k), w = load(scratch->weights + k);
            unsigned bits = movemask(splat(largest) - x <= splat(depth));
            store(keys.values + found, compress(x, bits));
            store(keys.weights + found, compress(w, bits));
            found += (size_t)__builtin_popcount(bits);
        }
    }
    end_keys(&keys, found);
    return keys;
}

/* Keep the shortest prefix, by falling logit, that weighs enough. */
TARGET static enum status top_p_row(const void *work, size_t i, struct scratch *scratch)
{
    const struct top_p_args *args = work;
    const size_t vocabulary = args->logits.vocabulary;
    const float *row = args->logits.values + i * vocabulary;
    float *out = args->out + i * vocabulary;
    float largest = find_block_max(row, vocabulary, scratch->block_max);
    double total = exp_row(row, vocabulary, largest, scratch, 1);
    double enough = args->p * total * (1 - TOLERANCE);
    float depth = sufficient_depth(args->p, total, vocabulary);
    depth = narrow_by_blocks(scratch, vocabulary, depth, enough);
    struct keys keys = find_keys(row, vocabulary, largest, depth, scratch);
    struct selected selected = {.value = largest};
    if (keys.count) /* in a distribution there is one */
        selected = select_mass(&keys, enough);
    keep_selected(row, vocabulary, &selected, out);
    return OK;
}

KERNEL_OF_ROWS(top_p)

/* ---- typical: tokens whose surprisal is near the entropy ---- */

/* How far a surprisal is from the entropy; `centre` is the min-entropy less the entropy. */
INLINE double distance(float logit, float largest, double centre)
{
    double excess = centre - ((double)logit - (double)largest);
    return excess < 0 ? -excess : excess;
}

/* The depth of all tokens that are no farther than the farthest above another depth: a little more,
 * so that rounding does no harm. */
INLINE float depth_in_reach(double centre, float depth)
{
    double farthest = fmax(fabs(centre), fabs(centre + (double)depth));
    float reach = (float)((farthest - centre) * (1 + 1e-6));
    return reach < MAX_DEPTH ? reach : MAX_DEPTH;
}

INLINE doubles distances(doubles logits, double largest, double centre)
{
    doubles excess = centre - (logits - largest);
    return (doubles)((longs)excess & INT64_MAX); /* the absolute value */
}

/* The distances of some logits as floats. Conversion keeps their order, but for new ties. */
INLINE floats float_distances(const float *logits, double largest, double centre)
{
    floats x = load(logits);
    eight away[EIGHTS];
    UNROLLED for (int e = 0; e < EIGHTS; e++) {
        four low = to_floats(distances(low_of(eight_of(x, e)), largest, centre));
        four high = to_floats(distances(high_of(eight_of(x, e)), largest, centre));
        away[e] = __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7);
    }
    return join_eights(away);
}

/* The nearest candidates come first: keys are negative distances. */
INLINE struct keys find_distance_keys(const struct scratch *scratch, size_t count, double largest,
                                      double centre)
{
    struct keys keys = {.values = scratch->keys, .weights = scratch->key_weights};
    for (size_t k = 0; k < count; k += LANES) {
        store(keys.values + k, -float_distances(scratch->logits + k, largest, centre));
        store(keys.weights + k, load(scratch->weights + k));
    }
    end_keys(&keys, count);
    return keys;
}

/* Of the candidates, collect the logits and weights of those at a distance, as a float. */
INLINE struct keys find_at_distance(const struct scratch *scratch, size_t count, double largest,
                                    double centre, float distance)
{
    struct keys keys = {.values = scratch->keys, .weights = scratch->key_weights};
    size_t found = 0;
    for (size_t k = 0; k < count; k += LANES) {
        floats away = float_distances(scratch->logits + k, largest, centre);
        unsigned bits = movemask(away == splat(distance)) & lanes_before(count - k);
        store(keys.values + found, compress(load(scratch->logits + k), bits));
        store(keys.weights + found, compress(load(scratch->weights + k), bits));
        found += (size_t)__builtin_popcount(bits);
    }
    end_keys(&keys, found);
    return keys;
}

/* The least and the largest distance of some logits. */
INLINE void distance_range(const struct keys *keys, double largest, double centre, double *low,
                           double *high)
{
    doubles least = {INFINITY, INFINITY, INFINITY, INFINITY}, most = {0};
    for (size_t k = 0; k < keys->count; k += LANES) {
        floats x = load_until(keys->values + k, (ptrdiff_t)(keys->count - k), keys->values[0]);
        UNROLLED for (int e = 0; e < 2 * EIGHTS; e++) {
            eight half = eight_of(x, e / 2);
            doubles far = distances(e % 2 ? high_of(half) : low_of(half), largest, centre);
            longs is_less = far < least, is_more = far > most;
            least = (doubles)((is_less & (longs)far) | (~is_less & (longs)least));
            most = (doubles)((is_more & (longs)far) | (~is_more & (longs)most));
        }
    }
    *low = least[0], *high = most[0];
    for (int i = 1; i < FOUR; i++) {
        *low = least[i] < *low ? least[i] : *low;
        *high = most[i] > *high ? most[i] : *high;
    }
}

/* The distance at which the weights reach enough, of keys that as floats are equally far; nearer
 * ones weigh `before`. The keys are put into buckets by their exact distances, and those of the
 * bucket that reaches it into finer ones, until they tie within the tolerance. */
INLINE double exact_distance(float largest, double centre, double before, double enough,
                             struct keys *keys)
{
    for (;;) {
        double sums[4][BUCKETS] = {{0}}, masses[BUCKETS], low, high;
        distance_range(keys, (double)largest, centre, &low, &high);
        if (!(high - low > TOLERANCE * (1 + low)))
            return high;
        const double scale = (BUCKETS - 1) / (high - low);
        for (size_t k = 0; k < keys->count; k++) { /* in turns: a sum just written is not ready */
            double far = distance(keys->values[k], largest, centre);
            sums[k % 4][(int)((far - low) * scale)] += (double)keys->weights[k];
        }
        int bucket = 0, last = 0;
        for (int i = 0; i < BUCKETS; i++) {
            masses[i] = (sums[0][i] + sums[1][i]) + (sums[2][i] + sums[3][i]);
            last = masses[i] > 0 ? i : last;
        }
        while (bucket < last && before + masses[bucket] < enough)
            before += masses[bucket++];
        size_t held = 0;
        for (size_t k = 0; k < keys->count; k++) {
            keys->values[held] = keys->values[k], keys->weights[held] = keys->weights[k];
            held += (int)((distance(keys->values[k], largest, centre) - low) * scale) == bucket;
        }
        end_keys(keys, held);
    }
}

INLINE double sufficient_distance(float largest, double centre, double enough,
                                  const struct scratch *scratch, size_t count)
{
    struct keys keys = find_distance_keys(scratch, count, (double)largest, centre);
    struct selected selected = select_mass(&keys, enough);
    keys = find_at_distance(scratch, count, (double)largest, centre, -selected.value);
    return exact_distance(largest, centre, selected.before, enough, &keys);
}

/* Keep one candidate; returns its weight. */
INLINE float keep_candidate(const struct scratch *scratch, size_t place, float *out)
{
    out[scratch->tokens[place]] = scratch->logits[place];
    return scratch->weights[place];
}

/* Compare some candidates with a distance: a bit for each that is nearer, and in `tied` a bit for
 * each that equals it. */
INLINE unsigned compare_exactly(const float *logits, double largest, double centre, double far,
                                unsigned *tied)
{
    const double nearer = (1 + far) * (1 - TOLERANCE);
    floats x = load(logits);
    unsigned near = 0;
    *tied = 0;
    UNROLLED for (int e = 0; e < 2 * EIGHTS; e++) {
        eight half = eight_of(x, e / 2);
        doubles exact = 1 + distances(e % 2 ? high_of(half) : low_of(half), largest, centre);
        near |= movemask_doubles(exact < nearer) << 4 * e;
        *tied |= movemask_doubles(exact * (1 - TOLERANCE) <= 1 + far) << 4 * e;
    }
    *tied &= ~near;
    return near;
}

/* Keep the candidates nearer than a distance, and of those that tie with it the first until there
 * is enough. Single precision tells most of them apart; the rest are compared exactly. */
INLINE void keep_nearest(float largest, double centre, double far, double enough,
                         const struct scratch *scratch, size_t count, float *out)
{
    const float margin = (float)(1e-5 * (1 + far + fabs(centre)));
    double mass = 0;
    size_t tied = 0;
    for (size_t k = 0; k < count; k += LANES) {
        floats excess = splat((float)centre) - (load(scratch->logits + k) - splat(largest));
        floats away = max(excess, -excess);
        unsigned lanes = lanes_before(count - k), ties = 0;
        unsigned near = movemask(away < splat((float)far - margin)) & lanes;
        unsigned unsure = movemask(away <= splat((float)far + margin)) & lanes & ~near;
        if (unsure)
            near |= unsure & compare_exactly(scratch->logits + k, (double)largest, centre, far,
                                             &ties);
        for (; near; near &= near - 1)
            mass += (double)keep_candidate(scratch, k + (size_t)__builtin_ctz(near), out);
        ties &= unsure;
        if (ties) {
            store((float *)scratch->indices + tied, compress((floats)tokens_from(k), ties));
            tied += (size_t)__builtin_popcount(ties);
        }
    }
    for (size_t k = 0; k < tied; k++) {
        mass += (double)keep_candidate(scratch, (size_t)scratch->indices[k], out);
        if (mass >= enough)
            break;
    }
}

/* Without the tokens that are never needed there is enough weight, and so there is among all those
 * that are no farther than what is left. */
TARGET static enum status typical_row(const void *work, size_t i, struct scratch *scratch)
{
    const struct typical_args *args = work;
    const size_t vocabulary = args->logits.vocabulary;
    const float *row = args->logits.values + i * vocabulary;
    float *out = args->out + i * vocabulary;
    float largest = find_block_max(row, vocabulary, scratch->block_max);
    double min_entropy, entropy;
    entropy_row(row, vocabulary, largest, scratch, 1, &min_entropy, &entropy);
    double total = exp(min_entropy), centre = min_entropy - entropy;
    double enough = args->p * total * (1 - TOLERANCE);
    float depth = sufficient_depth(args->p, total, vocabulary);
    depth = narrow_by_blocks(scratch, vocabulary, depth, enough);
    size_t count =
        find_candidates(row, vocabulary, largest, depth_in_reach(centre, depth), scratch);
    float narrower = narrow_by_candidates(scratch, count, depth, enough);
    if (narrower < depth)
        count = narrow_candidates(largest, depth_in_reach(centre, narrower), scratch, count);
    for (size_t token = 0; token < vocabulary; token++)
        out[token] = -INFINITY;
    if (!count) /* not a distribution */
        return OK;
    double far = sufficient_distance(largest, centre, enough, scratch, count);
    keep_nearest(largest, centre, far, enough, scratch, count, out);
    return OK;
}

KERNEL_OF_ROWS(typical)
