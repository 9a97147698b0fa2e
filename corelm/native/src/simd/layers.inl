/* Embedding, norms and attention. Each token is computed by itself, so the result does not depend
 * on its batch. */
#include "../kernels.h"
#include "../pool.h"
#include "vec.h"

#include <stdlib.h>
#include <string.h>

/* Independent sums, so that no addition waits for the one before it. */
enum { SUMS_AT_ONCE = 8, KEYS_AT_ONCE = SUMS_AT_ONCE / PARTS };
static const size_t ROW_CHUNKS = 16;          /* of a large batch: most have a next row to fetch */
static const size_t MIN_PARALLEL_NORMS = 16;  /* fewer are not worth waking another core */
static const size_t NORM_GRAIN = 8;
static const size_t MIN_PARALLEL_ATTENTION = 1 << 16; /* the same in multiplications */

TARGET static enum status embed(const struct embed_args *args)
{
    const size_t width = args->width;
    for (size_t row = 0; row < args->batch; row++) {
        const size_t first = time_of(args->times, row, args->time) - args->added;
        for (size_t i = 0; i < args->added; i++) {
            const int64_t *window = args->window + (ptrdiff_t)row * args->window_row;
            uint64_t id = (uint64_t)window[first + i];
            if (id >= args->vocabulary)
                return INVALID;
            const float *position = args->positions + (first + i) * width;
            float *out = args->out + (row * args->added + i) * width;
            if (args->half_precision) {
                const uint16_t *token = (const uint16_t *)args->tokens + id * width;
                for (size_t k = 0; k < width; k++)
                    out[k] = half_value(token[k]) + position[k];
            } else {
                const float *token = (const float *)args->tokens + id * width;
                for (size_t k = 0; k < width; k++)
                    out[k] = token[k] + position[k];
            }
        }
    }
    return OK;
}

/* ---- norms ---- */

/* The sum of (x - mean)^2. */
INLINE float sum_squares(const float *x, size_t width, float mean)
{
    floats sums[PARTS] = {{0}};
    size_t i = 0;
    for (; i + SIXTEEN <= width; i += SIXTEEN)
        EACH_PART(v) {
            floats centred = load(x + i + v * LANES) - splat(mean);
            sums[v] = fmadd(centred, centred, sums[v]);
        }
    float rest = 0.0f;
    for (; i < width; i++)
        rest = fmaf(x[i] - mean, x[i] - mean, rest);
    return sum_of(sums) + rest;
}

INLINE float sum_row(const float *x, size_t width)
{
    floats sums[PARTS] = {{0}};
    for (size_t i = 0; i < width; i += SIXTEEN)
        EACH_PART(v) sums[v] += load_part(x + i, width - i, v, 0.0f);
    return sum_of(sums);
}

TARGET static void normalise_tokens(const void *work, size_t begin, size_t end)
{
    const struct normalise_args *args = work;
    const size_t width = args->width;
    for (size_t token = begin; token < end; token++) {
        const float *x = args->x + token * width;
        float *out = args->out + token * width;
        float mean = args->shift ? sum_row(x, width) / (float)width : 0.0f;
        float deviation = sqrtf(sum_squares(x, width, mean) / (float)width + args->epsilon);
        for (size_t i = 0; i < width; i++)
            out[i] = fmaf((x[i] - mean) / deviation, args->scale[i],
                          args->shift ? args->shift[i] : 0.0f);
    }
}

static enum status normalise(const struct normalise_args *args)
{
    parallel_for(normalise_tokens, args, args->tokens, NORM_GRAIN,
                 args->tokens >= MIN_PARALLEL_NORMS);
    return OK;
}

/* ---- attention ---- */

/* The scaled products of some keys with a query. Each is one chain of additions; they run side by
 * side, so that none waits for its own last result. */
