/* Next-token distributions, row by row, as corelm.numerics.distributions defines them. */
#include "weights.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* ---- scratch memory and rows ---- */

static const size_t MIN_PARALLEL_LOGITS = 1 << 16; /* fewer are not worth waking another core */
static const size_t MIN_SPLIT_ROW = 1 << 17;       /* nor are fewer of one row, which is read once */

static pthread_key_t scratch_key;

static void scratch_clear(struct scratch *scratch)
{
    free(scratch->block_max), free(scratch->block_sums), free(scratch->weights);
    free(scratch->logits), free(scratch->tokens), free(scratch->indices);
    free(scratch->keys), free(scratch->key_weights), free(scratch->row);
    *scratch = (struct scratch){.capacity = 0};
}

/* Called when a thread ends. */
static void scratch_free(void *scratch)
{
    scratch_clear(scratch);
    free(scratch);
}

static void prepare_once(void)
{
    pthread_key_create(&scratch_key, scratch_free);
    prepare_tables();
}

static void prepare(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, prepare_once);
}

static int scratch_reserve(struct scratch *scratch, size_t vocabulary)
{
    /* Whole vectors are stored behind the last number that counts. */
    size_t blocks = block_count(vocabulary), tokens = blocks * BLOCK + SIXTEEN;
    scratch_clear(scratch);
    scratch->block_max = malloc(blocks * sizeof(float));
    scratch->block_sums = malloc((blocks + FOUR) * sizeof(double));
    scratch->weights = malloc(tokens * sizeof(float));
    scratch->logits = malloc(tokens * sizeof(float));
    scratch->tokens = malloc(tokens * sizeof(int32_t));
    scratch->indices = malloc(tokens * sizeof(int32_t));
    scratch->keys = malloc(tokens * sizeof(float));
    scratch->key_weights = malloc(tokens * sizeof(float));
    scratch->row = malloc(tokens * sizeof(float));
    if (!scratch->block_max || !scratch->block_sums || !scratch->weights || !scratch->logits)
        return 0;
    if (!scratch->tokens || !scratch->indices || !scratch->keys || !scratch->key_weights)
        return 0;
    if (!scratch->row)
        return 0;
    scratch->capacity = vocabulary;
    return 1;
}

/* Return this thread's scratch memory, or NULL if memory runs out. */
static struct scratch *scratch_for(size_t vocabulary)
{
    struct scratch *scratch = pthread_getspecific(scratch_key);
    if (!scratch) {
        scratch = calloc(1, sizeof *scratch);
        if (!scratch || pthread_setspecific(scratch_key, scratch) != 0) {
            free(scratch);
            return NULL;
        }
    }
    if (scratch->capacity >= vocabulary || scratch_reserve(scratch, vocabulary))
        return scratch;
    return NULL;
}

struct row_job {
    row_function *function;
    const void *args;
    size_t vocabulary;
    atomic_int *no_memory, *invalid;
};

static void do_rows(const void *work, size_t begin, size_t end)
{
    const struct row_job *job = work;
    struct scratch *scratch = scratch_for(job->vocabulary);
    if (!scratch) {
        atomic_store_explicit(job->no_memory, 1, memory_order_relaxed);
        return;
    }
    for (size_t row = begin; row < end; row++)
        if (job->function(job->args, row, scratch) != OK)
            atomic_store_explicit(job->invalid, 1, memory_order_relaxed);
}

static enum status for_each_row(const struct logits *logits, const void *args,
                                row_function *function)
{
    atomic_int no_memory = 0, invalid = 0;
    struct row_job job = {function, args, logits->vocabulary, &no_memory, &invalid};
    int parallel = logits->batch * logits->vocabulary >= MIN_PARALLEL_LOGITS;
    /* One row at a time: how long it takes depends on its logits. */
    parallel_for(do_rows, &job, logits->batch, 1, parallel);
    return no_memory ? NO_MEMORY : invalid ? INVALID : OK;
}

/* ---- distributions ---- */

/* A row is a distribution if its largest logit is finite and no logit is nan. */
TARGET static enum status rows_are_valid_row(const void *work, size_t i, struct scratch *scratch)
{
    (void)scratch;
    const struct rows_are_valid_args *args = work;
    const size_t vocabulary = args->logits.vocabulary;
    return isfinite(max_logit(args->logits.values + i * vocabulary, vocabulary)) ? OK : INVALID;
}

