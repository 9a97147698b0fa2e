/* Norms and attention, each token by itself. */
#include "../kernels.h"
#include "../threads.h"
#include "simd.h"

#include <stdlib.h>
#include <string.h>

enum { TOGETHER = 8, KEYS = TOGETHER / PARTS }; /* sums, so that none waits for the one before it */
static const size_t SHARES = 16;            /* of many rows, so that most have a next one */
static const size_t WORTH_TOKENS = 16;      /* of norms, that are worth another core */
static const size_t WORTH_ATTENTION = 1 << 16; /* multiplications that are */

FAST static int embed(const struct embedding *job)
{
    const size_t width = job->width, first = job->time - job->added;
    for (size_t row = 0; row < job->batch; row++)
        for (size_t i = 0; i < job->added; i++) {
            uint64_t id = (uint64_t)job->window[(ptrdiff_t)row * job->row + (ptrdiff_t)(first + i)];
            if (id >= job->vocabulary)
                return -1;
            const float *token = job->tokens + id * width, *position = job->positions;
            float *out = job->out + (row * job->added + i) * width;
            for (size_t k = 0; k < width; k++)
                out[k] = token[k] + position[(first + i) * width + k];
        }
    return 0;
}

/* The sum of (x - mean)^2. */
INLINE float squares(const float *x, size_t width, float mean)
{
    floats sums[PARTS] = {{0}};
    size_t i = 0;
    for (; i + SIXTEEN <= width; i += SIXTEEN)
        EACH_PART(v) {
            floats away = load(x + i + v * LANES) - all(mean);
            sums[v] = fused(away, away, sums[v]);
        }
    float rest = 0.0f;
    for (; i < width; i++)
        rest = fmaf(x[i] - mean, x[i] - mean, rest);
    return sum_of(sums) + rest;
}

INLINE float total(const float *x, size_t width)
{
    floats sums[PARTS] = {{0}};
    for (size_t i = 0; i < width; i += SIXTEEN)
        EACH_PART(v) sums[v] += load_part(x + i, width - i, v, 0.0f);
    return sum_of(sums);
}

FAST static void norm_tokens(const void *work, size_t begin, size_t end)
{
    const struct norm *job = work;
    const size_t width = job->width;
    for (size_t token = begin; token < end; token++) {
        const float *x = job->x + token * width;
        float *out = job->out + token * width;
        float mean = job->shift ? total(x, width) / (float)width : 0.0f;
        float deviation = sqrtf(squares(x, width, mean) / (float)width + job->epsilon);
        for (size_t i = 0; i < width; i++)
            out[i] = (x[i] - mean) / deviation * job->scale[i] + (job->shift ? job->shift[i] : 0.0f);
    }
}

static void normalise(const struct norm *job)
{
    spread(norm_tokens, job, job->tokens, 8, job->tokens >= WORTH_TOKENS);
}

/* The products of some keys with a query, each one chain, so many at a time that none waits. */
INLINE void dots(const int keys, const float *query, const float *key, size_t size, float scale,
                 float *scores)
{
    floats sums[KEYS][PARTS];
    UNROLLED for (int t = 0; t < keys; t++)
        EACH_PART(v) sums[t][v] = all(0.0f);
    size_t i = 0;
    for (; i + SIXTEEN <= size; i += SIXTEEN)
        EACH_PART(v) {
            floats some = load(query + i + v * LANES);
            UNROLLED for (int t = 0; t < keys; t++)
                sums[t][v] = fused(some, load(key + (size_t)t * size + i + v * LANES), sums[t][v]);
        }
    if (i < size)
        EACH_PART(v) {
            floats some = load_part(query + i, size - i, v, 0.0f);
            UNROLLED for (int t = 0; t < keys; t++) {
                floats other = load_part(key + (size_t)t * size + i, size - i, v, 0.0f);
                sums[t][v] = fused(some, other, sums[t][v]);
            }
        }
    UNROLLED for (int t = 0; t + 4 <= keys; t += 4) {
        four found = sums_of(sums + t) * scale;
        memcpy(scores + t, &found, sizeof found);
    }
    UNROLLED for (int t = keys / 4 * 4; t < keys; t++)
        scores[t] = sum_of(sums[t]) * scale;
}

INLINE void fetch(const float *from, size_t count)
{
    for (size_t i = 0; i < count; i += 16) /* a line of the cache */
        __builtin_prefetch(from + i, 0, 3);
}

/* Meanwhile the keys of the next head or row are fetched, which are `next` floats further on: each
 * head has few of them, and before the processor has seen how they lie they have been read. */
INLINE void score(const float *query, const float *keys, size_t count, size_t size, float scale,
                  ptrdiff_t next, float *scores)
{
    size_t t = 0;
    for (; t + KEYS <= count; t += KEYS) {
        if (next)
            fetch(keys + t * size + next, KEYS * size);
        dots(KEYS, query, keys + t * size, size, scale, scores + t);
    }
    for (; t < count; t++)
        dots(1, query, keys + t * size, size, scale, scores + t);
}

