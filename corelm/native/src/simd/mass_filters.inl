/* Filters that keep a probability mass, row by row, as corelm.numerics.filters defines them. */
#include "rows.h"

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

/* Sort places of candidates by falling logit, then by rising token: an insertion sort, for a bucket
 * holds few. */
static void sort_bucket(const float *logits, int32_t *indices, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        int32_t index = indices[i];
        size_t place = i;
        for (; place && logits[indices[place - 1]] < logits[index]; place--)
            indices[place] = indices[place - 1];
        indices[place] = index;
    }
}

/* The buckets of some logits. */
INLINE ints buckets_of(floats logits, float largest, float scale)
{
    return __builtin_convertvector((splat(largest) - logits) * splat(scale), ints);
}

/* The weight in each bucket. Candidates that follow each other are added to different sums: the
 * processor would have to wait for one that has just been written. */
INLINE void sum_buckets(const struct scratch *scratch, size_t count, float largest, float scale,
                        double *masses)
{
    double sums[4][BUCKETS] = {{0}};
    for (size_t k = 0; k < count; k += SIXTEEN) {
        int32_t buckets[SIXTEEN];
        EACH_PART(v) {
            ints some = buckets_of(load(scratch->logits + k + v * LANES), largest, scale);
            store((float *)buckets + v * LANES, (floats)some);
        }
        for (size_t i = 0; i < SIXTEEN && k + i < count; i++)
            sums[i % 4][buckets[i]] += (double)scratch->weights[k + i];
    }
    for (int i = 0; i < BUCKETS; i++)
        masses[i] = (sums[0][i] + sums[1][i]) + (sums[2][i] + sums[3][i]);
}

/* Collect the places of the candidates in one bucket. */
INLINE size_t find_in_bucket(const struct scratch *scratch, size_t count, float largest,
                             float scale, int32_t bucket)
{
    size_t found = 0;
    for (size_t k = 0; k < count; k += LANES) {
        unsigned bits =
            movemask(buckets_of(load(scratch->logits + k), largest, scale) == bucket);
        bits &= lanes_before(count - k);
        for (; bits; bits &= bits - 1)
            scratch->indices[found++] = (int32_t)k + __builtin_ctz(bits);
    }
    return found;
}

/* Keep the shortest prefix, by falling logit, that weighs enough. The candidates are put into
 * buckets by logit, and only the bucket in which it is reached is sorted. */