KERNEL_OF_ROWS(rows_are_valid)

/* Copy a row. Returns its largest logit, or nan where one of them is nan. */
INLINE float copy_row(const float *row, size_t vocabulary, float *out)
{
    floats max_a = splat(-INFINITY), max_b = max_a;
    ints is_nan = {0};
    size_t i = 0;
    for (; i + 2 * LANES <= vocabulary; i += 2 * LANES) {
        floats a = load(row + i), b = load(row + i + LANES);
        store(out + i, a), store(out + i + LANES, b);
        is_nan |= (a != a) | (b != b);
        max_a = max(a, max_a), max_b = max(b, max_b);
    }
    float last = max_logit(row + i, vocabulary - i);
    memcpy(out + i, row + i, (vocabulary - i) * sizeof(float));
    return movemask(is_nan) || last != last ? NAN : fmaxf(max_of(max(max_a, max_b)), last);
}

/* Set the listed logits to minus infinity, and return the largest of them. */
INLINE float set_impossible(const int64_t *tokens, size_t count, size_t vocabulary, float *out)
{
    float largest = -INFINITY;
    for (size_t k = 0; k < count; k++) {
        size_t token = (size_t)tokens[k]; /* one below 0 is a large one */
        if (token >= vocabulary)
            continue;
        largest = out[token] > largest ? out[token] : largest;
        out[token] = -INFINITY;
    }
    return largest;
}

/* Set the listed logits of `out`, a copy of a row or the row itself, to minus infinity. Returns
 * whether a distribution is left. */
INLINE enum status forbid(const int64_t *tokens, size_t count, size_t vocabulary, float largest,
                          float *out)
{
    if (!isfinite(largest))
        return INVALID;
    float largest_masked = set_impossible(tokens, count, vocabulary, out);
    /* Unless the largest logit was masked, a finite one is left. */
    return largest_masked == largest && !isfinite(max_logit(out, vocabulary)) ? INVALID : OK;
}

TARGET static enum status mask_tokens_row(const void *work, size_t i, struct scratch *scratch)
{
    (void)scratch;
    const struct mask_tokens_args *args = work;
    const size_t vocabulary = args->logits.vocabulary;
    const float *row = args->logits.values + i * vocabulary;
    float *out = args->out + i * vocabulary;
    float largest = out == row ? max_logit(row, vocabulary) : copy_row(row, vocabulary, out);
    return forbid(args->tokens, args->count, vocabulary, largest, out);
}

KERNEL_OF_ROWS(mask_tokens)

/* Keep one token, the likeliest, and return it. */
INLINE size_t keep_one(const float *row, size_t vocabulary, float largest, float *out)
{
    size_t token = index_of(row, vocabulary, largest);
    float logit = row[token]; /* the two may be one row */
    fill(out, vocabulary, -INFINITY);
    out[token] = logit;
    return token;
}

/* Divide in double precision: as a float, t would be 0 or infinite. */
static void divide_exactly(const float *row, size_t vocabulary, float largest, double t,
                           float *out)
{
    double shift = isfinite((float)((double)largest / t)) ? 0 : (double)largest;
    for (size_t token = 0; token < vocabulary; token++)
        out[token] = (float)(((double)row[token] - shift) / t);
}

/* Subtract a shift and divide; return the largest quotient. */
INLINE float divide(const float *row, size_t count, float shift, float t, float *out)
{
    floats largest = splat(-INFINITY);
    size_t k = 0;
    for (; k + LANES <= count; k += LANES) {
        floats x = (load(row + k) - splat(shift)) / splat(t);
        store(out + k, x);
        largest = max(x, largest);
    }
    float last = max_of(largest);
    for (; k < count; k++) {
        out[k] = (row[k] - shift) / t;
        last = out[k] > last ? out[k] : last;
    }
    return last;
}

/* Divide the maxima of the known row, and know those of the quotient, which is still to be computed:
 * division by a positive number leaves the order of logits. */
INLINE struct quotient divide_maxima(const float *row, size_t vocabulary, float t, float *out,
                                     struct scratch *scratch)
{
    float shift = isfinite(scratch->largest / t) ? 0 : scratch->largest;
    for (size_t block = 0; block < block_count(vocabulary); block++)
        scratch->block_max[block] = (scratch->block_max[block] - shift) / t;
    know(out, vocabulary, scratch);
    return (struct quotient){row, shift, t, out};
}

