/* The figures of a report, row by row, as corelm.numerics.divergences defines them. */
#include "weights.h"

#include <string.h>

static const float LOWEST = -1e30f; /* takes the place of minus infinity: 0 * LOWEST is 0 */

/* ---- a sampler's distribution next to the model's ---- */

/* Sums over the tokens of a row. */
struct divergence_sums {
    doubles weight, below, squared; /* weights; times the logits; times their squares */
    doubles model;                 /* weights times the model's logits */
    size_t possible;              /* tokens */
    unsigned restored, changed;    /* nonzero if the model bans a token; has another logit */
};

INLINE void add_block(struct divergence_sums *sums, const float *row, const float *model,
                      size_t count, float largest, float model_largest)
{
    const floats never = splat(-INFINITY), floor = splat(-MAX_DEPTH);
    floats weight[PARTS] = {{0}}, below[PARTS] = {{0}}, squared[PARTS] = {{0}};
    floats of_model[PARTS] = {{0}};
    for (size_t k = 0; k < count; k += SIXTEEN)
        EACH_PART(v) {
            floats x = load_logits(row + k, count - k, v);
            unsigned possible = movemask(x > never);
            if (!possible) /* as for most tokens after a filter */
                continue;
            floats y = load_logits(model + k, count - k, v), shifted = x - splat(largest);
            floats w = exp_nonpositive(shifted), depth = max(shifted, floor);
            weight[v] += w;
            below[v] = fmadd(w, depth, below[v]);
            squared[v] = fmadd(w * depth, depth, squared[v]);
            of_model[v] = fmadd(w, max(y - splat(model_largest), splat(LOWEST)), of_model[v]);
            sums->possible += (size_t)__builtin_popcount(possible);
            sums->restored |= possible & ~movemask(y > never);
            sums->changed |= possible & movemask(x != y);
        }
    sums->weight += fold_to_doubles(weight);
    sums->below += fold_to_doubles(below);
    sums->squared += fold_to_doubles(squared);
    sums->model += fold_to_doubles(of_model);
}

/* Add up a row, except its likeliest token. */
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

/* ---- distances between the two: total variation and Jensen-Shannon ---- */

struct distances { double variation, jensen_shannon; };

/* The distances of a filter that keeps this mass: what it keeps grows by the same factor. */
INLINE struct distances distances_of_filter(double mass)
{
    double grown = ln(2 / (1 + mass)), kept = mass > 0 ? mass * ln(2 * mass / (1 + mass)) : 0;
    double nats = (grown + kept + (1 - mass) * ln(2)) / 2;
    return (struct distances){1 - mass, nats > 0 ? nats : 0};
}

INLINE floats where_else(ints where, floats a, floats b)
{
    return (floats)((where & (ints)a) | (~where & (ints)b));
}

/* x ln x for 0 <= x <= 2. With x = 2^n m and m between the roots of 1/2 and 2, ln m is
 * 2 atanh(z) for z = (m - 1) / (m + 1), whose series needs five terms. */
INLINE floats x_log_x(floats x)
{
    const ints root_half = (ints)splat(0.70710678f), one = (ints)splat(1.0f);
    floats positive = max(x, splat(1e-30f));
    ints exponent = ((ints)positive - root_half) >> 23;
    floats m = (floats)((ints)positive - (exponent << 23)), n = {0};
    n = __builtin_convertvector(exponent, floats);
    floats z = (m - (floats)one) / (m + (floats)one), square = z * z;
    floats series = fmadd(square, splat(2.0f / 9), splat(2.0f / 7));
    series = fmadd(square, series, splat(2.0f / 5));
    series = fmadd(square, series, splat(2.0f / 3));
    series = fmadd(square, series, splat(2.0f));
    return x * fmadd(n, splat(0.69314718f), z * series);
}

/* ((1 + d) ln(1 + d) + (1 - d) ln(1 - d)) / 2 for -1 <= d <= 1. The two terms cancel where d is
 * small, so there it is the series of d^2k / (2k (2k - 1)). */
INLINE floats imbalance(floats d)
{
    floats square = d * d, series = splat(1.0f / 132);
    series = fmadd(square, series, splat(1.0f / 90));
    series = fmadd(square, series, splat(1.0f / 56));
    series = fmadd(square, series, splat(1.0f / 30));
    series = fmadd(square, series, splat(1.0f / 12));
    series = fmadd(square, series, splat(1.0f / 2));
    floats exact = splat(0.5f) * (x_log_x(splat(1.0f) + d) + x_log_x(splat(1.0f) - d));
    return where_else(square < splat(0.1225f), square * series, exact);
}

