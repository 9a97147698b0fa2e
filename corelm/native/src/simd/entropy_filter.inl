/* Top-h: the filter by the entropy of the tokens that stay, as corelm.numerics.filters defines
 * it. */
#include "rows.h"
#include "select.h"
#include "weights.h"

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
    const struct goal goal = {limit * (1 + 1e-4) + 1e-6, 1, largest, 0};
    for (float depth = 1; depth < MAX_DEPTH; depth *= 2)
        if (reaches(sum_to_depth(row, vocabulary, largest, depth, scratch), &goal))
            return depth;
    return MAX_DEPTH;
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
    float largest = find_block_max(row, vocabulary, scratch);
    double min_entropy, entropy;
    entropy_row(row, vocabulary, largest, scratch, 1, &min_entropy, &entropy);
    double limit = fmax(args->h * entropy, 0);
    scratch->weights[argmax(row, vocabulary, largest, scratch->block_max)] = 0;
    float depth = excessive_depth(row, vocabulary, largest, limit, scratch);
    struct keys keys = find_keys(row, vocabulary, largest, depth, scratch);
    const struct goal goal = {limit, 1, largest, 0};
    struct selected selected = {.value = largest};
    if (keys.count) /* in a distribution there is one */
        selected = select_keys(keys, sum_keys(&keys, &goal), (struct prefix){0, 0}, &goal, scratch);
    keep_selected(row, vocabulary, selected.value, selected.ties, selected.fit, out, scratch);
    return OK;
}

KERNEL_OF_ROWS(top_h)
