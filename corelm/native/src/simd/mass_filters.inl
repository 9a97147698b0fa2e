/* Filters that keep a probability mass, row by row, as corelm.numerics.filters defines them. */
#include "rows.h"
#include "select.h"
#include "weights.h"

/* The depth at which there is enough weight in any case: tokens that are each less likely than an
 * equal share of the surplus, 1 - p, can all be left out. */
INLINE float sufficient_depth(double p, double total, size_t vocabulary)
{
    double floor = (1 - p) * total / (double)vocabulary;
    float depth = floor > 0 ? (float)(1e-3 - ln(floor)) : MAX_DEPTH;
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
    float largest = find_block_max(row, vocabulary, scratch);
    double total = exp_row(row, vocabulary, largest, scratch, 1);
    double enough = args->p * total * (1 - TOLERANCE);
    float depth = sufficient_depth(args->p, total, vocabulary);
    depth = narrow_by_blocks(scratch, vocabulary, depth, enough);
    struct keys keys = find_keys(row, vocabulary, largest, depth, scratch);
    struct selected selected = {.value = largest};
    if (keys.count) /* in a distribution there is one */
        selected = select_mass(keys, sum_weights(keys.weights, keys.count), 0, enough, 0, scratch);
    keep_to_goal(row, vocabulary, &selected, out, scratch);
    return OK;
}

KERNEL_OF_ROWS(top_p)

/* ---- typical: tokens whose surprisal is near the entropy ---- */

/* The depth at which the distance from the entropy is the largest of the tokens down to `depth`: a
 * little more, so that rounding does no harm. */
INLINE float depth_in_reach(double centre, float depth)
{
    double farthest = fmax(fabs(centre), fabs(centre + (double)depth));
    float reach = (float)((farthest - centre) * (1 + 1e-6));
    return reach < MAX_DEPTH ? reach : MAX_DEPTH;
}

/* How far surprisals are from the entropy; `centre` is the min-entropy less the entropy. */
INLINE floats distances(floats logits, float largest, double centre)
{
    floats excess = splat((float)centre) - (logits - splat(largest));
    return max(excess, -excess);
}

INLINE doubles exact_distances(doubles logits, double largest, double centre)
{
    doubles excess = centre - (logits - largest);
    return (doubles)((longs)excess & INT64_MAX); /* the absolute value */
}

/* The keys: `from` less the exact distances, so that the nearest come first. The difference of near
 * numbers fits a float: what is lost is far below the tolerance. */
INLINE floats nearness(floats logits, float largest, double centre, double from)
{
    eight keys[EIGHTS];
    UNROLLED for (int e = 0; e < EIGHTS; e++) {
        eight x = eight_of(logits, e);
        four low = to_floats(from - exact_distances(low_of(x), (double)largest, centre));
        four high = to_floats(from - exact_distances(high_of(x), (double)largest, centre));
        keys[e] = __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7);
    }
    return join_eights(keys);
}

/* The nearness at which the weights of the candidates reach enough. */
INLINE float find_cut(float largest, double centre, double from, float resolution, double mass,
                      double enough, const struct scratch *scratch, size_t count)
{
    struct keys keys = {.values = scratch->keys, .weights = scratch->weights};
    struct sixteen_doubles sums = {{{0}}};
    for (size_t k = 0; k < count; k += SIXTEEN) {
        floats w[PARTS];
        EACH_PART(v) {
            floats x = load(scratch->logits + k + v * LANES);
            store(keys.values + k + v * LANES, nearness(x, largest, centre, from));
            w[v] = load_part(keys.weights + k, count - k, v, 0.0f);
        }
        add_sixteen(&sums, w);
    }
    end_keys(&keys, count);
    double sum = sum_of_sixteen(&sums);
    return select_mass(keys, sum, mass, enough, resolution, scratch).value;
}

/* How many weights, from the first one on, it takes to bring a sum to enough. */
INLINE size_t count_to_reach(const float *weights, size_t count, double sum, double enough)
{
    size_t k = 0;
    for (; k + BLOCK < count; k += BLOCK) { /* one by one, each addition waits for the last */
        double next = sum + sum_weights(weights + k, BLOCK);
        if (next >= enough)
            break;
        sum = next;
    }
    while (k < count) {
        sum += (double)weights[k++];
        if (sum >= enough)
            break;
    }
    return k;
}

/* Append the candidates from k on whose bit is set to the tokens that stay, with their weights. */
INLINE size_t append_kept(const struct scratch *scratch, size_t count, size_t k, unsigned bits)
{
    floats tokens = load((float *)scratch->tokens + k);
    store((float *)scratch->indices + count, compress(tokens, bits));
    store(scratch->key_weights + count, compress(load(scratch->weights + k), bits));
    return count + (size_t)__builtin_popcount(bits);
}