/* Scores become weights, in place; returns what they sum to. */
INLINE float weigh(float *scores, size_t count)
{
    floats most = all(-INFINITY), sums[PARTS] = {{0}};
    for (size_t t = 0; t < count; t += LANES)
        most = larger(most, load(scores + t));
    most = all(largest_of(most));
    for (size_t t = 0; t < count; t += SIXTEEN)
        EACH_PART(v) {
            floats weights = exponential(load(scores + t + v * LANES) - most);
            store(scores + t + v * LANES, weights);
            sums[v] += weights;
        }
    return sum_of(sums);
}

/* Some vectors of what the values sum up to, each by its weight; meanwhile the next values are
 * fetched, as keys are. */
INLINE void mix_some(const int vectors, const float *weights, const float *values, size_t count,
                     size_t size, float scale, ptrdiff_t next, float *out)
{
    floats sums[TOGETHER];
    UNROLLED for (int v = 0; v < vectors; v++)
        sums[v] = all(0.0f);
    for (size_t t = 0; t < count; t++) {
        if (next)
            fetch(values + t * size + next, (size_t)vectors * LANES);
        UNROLLED for (int v = 0; v < vectors; v++)
            sums[v] = fused(all(weights[t]), load(values + t * size + v * LANES), sums[v]);
    }
    UNROLLED for (int v = 0; v < vectors; v++)
        store(out + v * LANES, sums[v] * all(scale));
}

INLINE void mix(const float *weights, const float *values, size_t count, size_t size, float scale,
                ptrdiff_t next, float *out)
{
    size_t i = 0;
    for (; i + TOGETHER * LANES <= size; i += TOGETHER * LANES)
        mix_some(TOGETHER, weights, values + i, count, size, scale, next, out + i);
    for (; i + TOGETHER / 2 * LANES <= size; i += TOGETHER / 2 * LANES)
        mix_some(TOGETHER / 2, weights, values + i, count, size, scale, next, out + i);
    for (; i + LANES <= size; i += LANES)
        mix_some(1, weights, values + i, count, size, scale, 0, out + i);
    for (; i < size; i++) {
        float sum = 0.0f;
        for (size_t t = 0; t < count; t++)
            sum = fmaf(weights[t], values[t * size + i], sum);
        out[i] = sum * scale;
    }
}

struct attending {
    const struct attention *job;
    float *scores; /* room for (batch, heads, time), in whole vectors */
    size_t room;
};

/* What is new goes into the cache. */
INLINE void remember(const struct attention *job, size_t row, size_t group, float *keys,
                     float *values)
{
    const size_t size = job->size, before = job->time - job->added;
    for (size_t i = 0; i < job->added; i++) {
        ptrdiff_t from = (ptrdiff_t)row * job->row + (ptrdiff_t)i * job->token + group * size;
        memcpy(keys + (before + i) * size, job->key + from, size * sizeof(float));
        if (job->value)
            memcpy(values + (before + i) * size, job->value + from, size * sizeof(float));
    }
}

/* One head of one row; the heads of a group look at the same keys and values. */
FAST static void heads_of(const void *work, size_t begin, size_t end)
{
    const struct attending *at = work;
    const struct attention *job = at->job;
    const size_t size = job->size, plane = job->context * size, before = job->time - job->added;
    const size_t members = job->heads / job->groups;
    const float scale = 1.0f / sqrtf((float)size);
    for (size_t index = begin; index < end; index++) {
        size_t row = index / job->heads, head = index % job->heads, group = head / members;
        float *keys = job->cache + (ptrdiff_t)row * job->cache_row + group * plane;
        float *values = job->value ? keys + job->groups * plane : keys;
        float *scores = at->scores + index * at->room;
        ptrdiff_t next = 0;
        if (group + 1 < job->groups)
            next = (ptrdiff_t)plane;
        else if (head + 1 == job->heads && index + 1 < end)
            next = job->cache_row - (ptrdiff_t)(group * plane);
        if (head % members == 0)
            remember(job, row, group, keys, values);
        for (size_t i = 0; i < job->added; i++) {
            const float *query = job->query + (ptrdiff_t)row * job->query_row +
                                 (ptrdiff_t)i * job->query_token + head * size;
            size_t past = before + i + 1;
            score(query, keys, past, size, scale, next, scores);
            if (job->seen)
                for (size_t t = 0; t < past; t++)
                    if (!job->seen[(row * job->added + i) * job->time + t])
                        scores[t] = -1e9f;
            for (size_t t = past; t % SIXTEEN; t++)
                scores[t] = -INFINITY;
            float sum = weigh(scores, past);
            float *out = job->out + ((row * job->added + i) * job->heads + head) * size;
            mix(scores, values, past, size, 1.0f / sum, job->value ? next : 0, out);
        }
    }
}

static int attend(const struct attention *job)
{
    size_t room = (job->time + SIXTEEN - 1) / SIXTEEN * SIXTEEN, heads = job->batch * job->heads;
    struct attending at = {job, malloc((heads * room + 1) * sizeof(float)), room};
    if (!at.scores)
        return -1;
    int worth = heads * job->added * job->time * job->size >= WORTH_ATTENTION;
    size_t rows = job->batch / SHARES ? job->batch / SHARES : 1; /* a row stays with one core */
    spread(heads_of, &at, heads, job->heads * rows, worth);
    free(at.scores);
    return 0;
}