/* The distances between probabilities a and b: the sums over tokens of |a - b| / 2 and of
 * (a + b) imbalance((a - b) / (a + b)) / 2. */
INLINE struct distances distances_of_rows(const float *row, const float *model, size_t vocabulary,
                                          float largest, float model_largest, float scale,
                                          float model_scale)
{
    doubles variation = {0}, jensen_shannon = {0};
    for (size_t start = 0; start < vocabulary; start += BLOCK) {
        size_t count = vocabulary - start < BLOCK ? vocabulary - start : BLOCK;
        floats apart[PARTS] = {{0}}, nats[PARTS] = {{0}};
        for (size_t k = 0; k < count; k += SIXTEEN)
            EACH_PART(v) {
                floats x = load_logits(row + start + k, count - k, v);
                floats y = load_logits(model + start + k, count - k, v);
                floats a = exp_nonpositive(x - splat(largest)) * splat(scale);
                floats b = exp_nonpositive(y - splat(model_largest)) * splat(model_scale);
                floats difference = a - b, sum = a + b;
                floats d = difference / max(sum, splat(1e-37f));
                apart[v] += max(difference, -difference);
                nats[v] = fmadd(sum, imbalance(d), nats[v]);
            }
        variation += fold_to_doubles(apart);
        jensen_shannon += fold_to_doubles(nats);
    }
    double tv = sum_of_doubles(variation) / 2, js = sum_of_doubles(jensen_shannon) / 2;
    return (struct distances){tv < 1 ? tv : 1, js < ln(2) ? js : ln(2)};
}

/* INVALID: the row isn't a distribution, or a token is possible in it that isn't in the model's
 * row. As in `entropy_row`, the likeliest token, of weight 1, is added last. */
TARGET static enum status divergence_row(const void *work, size_t i, struct scratch *scratch)
{
    const struct divergence_args *args = work;
    const size_t vocabulary = args->logits.vocabulary;
    const float *row = args->logits.values + i * vocabulary, *model = args->model + i * vocabulary;
    const double *stats = args->model_stats + i * MODEL_COLUMNS;
    const size_t model_argmax = (size_t)stats[MODEL_ARGMAX];
    double *out = args->out + i * OUT_COLUMNS;
    float largest = find_block_max(row, vocabulary, scratch);
    float model_largest = model[model_argmax];
    size_t likeliest = argmax(row, vocabulary, largest, scratch->block_max);
    struct divergence_sums sums = {0};
    add_row(&sums, row, model, vocabulary, likeliest, model_largest, scratch->block_max);

    double rest = sum_of_doubles(sums.weight), min_entropy = ln_1p(rest);
    float shifted = model[likeliest] - model_largest;
    float of_model = shifted > LOWEST ? shifted : LOWEST;
    double possible = 1 + (double)sums.possible, mass = 1;
    int unchanged = likeliest == model_argmax && largest == model_largest && !sums.changed;
    if (possible != stats[MODEL_SUPPORT]) { /* a filter: the weights it keeps are the model's */
        double kept = unchanged ? 1 + rest : model_mass(row, model, vocabulary, model_argmax,
                                                        scratch->block_max);
        mass = kept / e_to(stats[MODEL_MIN_ENTROPY]);
    }
    double below = sum_of_doubles(sums.below) / (1 + rest), entropy = min_entropy - below;
    double varentropy = sum_of_doubles(sums.squared) / (1 + rest) - below * below;
    int is_filter = !sums.changed && largest == model[likeliest];
    struct distances apart =
        is_filter ? distances_of_filter(mass < 1 ? mass : 1)
                  : distances_of_rows(row, model, vocabulary, largest, model_largest,
                                      (float)(1 / (1 + rest)),
                                      (float)e_to(-stats[MODEL_MIN_ENTROPY]));
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
    out[OUT_VARENTROPY] = varentropy > 0 ? varentropy : 0;
    out[OUT_TOTAL_VARIATION] = apart.variation;
    out[OUT_JENSEN_SHANNON] = apart.jensen_shannon;
    out[OUT_SURPRISAL] =
        logit > -INFINITY ? min_entropy + ((double)largest - (double)logit) : (double)NAN;
    int valid = is_valid(scratch->block_max, block_count(vocabulary), largest);
    return valid && !sums.restored && model[likeliest] > -INFINITY ? OK : INVALID;
}

KERNEL_OF_ROWS(divergence)

/* ---- the temperature curve ---- */

/* Add a block's weights at a temperature, weights * logits, and weights * logits squared. Sixteen
 * numbers at a time are added in single precision, as precise as the exponentials. */
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
    float largest = find_block_max(row, vocabulary, scratch), below[BLOCK];
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
