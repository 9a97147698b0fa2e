/* The arithmetic of next-token distributions, row by row, as corelm/distributions.py defines it. */
#include "rows.h"
#include "../threads.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static const size_t WORTH_LOGITS = 1 << 16; /* logits that are worth another core */

static pthread_key_t desks;
static pthread_once_t prepared = PTHREAD_ONCE_INIT;

static void clear(struct desk *desk)
{
    free(desk->tops), free(desk->sums), free(desk->weights);
    free(desk->logits), free(desk->tokens), free(desk->some);
    *desk = (struct desk){.room = 0};
}

static void give_back(void *desk) /* when its thread ends */
{
    clear(desk);
    free(desk);
}

static void prepare(void)
{
    pthread_key_create(&desks, give_back);
    prepare_lanes();
}

static int furnish(struct desk *desk, size_t vocabulary)
{
    size_t blocks = blocks_in(vocabulary), room = blocks * BLOCK + SIXTEEN;
    clear(desk);
    desk->tops = malloc(blocks * sizeof(float));
    desk->sums = malloc((blocks + FOUR) * sizeof(double));
    desk->weights = malloc(room * sizeof(float));
    desk->logits = malloc(room * sizeof(float));
    desk->tokens = malloc(room * sizeof(int32_t));
    desk->some = malloc(room * sizeof(int32_t));
    if (!desk->tops || !desk->sums || !desk->weights)
        return 0;
    if (!desk->logits || !desk->tokens || !desk->some)
        return 0;
    desk->room = vocabulary;
    return 1;
}

static struct desk *desk_for(size_t vocabulary)
{
    pthread_once(&prepared, prepare);
    struct desk *desk = pthread_getspecific(desks);
    if (!desk) {
        desk = calloc(1, sizeof *desk);
        if (!desk || pthread_setspecific(desks, desk) != 0) {
            free(desk);
            return NULL;
        }
    }
    return desk->room >= vocabulary || furnish(desk, vocabulary) ? desk : NULL;
}

struct task {
    struct rows *rows;
    one_row *kernel;
};

static void some_rows(const void *work, size_t begin, size_t end)
{
    const struct task *task = work;
    struct desk *desk = desk_for(task->rows->vocabulary);
    if (!desk) {
        task->rows->failed = 1;
        return;
    }
    for (size_t row = begin; row < end; row++)
        task->kernel(task->rows, row, desk);
}

static void each_row(struct rows *rows, one_row *kernel)
{
    struct task task = {rows, kernel};
    spread(some_rows, &task, rows->batch, 1, rows->batch * rows->vocabulary >= WORTH_LOGITS);
}

/* A row is a distribution where its largest logit is neither infinite nor nan. */
FAST static void judge_row(struct rows *rows, size_t i, struct desk *desk)
{
    (void)desk;
    if (!isfinite(top_of(rows->logits + i * rows->vocabulary, rows->vocabulary)))
        rows->improper = 1;
}

static void judge(struct rows *rows) { each_row(rows, judge_row); }

FAST static void admit_row(struct rows *rows, size_t i, struct desk *desk)
{
    (void)desk;
    const float *row = rows->logits + i * rows->vocabulary;
    float *out = rows->out + i * rows->vocabulary;
    float before = top_of(row, rows->vocabulary);
    if (out != row)
        memcpy(out, row, rows->vocabulary * sizeof(float));
    if (!isfinite(before)) {
        rows->improper = 1;
        return;
    }
    float most = -INFINITY;
    for (size_t k = 0; k < rows->count; k++) {
        float logit = row[rows->given[k]];
        most = logit > most ? logit : most;
        out[rows->given[k]] = -INFINITY;
    }
    /* Where the largest is never drawn, another one must be there. */
    float after = most == before ? top_of(out, rows->vocabulary) : before;
    if (!isfinite(after))
        rows->improper = 1;
}

static void admit(struct rows *rows) { each_row(rows, admit_row); }

FAST static void sharpen_row(struct rows *rows, size_t i, struct desk *desk)
{
    (void)desk;
    const float *row = rows->logits + i * rows->vocabulary;
    float *out = rows->out + i * rows->vocabulary;
    float most = top_of(row, rows->vocabulary), t = rows->number;
    float shift = isfinite(most / t) ? 0 : most; /* a penalty later in the chain reads the signs */
    for (size_t token = 0; token < rows->vocabulary; token++)
        out[token] = (row[token] - shift) / t;
}

static void sharpen(struct rows *rows) { each_row(rows, sharpen_row); }

/* How surprising a token is, where the weights sum to a total. */
INLINE double nats_of(float logit, float most, double total)
{
    double nats = log(total) - (double)(logit - most);
    return nats > 0 ? nats : 0;
}

/* The token of a block whose slice of the running sums holds the target; the last possible one
 * where two sums of the block differ in their last bit. */
INLINE size_t inside(const float *weights, size_t count, double before, double target)
{
    size_t last = 0;
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += weights[i];
        if (before + sum > target)
            return i;
        last = weights[i] > 0 ? i : last;
    }
    return last;
}

FAST static void draw_row(struct rows *rows, size_t i, struct desk *desk)
{
    const size_t vocabulary = rows->vocabulary, blocks = blocks_in(vocabulary);
    const float *row = rows->logits + i * vocabulary;
    float most = find_tops(row, vocabulary, desk->tops), weights[BLOCK];
    if (!are_proper(desk->tops, blocks, most)) {
        rows->improper = 1, rows->tokens[i] = 0, rows->first[i] = NAN;
        return;
    }
    double total = weigh_row(row, vocabulary, most, desk, 0);
    double target = rows->luck[i] * total, before = 0;
    size_t block = 0, last = 0;
    for (; block < blocks && before + desk->sums[block] <= target; block++) {
        last = desk->sums[block] > 0 ? block : last;
        before += desk->sums[block];
    }
    if (block == blocks) { /* rounding: the very end of what is possible */
        block = last;
        before = target = INFINITY;
    }
    size_t start = block * BLOCK, count = block_size(vocabulary, block);
    weigh_block(row + start, count, most, weights);
    size_t token = start + inside(weights, count, before, target);
    rows->tokens[i] = (int64_t)token;
    rows->first[i] = nats_of(row[token], most, total);
}

static void draw(struct rows *rows) { each_row(rows, draw_row); }

FAST static void surprisal_of_row(struct rows *rows, size_t i, struct desk *desk)
{
    const float *row = rows->logits + i * rows->vocabulary;
    float most = find_tops(row, rows->vocabulary, desk->tops);
    double total = weigh_row(row, rows->vocabulary, most, desk, 0);
    rows->first[i] = nats_of(row[rows->given[i]], most, total);
}

static void surprisals(struct rows *rows) { each_row(rows, surprisal_of_row); }

FAST static void entropies_of_row(struct rows *rows, size_t i, struct desk *desk)
{
    const float *row = rows->logits + i * rows->vocabulary;
    float most = find_tops(row, rows->vocabulary, desk->tops);
    double *entropy = rows->second ? rows->second + i : NULL;
    measure_row(row, rows->vocabulary, most, desk, 0, rows->first + i, entropy);
}

static void entropies(struct rows *rows) { each_row(rows, entropies_of_row); }
