/* The figures of a report, row by row, as corelm/report/beside.py and curve.py define them. */
#include "rows.h"

#include <string.h>

static const float LEAST = -1e30f; /* as in beside.py */

/* What is summed up over the tokens of a row. */
struct sums {
    doubles rest, below, model; /* weights, times the logits, times those of the model */
    size_t possible;            /* tokens */
    unsigned revived, changed;  /* whether any is impossible in the model, or has another logit */
};

INLINE void add_block(struct sums *sums, const float *row, const float *model, size_t count,
                      float most, float model_most)
{
    const floats never = all(-INFINITY), floor = all(-DEEPEST);
    floats rest[PARTS] = {{0}}, below[PARTS] = {{0}}, surprise[PARTS] = {{0}}; /* as in entropies */
    for (size_t k = 0; k < count; k += SIXTEEN)
        EACH_PART(v) {
            floats x = load_logits(row + k, count - k, v);
            unsigned possible = bits_of(x > never);
            if (!possible) /* as is most of what a filter leaves */
                continue;
            floats y = load_logits(model + k, count - k, v), w = exponential(x - all(most));
            rest[v] += w;
            below[v] = fused(w, larger(x - all(most), floor), below[v]);
            surprise[v] = fused(w, larger(y - all(model_most), all(LEAST)), surprise[v]);
            sums->possible += (size_t)__builtin_popcount(possible);
            sums->revived |= possible & ~bits_of(y > never);
            sums->changed |= possible & bits_of(x != y);
        }
    sums->rest += as_doubles(rest);
    sums->below += as_doubles(below);
    sums->model += as_doubles(surprise);
}

/* The same of a whole row but for its likeliest token. */
INLINE void add_row(struct sums *sums, const float *row, const float *model, size_t vocabulary,
                    size_t likeliest, float model_most, const float *tops)
{
    float others[BLOCK];
    for (size_t block = 0; block < blocks_in(vocabulary); block++) {
        size_t start = block * BLOCK, count = block_size(vocabulary, block);
        if (tops[block] == -INFINITY)
            continue;
        const float *from = without_likeliest(row, start, count, likeliest, others);
        add_block(sums, from, model + start, count, row[likeliest], model_most);
    }
}

/* The weights in the model of what is possible in a row, added up as those of the row are. */
INLINE double possible_weights(const float *row, const float *model, size_t vocabulary,
                               size_t likeliest, const float *tops)
{
    doubles sum = {0};
    for (size_t block = 0; block < blocks_in(vocabulary); block++) {
        size_t start = block * BLOCK, count = block_size(vocabulary, block);
        floats some[PARTS] = {{0}};
        if (tops[block] == -INFINITY)
            continue;
        for (size_t k = 0; k < count; k += SIXTEEN)
            EACH_PART(v) {
                floats x = load_logits(row + start + k, count - k, v);
                floats y = load_logits(model + start + k, count - k, v);
                floats w = exponential(y - all(model[likeliest]));
                size_t lane = likeliest - start - k - (size_t)v * LANES;
                if (lane < LANES)
                    w[lane] = 0;
                some[v] += (floats)((ints)w & (x > all(-INFINITY)));
            }
        sum += as_doubles(some);
    }
    return sum_of_doubles(sum) + (row[likeliest] > -INFINITY);
}

/* The figures in their order in beside.py, and the surprisal of a token; improper is a row in which
 * a token was revived, or that is no distribution. Of the model are known its likeliest token, the surprisal of it, the number
 * of tokens that are possible, and its entropy. */
FAST static void figures_of_row(struct rows *rows, size_t i, struct desk *desk)
{
    const size_t vocabulary = rows->vocabulary;
    const float *row = rows->logits + i * vocabulary, *model = rows->model + i * vocabulary;
    const double *known = rows->known + i * KNOWN;
    double *found = rows->found + i * FIGURES;
    float most = find_tops(row, vocabulary, desk->tops), model_most = model[(size_t)known[0]];
    size_t at = likeliest(row, vocabulary, most, desk->tops);
    struct sums sums = {0}; /* next to the likeliest token, of weight 1, the others would be lost */
    add_row(&sums, row, model, vocabulary, at, model_most, desk->tops);
    double rest = sum_of_doubles(sums.rest), peak = log1p(rest);
    float top = model[at] - model_most > LEAST ? model[at] - model_most : LEAST;
    double possible = 1 + (double)sums.possible, mass = 1;
    int same = at == (size_t)known[0] && most == model_most && !sums.changed;
    if (possible != known[2]) /* where no logit has changed, the weights are those in the model */
        mass = (same ? 1 + rest
                     : possible_weights(row, model, vocabulary, (size_t)known[0], desk->tops)) /
               exp(known[1]);
    double entropy = peak - sum_of_doubles(sums.below) / (1 + rest);
    double expected = known[1] - (sum_of_doubles(sums.model) + (double)top) / (1 + rest);
    float given = row[rows->given[i]];
    double nats = given > -INFINITY ? peak + ((double)most - (double)given) : NAN;
    found[0] = entropy;
    found[1] = known[3];
    found[2] = expected > entropy ? expected - entropy : 0;
    found[3] = mass < 1 ? mass : 1;
    found[4] = possible;
    found[5] = expected;
    found[6] = 1 / (1 + rest);
    found[7] = nats;
    int proper = are_proper(desk->tops, blocks_in(vocabulary), most);
    if (sums.revived || model[at] == -INFINITY || !proper)
        rows->improper = 1;
}

static void figures(struct rows *rows) { each_row(rows, figures_of_row); }

/* ---- the curve ---- */

/* The sums of the weights of a block at a temperature, times the logits, times their squares.
 * Sixteen numbers are added up in single precision, which is that of the exponentials. */
INLINE void add_moments(const float *below, float colder, double *found)
{
    floats rest[PARTS] = {{0}}, first[PARTS] = {{0}}, second[PARTS] = {{0}};
    for (size_t k = 0; k < BLOCK; k += SIXTEEN)
        EACH_PART(v) {
            floats x = load(below + k + v * LANES), w = exponential(x * all(colder));
            rest[v] += w;
            first[v] = fused(w, x, first[v]);
            second[v] = fused(w * x, x, second[v]);
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
    size_t at = likeliest(row, vocabulary, most, desk->tops);
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

static void moments(struct rows *rows) { each_row(rows, moments_of_row); }