TARGET static enum status top_p_row(const void *work, size_t i, struct scratch *scratch)
{
    const struct top_p_args *args = work;
    const size_t vocabulary = args->logits.vocabulary;
    const float *row = args->logits.values + i * vocabulary;
    const float *logits = scratch->logits, *weights = scratch->weights;
    float *out = args->out + i * vocabulary;
    float largest = find_block_max(row, vocabulary, scratch->block_max);
    double total = exp_row(row, vocabulary, largest, scratch, 1);
    double enough = args->p * total * (1 - TOLERANCE);
    float depth = sufficient_depth(args->p, total, vocabulary);
    depth = narrow_by_blocks(scratch, vocabulary, depth, enough);
    size_t count = find_candidates(row, vocabulary, largest, depth, scratch);
    float narrower = narrow_by_candidates(scratch, count, depth, enough);
    if (narrower < depth) {
        depth = narrower;
        count = narrow_candidates(largest, depth, scratch, count);
    }

    double masses[BUCKETS], mass = 0;
    float scale = (BUCKETS - 1) / depth;
    sum_buckets(scratch, count, largest, scale, masses);
    int32_t bucket = 0;
    while (bucket < BUCKETS - 1 && mass + masses[bucket] < enough)
        mass += masses[bucket++];

    size_t held = find_in_bucket(scratch, count, largest, scale, bucket), last = 0;
    sort_bucket(logits, scratch->indices, held);
    for (; last + 1 < held; last++) {
        mass += (double)weights[scratch->indices[last]];
        if (mass >= enough)
            break;
    }
    float bar = held ? logits[scratch->indices[last]] : largest - depth;
    keep_at_least(row, vocabulary, bar, out);
    for (size_t k = last + 1; k < held && logits[scratch->indices[k]] == bar; k++)
        out[scratch->tokens[scratch->indices[k]]] = -INFINITY;
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

/* The depth of all tokens that are no farther than the farthest above another depth, and a bound
 * of their distances. Both are a little larger than needed, so that rounding does no harm. */
INLINE float depth_in_reach(double centre, float depth, double *bound)
{
    double farthest = fmax(fabs(centre), fabs(centre + (double)depth));
    float reach = (float)((farthest - centre) * (1 + 1e-6));
    *bound = farthest * (1 + 1e-5);
    return reach < MAX_DEPTH ? reach : MAX_DEPTH;
}

/* The distance within which the nearest candidates weigh enough. They are put into buckets by
 * distance, and those of the bucket in which it is reached into finer ones, until they tie but for
 * the tolerance. */
INLINE double sufficient_distance(float largest, double centre, double bound, double enough,
                                  const struct scratch *scratch, size_t count)
{
    const float *logits = scratch->logits, *weights = scratch->weights;
    int32_t *indices = scratch->indices;
    double low = 0, high = bound, before = 0;
    for (size_t k = 0; k < count; k++)
        indices[k] = (int32_t)k;
    while (high - low > TOLERANCE * (1 + low)) {
        double masses[BUCKETS] = {0}, scale = (BUCKETS - 1) / (high - low), start = low;
        for (size_t k = 0; k < count; k++) {
            double far = distance(logits[indices[k]], largest, centre);
            masses[(int)((far - start) * scale)] += (double)weights[indices[k]];
        }
        int bucket = 0, last = BUCKETS - 1;
        while (last && masses[last] == 0)
            last--;
        while (bucket < last && before + masses[bucket] < enough)
            before += masses[bucket++];
        size_t held = 0;
        low = high, high = start;
        for (size_t k = 0; k < count; k++) {
            double far = distance(logits[indices[k]], largest, centre);
            if ((int)((far - start) * scale) != bucket)
                continue;
            indices[held++] = indices[k];
            low = far < low ? far : low;
            high = far > high ? far : high;
        }
        count = held;
    }
    return high;
}

/* Keep one candidate; returns its weight. */
INLINE float keep_candidate(const struct scratch *scratch, size_t place, float *out)
{
    out[scratch->tokens[place]] = scratch->logits[place];
    return scratch->weights[place];
}

/* Keep the candidates nearer than a distance, and of those that tie with it the first until there
 * is enough. Single precision tells most of them apart; the rest are looked at exactly. */
INLINE void keep_nearest(float largest, double centre, double far, double enough,
                         const struct scratch *scratch, size_t count, float *out)
{
    const double nearer = (1 + far) * (1 - TOLERANCE);
    const float margin = (float)(1e-5 * (1 + far + fabs(centre)));
    double mass = 0;
    size_t tied = 0;
    for (size_t k = 0; k < count; k += LANES) {
        floats excess = splat((float)centre) - (load(scratch->logits + k) - splat(largest));
        floats away = max(excess, -excess);
        unsigned lanes = lanes_before(count - k);
        unsigned near = movemask(away < splat((float)far - margin)) & lanes;
        unsigned perhaps = movemask(away <= splat((float)far + margin)) & lanes & ~near;
        for (unsigned bits = near; bits; bits &= bits - 1)
            mass += (double)keep_candidate(scratch, k + (size_t)__builtin_ctz(bits), out);
        for (unsigned bits = perhaps; bits; bits &= bits - 1) {
            size_t place = k + (size_t)__builtin_ctz(bits);
            double exact = 1 + distance(scratch->logits[place], largest, centre);
            if (exact < nearer)
                mass += (double)keep_candidate(scratch, place, out);
            else if (exact * (1 - TOLERANCE) <= 1 + far)
                scratch->indices[tied++] = (int32_t)place;
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
    double min_entropy, entropy, bound;
    entropy_row(row, vocabulary, largest, scratch, 1, &min_entropy, &entropy);
    double total = exp(min_entropy), centre = min_entropy - entropy;
    double enough = args->p * total * (1 - TOLERANCE);
    float depth = sufficient_depth(args->p, total, vocabulary);
    depth = narrow_by_blocks(scratch, vocabulary, depth, enough);
    size_t count = find_candidates(row, vocabulary, largest,
                                   depth_in_reach(centre, depth, &bound), scratch);
    depth = narrow_by_candidates(scratch, count, depth, enough);
    count = narrow_candidates(largest, depth_in_reach(centre, depth, &bound), scratch, count);
    double far = sufficient_distance(largest, centre, bound, enough, scratch, count);
    for (size_t token = 0; token < vocabulary; token++)
        out[token] = -INFINITY;
    keep_nearest(largest, centre, far, enough, scratch, count, out);
    return OK;
}

KERNEL_OF_ROWS(typical)