INLINE void dot_products(const int keys, const float *query, const float *key, size_t size,
                         float scale, float *scores)
{
    floats sums[KEYS_AT_ONCE][PARTS];
    UNROLLED for (int t = 0; t < keys; t++)
        EACH_PART(v) sums[t][v] = splat(0.0f);
    size_t i = 0;
    for (; i + SIXTEEN <= size; i += SIXTEEN)
        EACH_PART(v) {
            floats some = load(query + i + v * LANES);
            UNROLLED for (int t = 0; t < keys; t++)
                sums[t][v] =
                    fmadd(some, load(key + (size_t)t * size + i + v * LANES), sums[t][v]);
        }
    if (i < size)
        EACH_PART(v) {
            floats some = load_part(query + i, size - i, v, 0.0f);
            UNROLLED for (int t = 0; t < keys; t++) {
                floats other = load_part(key + (size_t)t * size + i, size - i, v, 0.0f);
                sums[t][v] = fmadd(some, other, sums[t][v]);
            }
        }
    UNROLLED for (int t = 0; t + 4 <= keys; t += 4) {
        four products = four_sums_of(sums + t) * scale;
        memcpy(scores + t, &products, sizeof products);
    }
    UNROLLED for (int t = keys / 4 * 4; t < keys; t++)
        scores[t] = sum_of(sums[t]) * scale;
}

/* Into the second-level cache: this head's and the next one's would not both fit the first. */
INLINE void prefetch(const float *from, size_t count)
{
    for (size_t i = 0; i < count; i += 16) /* one cache line */
        __builtin_prefetch(from + i, 0, 2);
}

/* Score all keys. The keys of the next head or row, `next` floats on, are prefetched: a head
 * has so few keys that the hardware prefetcher sees the pattern only when they have been read. */
INLINE void score_keys(const float *query, const float *keys, size_t count, size_t size,
                       float scale, ptrdiff_t next, float *scores)
{
    size_t t = 0;
    for (; t + KEYS_AT_ONCE <= count; t += KEYS_AT_ONCE) {
        if (next)
            prefetch(keys + t * size + next, KEYS_AT_ONCE * size);
        dot_products(KEYS_AT_ONCE, query, keys + t * size, size, scale, scores + t);
    }
    for (; t < count; t++)
        dot_products(1, query, keys + t * size, size, scale, scores + t);
}

/* Replace scores by their exponentials, and return the sum of these. */
INLINE float exp_scores(float *scores, size_t count)
{
    floats largest = splat(-INFINITY), sums[PARTS] = {{0}};
    for (size_t t = 0; t < count; t += LANES)
        largest = max(largest, load(scores + t));
    largest = splat(max_of(largest));
    for (size_t t = 0; t < count; t += SIXTEEN)
        EACH_PART(v) {
            floats weights = exp_nonpositive(load(scores + t + v * LANES) - largest);
            store(scores + t + v * LANES, weights);
            sums[v] += weights;
        }
    return sum_of(sums);
}

/* The weighted sum of the values, a few vectors of it. The next values are prefetched as the keys
 * are. */
INLINE void mix_vectors(const int vectors, const float *weights, const float *values,
                        size_t count, size_t size, float scale, ptrdiff_t next, float *out)
{
    floats sums[SUMS_AT_ONCE];
    UNROLLED for (int v = 0; v < vectors; v++)
        sums[v] = splat(0.0f);
    for (size_t t = 0; t < count; t++) {
        if (next)
            prefetch(values + t * size + next, (size_t)vectors * LANES);
        UNROLLED for (int v = 0; v < vectors; v++)
            sums[v] = fmadd(splat(weights[t]), load(values + t * size + v * LANES), sums[v]);
    }
    UNROLLED for (int v = 0; v < vectors; v++)
        store(out + v * LANES, sums[v] * splat(scale));
}

INLINE void mix_values(const float *weights, const float *values, size_t count, size_t size,
                       float scale, ptrdiff_t next, float *out)
{
    enum { MANY = SUMS_AT_ONCE, HALF = SUMS_AT_ONCE / 2 };
    size_t i = 0;
    for (; i + MANY * LANES <= size; i += MANY * LANES)
        mix_vectors(MANY, weights, values + i, count, size, scale, next, out + i);
    for (; i + HALF * LANES <= size; i += HALF * LANES)
        mix_vectors(HALF, weights, values + i, count, size, scale, next, out + i);
    for (; i + LANES <= size; i += LANES)
        mix_vectors(1, weights, values + i, count, size, scale, 0, out + i);
    for (; i < size; i++) {
        float sum = 0.0f;
        for (size_t t = 0; t < count; t++)
            sum = fmaf(weights[t], values[t * size + i], sum);
        out[i] = sum * scale;
    }
}

