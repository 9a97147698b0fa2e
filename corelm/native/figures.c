/* The figures of a report, row by row, as corelm/report/beside.py and curve.py define them. */
#include "rows.h"

#include <string.h>

static const float LEAST = -1e30f; /* as in beside.py */

/* What is summed up over a row; the likeliest token, of weight 1, is left to the end. */
struct sums {
    doubles rest, below, model; /* weights, times the logits, times those of the model */
    ints possible, revived;     /* tokens, those of them that are impossible for the model */
};

INLINE floats load_up_to(const float *from, size_t left)
{
    return left < LANES ? load_some(from, left, -INFINITY) : load(from);
}

INLINE void add_block(struct sums *sums, const float *row, const float *model, const float *weights,
                      size_t count, float most, float model_most)
{
    const floats never = all(-INFINITY);
    for (size_t k = 0; k < count; k += LANES) {
        floats x = load_up_to(row + k, count - k), y = load_up_to(model + k, count - k);
        floats w = load(weights + k);
        ints possible = x > never;
        sums->rest += as_doubles(w);
        sums->below += as_doubles(w * larger(x - all(most), all(-DEEPEST)));
        sums->model += as_doubles(w * larger(y - all(model_most), all(LEAST)));
        sums->possible -= possible;
        sums->revived -= possible & ~(y > never);
    }
}

INLINE double count_of(ints x)
{
    double count = 0;
    for (int lane = 0; lane < LANES; lane++)
        count += x[lane];
    return count;
}

/* The weights in the model of what is possible in a row. */
INLINE double possible_weights(const float *row, const float *model, size_t vocabulary,
                               float model_most, const float *tops)
{
    doubles sum = {0};
    for (size_t block = 0; block < blocks_in(vocabulary); block++) {
        size_t start = block * BLOCK, count = block_size(vocabulary, block);
        if (tops[block] == -INFINITY)
            continue;
        for (size_t k = start; k < start + count; k += LANES) {
            floats x = load_up_to(row + k, start + count - k);
            floats w = exponential(load_up_to(model + k, start + count - k) - all(model_most));
            sum += as_doubles((floats)((ints)w & (x > all(-INFINITY))));
        }
    }
    return sum_of_doubles(sum);
}

/* entropy, expected surprisal, mass kept, tokens kept, top probability, surprisal of the token,
 * tokens revived; of the model are known its largest logit, the surprisal of its likeliest token
 * and the number of tokens that are possible */
FAST static void figures_of_row(struct rows *rows, size_t i, struct desk *desk)
{
    const size_t vocabulary = rows->vocabulary;
    const float *row = rows->logits + i * vocabulary, *model = rows->model + i * vocabulary;
    const double *known = rows->known + i * KNOWN;
    double *found = rows->found + i * FIGURES;
    float most = find_tops(row, vocabulary, desk->tops), model_most = (float)known[0];
    float weights[BLOCK];
    size_t at = likeliest(row, most, desk->tops);
    struct sums sums = {0};
    for (size_t block = 0; block < blocks_in(vocabulary); block++) {
        size_t start = block * BLOCK, count = block_size(vocabulary, block);
        if (desk->tops[block] == -INFINITY)
            continue;
        if (desk->tops[block] - most < -DEEPEST)
            memset(weights, 0, sizeof weights);
        else
            weigh_block(row + start, count, most, weights);
        if (at >= start && at < start + count)
            weights[at - start] = 0; /* 1, next to which the others would be lost */
        add_block(&sums, row + start, model + start, weights, count, most, model_most);
    }
    double rest = sum_of_doubles(sums.rest), peak = log1p(rest);
    floats top = larger(all(model[at] - model_most), all(LEAST));
    double possible = count_of(sums.possible), mass = 1;
    if (possible != known[2])
        mass = possible_weights(row, model, vocabulary, model_most, desk->tops) / exp(known[1]);
    found[0] = peak - sum_of_doubles(sums.below) / (1 + rest);
    found[1] = known[1] - (sum_of_doubles(sums.model) + (double)top[0]) / (1 + rest);
    found[2] = mass < 1 ? mass : 1;
    found[3] = possible;
    found[4] = 1 / (1 + rest);
    found[5] = peak + (double)most - (double)row[rows->given[i]];
    found[6] = count_of(sums.revived);
}

void figures(struct rows *rows) { each_row(rows, figures_of_row); }

/* ---- the curve ---- */

/* The sums of the weights of a block at a temperature, times the logits, times their squares.
 * Sixteen numbers are added up in single precision, which is that of the exponentials. */
INLINE void add_moments(const float *below, float colder, double *found)
{
    floats rest = {0}, first = {0}, second = {0};
    for (size_t k = 0; k < BLOCK; k += LANES) {
        floats x = load(below + k), w = exponential(x * all(colder));
        rest += w;
        w *= x;
        first += w;
        second += w * x;
    }
    found[0] += sum_of_doubles(as_doubles(rest));
    found[1] += sum_of_doubles(as_doubles(first));
    found[2] += sum_of_doubles(as_doubles(second));
}

FAST static void moments_of_row(struct rows *rows, size_t i, struct desk *desk)
{
    const size_t vocabulary = rows->vocabulary;
    const float *row = rows->logits + i * vocabulary;
    double *found = rows->found + i * rows->count * MOMENTS;
    float most = find_tops(row, vocabulary, desk->tops), below[BLOCK];
    size_t at = likeliest(row, most, desk->tops);
    memset(found, 0, rows->count * MOMENTS * sizeof(double));
    for (size_t block = 0; block < blocks_in(vocabulary); block++) {
        size_t start = block * BLOCK, count = block_size(vocabulary, block);
        for (size_t k = 0; k < BLOCK; k++)
            below[k] = k < count && row[start + k] - most > LEAST ? row[start + k] - most : LEAST;
        if (at >= start && at < start + count)
            below[at - start] = LEAST; /* 1 at any temperature, and no part of the moments */
        for (size_t k = 0; k < rows->count; k++) {
            float colder = (float)(1 / rows->known[k]);
            if ((desk->tops[block] - most) * colder >= -DEEPEST)
                add_moments(below, colder, found + k * MOMENTS);
        }
    }
}

void moments(struct rows *rows) { each_row(rows, moments_of_row); }
