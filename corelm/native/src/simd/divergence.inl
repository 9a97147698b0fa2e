/* The figures of a report, row by row, as corelm.report.measure defines them. */
#include "rows.h"

#include <string.h>

static const float LOWEST = -1e30f; /* takes the place of minus infinity: 0 * LOWEST is 0 */

/* ---- a sampler's distribution next to the model's ---- */

/* Sums over the tokens of a row. */
struct divergence_sums {
    doubles weight, below, model; /* weights; times the logits; times the model's logits */
    size_t possible;              /* tokens */
    unsigned restored, changed;    /* is any impossible in the model, or has another logit? */
};

INLINE void add_block(struct divergence_sums *sums, const float *row, const float *model,
                      size_t count, float largest, float model_largest)
{
    const floats never = splat(-INFINITY), floor = splat(-MAX_DEPTH);
    floats weight[PARTS] = {{0}}, below[PARTS] = {{0}}, of_model[PARTS] = {{0}};
    for (size_t k = 0; k < count; k += SIXTEEN)
        EACH_PART(v) {
            floats x = load_logits(row + k, count - k, v);
            unsigned possible = movemask(x > never);
            if (!possible) /* so is most of what a filter leaves */
                continue;
            floats y = load_logits(model + k, count - k, v), shifted = x - splat(largest);
            floats w = exp_nonpositive(shifted);
            weight[v] += w;
            below[v] = fmadd(w, max(shifted, floor), below[v]);
            of_model[v] = fmadd(w, max(y - splat(model_largest), splat(LOWEST)), of_model[v]);
            sums->possible += (size_t)__builtin_popcount(possible);
            sums->restored |= possible & ~movemask(y > never);
            sums->changed |= possible & movemask(x != y);
        }
    sums->weight += fold_to_doubles(weight);
    sums->below += fold_to_doubles(below);
    sums->model += fold_to_doubles(of_model);
}

/* The sums of a row but for its likeliest token. */
INLINE void add_row(struct divergence_sums *sums, const float *row, const float *model,
                    size_t vocabulary, size_t likeliest, float model_largest,
                    const float *block_max)
{
    float copy[BLOCK];
    for (size_t block = 0; block < block_count(vocabulary); block++) {
        size_t start = block * BLOCK, count = block_size(vocabulary, block);
        if (block_max[block] == -INFINITY)
            continue;
        const float *from = without_argmax(row, start, count, likeliest, copy);
        add_block(sums, from, model + start, count, row[likeliest], model_largest);
    }
}

/* The weight that the model gives to the tokens that are possible in a row. It is summed in the
 * order of the row's own weights, so that what both have in common cancels exactly. */
INLINE double model_mass(const float *row, const float *model, size_t vocabulary,
                         size_t likeliest, const float *block_max)
{
    doubles sum = {0};
    for (size_t block = 0; block < block_count(vocabulary); block++) {
        size_t start = block * BLOCK, count = block_size(vocabulary, block);
        floats weight[PARTS] = {{0}};
        if (block_max[block] == -INFINITY)
            continue;
        for (size_t k = 0; k < count; k += SIXTEEN)
            EACH_PART(v) {
                floats x = load_logits(row + start + k, count - k, v);
                floats y = load_logits(model + start + k, count - k, v);
                floats w = exp_nonpositive(y - splat(model[likeliest]));
                size_t lane = likeliest - start - k - (size_t)v * LANES;
                if (lane < LANES)
                    w[lane] = 0;
                weight[v] += (floats)((ints)w & (x > splat(-INFINITY)));
            }
        sum += fold_to_doubles(weight);
    }
    return sum_of_doubles(sum) + (row[likeliest] > -INFINITY);
}

/* INVALID is a row that isn't a distribution, or in which a token is possible that isn't in the
 * model's. As in `entropy_row`, the likeliest token, of weight 1, is added last. */