INLINE void divide_known(const float *row, size_t vocabulary, float t, float *out,
                         struct scratch *scratch)
{
    struct quotient quotient = divide_maxima(row, vocabulary, t, out, scratch);
    for (size_t block = 0; block < block_count(vocabulary); block++)
        divide_block(&quotient, vocabulary, block, scratch);
}

/* Whether quotients are computed in single precision. */
static int is_usual(double t) { return t > 1e-30 && t < 1e30; }

TARGET static enum status apply_temperature_row(const void *work, size_t i,
                                                struct scratch *scratch)
{
    const struct apply_temperature_args *args = work;
    const size_t vocabulary = args->logits.vocabulary;
    const float *row = args->logits.values + i * vocabulary;
    float *out = args->out + i * vocabulary;
    double t = args->t[i * args->t_row];
    if (t == INFINITY)
        for (size_t k = 0; k < vocabulary; k++)
            out[k] = row[k] > -INFINITY ? 0 : -INFINITY;
    else if (t == 0)
        out[keep_one(row, vocabulary, find_max(row, vocabulary, scratch), out)] = 0;
    else if (!is_usual(t))
        divide_exactly(row, vocabulary, find_max(row, vocabulary, scratch), t, out);
    else if (row == scratch->known)
        divide_known(row, vocabulary, (float)t, out, scratch);
    /* Shift only where a quotient overflows: a penalty later in the chain reads the signs. */
    else if (!isfinite(divide(row, vocabulary, 0, (float)t, out)))
        divide(row, vocabulary, max_logit(row, vocabulary), (float)t, out);
    return OK;
}

/* The parts of one large row, which the cores divide. */
struct divide_job {
    const struct apply_temperature_args *args;
    atomic_int *is_finite, *overflows; /* whether the largest quotient of any part is */
};

TARGET static void divide_part(const void *work, size_t begin, size_t end)
{
    const struct divide_job *job = work;
    const struct apply_temperature_args *args = job->args;
    float largest = divide(args->logits.values + begin, end - begin, 0, (float)args->t[0],
                           args->out + begin);
    if (largest > -INFINITY)
        atomic_store_explicit(largest == INFINITY ? job->overflows : job->is_finite, 1,
                              memory_order_relaxed);
}

/* A batch of rows is a row at a time for each core; a large row alone is divided among them. */
static enum status apply_temperature(const struct apply_temperature_args *args)
{
    enum { PART = 1 << 14 };
    atomic_int is_finite = 0, overflows = 0;
    struct divide_job job = {args, &is_finite, &overflows};
    const size_t vocabulary = args->logits.vocabulary;
    if (args->logits.batch != 1 || vocabulary < MIN_SPLIT_ROW ||
        !is_usual(*args->t))
        return for_each_row(&args->logits, args, apply_temperature_row);
    parallel_for(divide_part, &job, vocabulary, PART, 1);
    if (is_finite && !overflows)
        return OK;
    return for_each_row(&args->logits, args, apply_temperature_row);
}

/* The surprisal of a logit, if ln of the sum of the weights of its row is `ln_total`. */
INLINE double surprisal_of(float logit, float largest, double ln_total)
{
    double nats = ln_total - (double)(logit - largest);
    return nats > 0 ? nats : 0;
}

/* The token of a block whose share of the running sum holds the target. The last possible one if
 * there is none, which happens when two sums of the block differ in their last bit. */
INLINE size_t find_target(const float *weights, size_t count, double before, double target)
{
    size_t last = 0;
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += (double)weights[i];
        if (before + sum > target)
            return i;
        last = weights[i] > 0 ? i : last;
    }
    return last;
}

/* The token of a row whose share of the running sum holds the target. */
INLINE size_t find_token(const float *row, size_t vocabulary, float largest, double target,
                         const struct scratch *scratch)
{
    const size_t blocks = block_count(vocabulary);
    size_t block = 0, last = 0;
    double before = 0;
    float weights[BLOCK];
    for (; block < blocks && before + scratch->block_sums[block] <= target; block++) {
        last = scratch->block_sums[block] > 0 ? block : last;
        before += scratch->block_sums[block];
    }
    if (block == blocks) { /* rounding: take the last token that can be drawn */
        block = last;
        before = target = INFINITY;
    }
    size_t start = block * BLOCK, count = block_size(vocabulary, block);
    exp_block(row + start, count, largest, weights);
    return start + find_target(weights, count, before, target);
}