struct attend_job {
    const struct attend_args *args;
    float *scores; /* (batch, heads, capacity) */
    size_t capacity;
};

/* Copy the keys and values of the new tokens into the cache. */
INLINE void append_to_cache(const struct attend_args *args, size_t row, size_t kv_head,
                            float *keys, float *values)
{
    const size_t size = args->size, time = time_of(args->times, row, args->time);
    const size_t before = time - args->added;
    for (size_t i = 0; i < args->added; i++) {
        ptrdiff_t from = (ptrdiff_t)row * args->row + (ptrdiff_t)i * args->token +
                         (ptrdiff_t)(kv_head * size);
        memcpy(keys + (before + i) * size, args->key + from, size * sizeof(float));
        if (args->value)
            memcpy(values + (before + i) * size, args->value + from, size * sizeof(float));
    }
}

/* Attend from one new token, the i-th of its row, with one head. */
INLINE void attend_token(const struct attend_args *args, size_t row, size_t head, size_t i,
                         const float *keys, const float *values, ptrdiff_t next, float *scores)
{
    const size_t size = args->size, time = time_of(args->times, row, args->time);
    const size_t visible = time - args->added + i + 1;
    const float *query = args->query + (ptrdiff_t)row * args->query_row +
                         (ptrdiff_t)i * args->query_token + head * size;
    float *out = args->out + ((row * args->added + i) * args->heads + head) * size;
    score_keys(query, keys, visible, size, 1.0f / sqrtf((float)size), next, scores);
    if (args->attention_mask)
        for (size_t t = 0; t < visible; t++)
            if (!args->attention_mask[(row * args->added + i) * args->time + t])
                scores[t] = -1e9f; /* as Keras does: a row with all masked attends evenly */
    for (size_t t = visible; t % SIXTEEN; t++)
        scores[t] = -INFINITY;
    float sum = exp_scores(scores, visible);
    mix_values(scores, values, visible, size, 1.0f / sum, args->value ? next : 0, out);
}

/* Attend with some heads, counted over all rows. The heads of a group share keys and values; the
 * first of them appends to the cache. */
TARGET static void attend_heads(const void *work, size_t begin, size_t end)
{
    const struct attend_job *job = work;
    const struct attend_args *args = job->args;
    const size_t plane = args->context * args->size, group = args->heads / args->kv_heads;
    for (size_t index = begin; index < end; index++) {
        size_t row = index / args->heads, head = index % args->heads, kv_head = head / group;
        float *keys = args->cache + (ptrdiff_t)row * args->cache_row + kv_head * plane;
        float *values = args->value ? keys + args->kv_heads * plane : keys;
        ptrdiff_t next = 0;
        if (kv_head + 1 < args->kv_heads)
            next = (ptrdiff_t)plane;
        else if (head + 1 == args->heads && index + 1 < end)
            next = args->cache_row - (ptrdiff_t)(kv_head * plane);
        if (head % group == 0)
            append_to_cache(args, row, kv_head, keys, values);
        for (size_t i = 0; i < args->added; i++)
            attend_token(args, row, head, i, keys, values, next,
                         job->scores + index * job->capacity);
    }
}

static enum status attend(const struct attend_args *args)
{
    size_t capacity = (args->time + SIXTEEN - 1) / SIXTEEN * SIXTEEN;
    size_t heads = args->batch * args->heads;
    struct attend_job job = {args, malloc((heads * capacity + 1) * sizeof(float)), capacity};
    if (!job.scores)
        return NO_MEMORY;
    int parallel = heads * args->added * args->time * args->size >= MIN_PARALLEL_ATTENTION;
    size_t rows = args->batch / ROW_CHUNKS ? args->batch / ROW_CHUNKS : 1;
    parallel_for(attend_heads, &job, heads, args->heads * rows, parallel); /* whole rows */
    free(job.scores);
    return OK;
}