TARGET static enum status divergence_row(const void *work, size_t i, struct scratch *scratch)
{
    const struct divergence_args *args = work;
    const size_t vocabulary = args->logits.vocabulary;
    const float *row = args->logits.values + i * vocabulary, *model = args->model + i * vocabulary;
    const double *stats = args->model_stats + i * MODEL_COLUMNS;
    const size_t model_argmax = (size_t)stats[MODEL_ARGMAX];
    double *out = args->out + i * OUT_COLUMNS;
    float largest = find_block_max(row, vocabulary, scratch->block_max);
    float model_largest = model[model_argmax];
    size_t likeliest = argmax(row, vocabulary, largest, scratch->block_max);
    struct divergence_sums sums = {0};
    add_row(&sums, row, model, vocabulary, likeliest, model_largest, scratch->block_max);

    double rest = sum_of_doubles(sums.weight), min_entropy = log1p(rest);
    float shifted = model[likeliest] - model_largest;
    float of_model = shifted > LOWEST ? shifted : LOWEST;
    double possible = 1 + (double)sums.possible, mass = 1;
    int unchanged = likeliest == model_argmax && largest == model_largest && !sums.changed;
    if (possible != stats[MODEL_SUPPORT]) { /* a filter: the weights it keeps are the model's */
        double kept = unchanged ? 1 + rest : model_mass(row, model, vocabulary, model_argmax,
                                                        scratch->block_max);
        mass = kept / exp(stats[MODEL_MIN_ENTROPY]);
    }
    double entropy = min_entropy - sum_of_doubles(sums.below) / (1 + rest);
    double expected = stats[MODEL_MIN_ENTROPY] -
                      (sum_of_doubles(sums.model) + (double)of_model) / (1 + rest);
    float logit = row[args->tokens[i]];
    out[OUT_ENTROPY] = entropy;
    out[OUT_MODEL_ENTROPY] = stats[MODEL_ENTROPY];
    out[OUT_KL_TO_MODEL] = expected > entropy ? expected - entropy : 0;
    out[OUT_MASS_KEPT] = mass < 1 ? mass : 1;
    out[OUT_TOKENS_KEPT] = possible;
    out[OUT_EXPECTED_SURPRISAL] = expected;
    out[OUT_TOP_PROBABILITY] = 1 / (1 + rest);
    out[OUT_SURPRISAL] =
        logit > -INFINITY ? min_entropy + ((double)largest - (double)logit) : (double)NAN;
    int valid = is_valid(scratch->block_max, block_count(vocabulary), largest);
    return valid && !sums.restored && model[likeliest] > -INFINITY ? OK : INVALID;
}

KERNEL_OF_ROWS(divergence)

/* ---- the temperature curve ---- */

/* Add a block's weights at a temperature, weights * logits, and weights * logits squared. Sixteen
 * numbers at a time are added in single precision, which is that of the exponentials. */
INLINE void add_moments(const float *below, float inverse_t, double *moments)
{
    floats zeroth[PARTS] = {{0}}, first[PARTS] = {{0}}, second[PARTS] = {{0}};
    for (size_t k = 0; k < BLOCK; k += SIXTEEN)
        EACH_PART(v) {
            floats x = load(below + k + v * LANES), w = exp_nonpositive(x * splat(inverse_t));
            zeroth[v] += w;
            first[v] = fmadd(w, x, first[v]);
            second[v] = fmadd(w * x, x, second[v]);
        }
    moments[0] += sum_of_doubles(fold_to_doubles(zeroth));
    moments[1] += sum_of_doubles(fold_to_doubles(first));
    moments[2] += sum_of_doubles(fold_to_doubles(second));
}

TARGET static enum status moments_row(const void *work, size_t i, struct scratch *scratch)
{
    const struct moments_args *args = work;
    const size_t vocabulary = args->logits.vocabulary;
    const float *row = args->logits.values + i * vocabulary;
    double *out = args->out + i * args->count * MOMENTS;
    float largest = find_block_max(row, vocabulary, scratch->block_max), below[BLOCK];
    size_t likeliest = argmax(row, vocabulary, largest, scratch->block_max);
    memset(out, 0, args->count * MOMENTS * sizeof(double));
    for (size_t block = 0; block < block_count(vocabulary); block++) {
        size_t start = block * BLOCK, count = block_size(vocabulary, block);
        for (size_t k = 0; k < BLOCK; k++) {
            float shifted = k < count ? row[start + k] - largest : LOWEST;
            below[k] = shifted > LOWEST ? shifted : LOWEST;
        }
        if (likeliest >= start && likeliest < start + count)
            below[likeliest - start] = LOWEST; /* its weight is always 1, its moments 0 */
        for (size_t k = 0; k < args->count; k++) {
            float inverse_t = (float)(1 / args->temperatures[k]);
            if ((scratch->block_max[block] - largest) * inverse_t >= -MAX_DEPTH)
                add_moments(below, inverse_t, out + k * MOMENTS);
        }
    }
    return OK;
}

KERNEL_OF_ROWS(moments)