INLINE void copy_tokens(const float *row, const int32_t *tokens, size_t count, float *out)
{
    for (size_t k = 0; k < count; k++)
        out[tokens[k]] = row[tokens[k]];
}

/* Keep the candidates that are certainly nearer than a distance; returns their mass. Candidates
 * that may tie with it after rounding move to the front. */
INLINE double keep_nearer(const float *row, float largest, double centre, float far,
                          double tolerance, const struct scratch *scratch, size_t *count,
                          float *out)
{
    const float margin = 4e-6f * (far + fabsf((float)centre)) + 2 * (float)tolerance;
    size_t nearer = 0, unsure = 0;
    for (size_t k = 0; k < *count; k += LANES) {
        floats x = load(scratch->logits + k), away = distances(x, largest, centre);
        unsigned lanes = lanes_before(*count - k);
        unsigned near = movemask(away < splat(far - margin)) & lanes;
        unsigned within = movemask(away <= splat(far + margin)) & lanes & ~near;
        if (near)
            nearer = append_kept(scratch, nearer, k, near);
        if (within)
            unsure = move_candidates(scratch, unsure, k, within);
    }
    *count = unsure;
    copy_tokens(row, scratch->indices, nearer, out);
    return sum_weights(scratch->key_weights, nearer);
}

/* Keep the candidates that are nearer than the cut, then the first that tie with it until there is
 * enough. */
INLINE void keep_to_cut(const float *row, float largest, double centre, double from, float cut,
                        double tolerance, double mass, double enough,
                        const struct scratch *scratch, size_t count, float *out)
{
    const float upper = (float)((double)cut + tolerance), lower = (float)((double)cut - tolerance);
    size_t nearer = 0, tied = 0;
    for (size_t k = 0; k < count; k += LANES) {
        floats key = nearness(load(scratch->logits + k), largest, centre, from);
        unsigned lanes = lanes_before(count - k);
        unsigned near = movemask(key > splat(upper)) & lanes;
        unsigned ties = movemask(key >= splat(lower)) & lanes & ~near;
        if (near)
            nearer = append_kept(scratch, nearer, k, near);
        if (ties)
            tied = move_candidates(scratch, tied, k, ties);
    }
    mass += sum_weights(scratch->key_weights, nearer);
    copy_tokens(row, scratch->indices, nearer, out);
    tied = count_to_reach(scratch->weights, tied, mass, enough);
    copy_tokens(row, scratch->tokens, tied, out);
}

/* The tokens down to `depth` have enough weight. So the tokens at most as far from the entropy as
 * the farthest of these have enough too, and only they are candidates. */
TARGET static enum status typical_row(const void *work, size_t i, struct scratch *scratch)
{
    const struct typical_args *args = work;
    const size_t vocabulary = args->logits.vocabulary;
    const float *row = args->logits.values + i * vocabulary;
    float *out = args->out + i * vocabulary;
    float largest = find_block_max(row, vocabulary, scratch);
    double min_entropy, entropy;
    entropy_row(row, vocabulary, largest, scratch, 1, &min_entropy, &entropy);
    double total = e_to(min_entropy), centre = min_entropy - entropy;
    double enough = args->p * total * (1 - TOLERANCE);
    float depth = sufficient_depth(args->p, total, vocabulary);
    depth = narrow_by_blocks(scratch, vocabulary, depth, enough);
    size_t count =
        find_candidates(row, vocabulary, largest, depth_in_reach(centre, depth), scratch);
    if (count < vocabulary / 2) { /* of more, it would take longer than it saves */
        float narrower = narrow_by_candidates(scratch, count, depth, enough);
        if (narrower < depth)
            count = narrow_candidates(largest, depth_in_reach(centre, narrower), scratch, count);
    }
    for (size_t token = 0; token < vocabulary; token++)
        out[token] = -INFINITY;
    if (!count) /* not a distribution */
        return OK;
    /* Distances are relative to the likeliest token's. Where a row is nearly flat, so that most
     * tokens are candidates, that is exact. Elsewhere it is done again, from near the cut. */
    double from = fabs(centre), mass = 0, tolerance = TOLERANCE * (1 + from);
    float resolution = (float)(1e-3 * tolerance);
    float cut = find_cut(largest, centre, from, resolution, mass, enough, scratch, count);
    if ((double)(fabsf(cut) * FLT_EPSILON) > 0.01 * tolerance) {
        from -= (double)cut;
        tolerance = TOLERANCE * (1 + from);
        mass = keep_nearer(row, largest, centre, (float)from, tolerance, scratch, &count, out);
        cut = find_cut(largest, centre, from, resolution, mass, enough, scratch, count);
    }
    keep_to_cut(row, largest, centre, from, cut, tolerance, mass, enough, scratch, count, out);
    return OK;
}

KERNEL_OF_ROWS(typical)