/* Find the largest logits of a row, unless they are known, and know them. */
INLINE enum status look_at(const float *row, size_t vocabulary, struct scratch *scratch)
{
    scratch->largest = find_block_max(row, vocabulary, scratch);
    scratch->known = row;
    return is_valid(scratch->block_max, block_count(vocabulary), scratch->largest) ? OK : INVALID;
}

/* Draw, and compute the row first if it is a quotient, and its figures unless `figures` is NULL. */
INLINE enum status draw_from(const float *row, size_t vocabulary, double uniform, int64_t *token,
                             double *surprisal, struct figures *figures,
                             const struct quotient *quotient, struct scratch *scratch)
{
    float largest = find_block_max(row, vocabulary, scratch);
    *token = 0, *surprisal = NAN;
    if (!is_valid(scratch->block_max, block_count(vocabulary), largest))
        return INVALID;
    double total =
        figures ? exp_entropy_row(row, vocabulary, largest, quotient, scratch, figures)
        : quotient->out ? exp_quotient(quotient, vocabulary, largest, scratch)
                        : exp_row(row, vocabulary, largest, scratch, 0);
    size_t found = find_token(row, vocabulary, largest, uniform * total, scratch);
    *token = (int64_t)found;
    *surprisal = surprisal_of(row[found], largest, ln(total));
    return OK;
}

TARGET static enum status draw_row(const void *work, size_t i, struct scratch *scratch)
{
    const struct draw_args *args = work;
    const size_t vocabulary = args->logits.vocabulary;
    const struct quotient none = {NULL};
    return draw_from(args->logits.values + i * vocabulary, vocabulary, args->uniforms[i],
                     args->tokens + i, args->surprisals + i, NULL, &none, scratch);
}

KERNEL_OF_ROWS(draw)

TARGET static enum status surprisals_row(const void *work, size_t i, struct scratch *scratch)
{
    const struct surprisals_args *args = work;
    const size_t vocabulary = args->logits.vocabulary;
    const float *row = args->logits.values + i * vocabulary;
    float largest = find_block_max(row, vocabulary, scratch);
    double total = exp_row(row, vocabulary, largest, scratch, 0);
    args->out[i] = surprisal_of(row[args->tokens[i]], largest, ln(total));
    return OK;
}

KERNEL_OF_ROWS(surprisals)

/* ln of the sum is the min-entropy, since the largest logit counts as 0. */
TARGET static enum status surprisals_and_entropy_row(const void *work, size_t i,
                                                     struct scratch *scratch)
{
    const struct surprisals_and_entropy_args *args = work;
    const size_t vocabulary = args->logits.vocabulary;
    const float *row = args->logits.values + i * vocabulary;
    float largest = find_block_max(row, vocabulary, scratch);
    double min_entropy;
    entropy_row(row, vocabulary, largest, scratch, 0, &min_entropy, args->entropy + i);
    args->surprisals[i] = surprisal_of(row[args->tokens[i]], largest, min_entropy);
    return OK;
}

KERNEL_OF_ROWS(surprisals_and_entropy)

TARGET static enum status min_and_shannon_entropy_row(const void *work, size_t i,
                                                      struct scratch *scratch)
{
    const struct min_and_shannon_entropy_args *args = work;
    const size_t vocabulary = args->logits.vocabulary;
    const float *row = args->logits.values + i * vocabulary;
    float largest = find_block_max(row, vocabulary, scratch);
    double *entropy = args->entropy ? args->entropy + i : NULL;
    entropy_row(row, vocabulary, largest, scratch, 0, args->min_entropy + i, entropy);
    return OK;
}

KERNEL_OF_ROWS(min_and_shannon_entropy)

/* ---- the tokens that are possible ---- */

INLINE size_t possible_tokens(const float *row, size_t vocabulary)
{
    ints count = {0};
    for (size_t k = 0; k < vocabulary; k += LANES) /* a mask of a true lane is -1 */
        count -= load_up_to(row + k, vocabulary - k) > splat(-INFINITY);
    size_t possible = 0;
    for (int lane = 0; lane < LANES; lane++)
        possible += (size_t)count[lane];
    return possible;
}
