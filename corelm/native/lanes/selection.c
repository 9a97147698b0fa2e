/* Filters, row by row, as corelm/selection.py and the samplers define them. */
#include "rows.h"

#include <float.h>
#include <string.h>

enum { BUCKETS = 256 };
static const double SLACK = 1e-12; /* as in corelm/selection.py */

/* ---- what is nearly as likely as the likeliest ---- */

INLINE void keep_one(const float *row, size_t vocabulary, float most, float kept, float *out)
{
    size_t token = first_of(row, vocabulary, most);
    for (size_t k = 0; k < vocabulary; k++)
        out[k] = -INFINITY;
    out[token] = kept;
}

FAST static void greedy_row(struct rows *rows, size_t i, struct desk *desk)
{
    (void)desk;
    const size_t vocabulary = rows->vocabulary;
    const float *row = rows->logits + i * vocabulary;
    keep_one(row, vocabulary, top_of(row, vocabulary), 0, rows->out + i * vocabulary);
}

static void greedy(struct rows *rows) { each_row(rows, greedy_row); }

/* The smallest finite float that is at least this. */
static float rounded_up(double least)
{
    float near = least < -FLT_MAX ? -FLT_MAX : (float)least;
    return (double)near < least ? nextafterf(near, INFINITY) : near;
}

/* What is at most so many nats less likely; the likeliest alone where they are below 0. */
FAST static void keep_row(struct rows *rows, size_t i, struct desk *desk)
{
    (void)desk;
    const size_t vocabulary = rows->vocabulary;
    const float *row = rows->logits + i * vocabulary;
    float *out = rows->out + i * vocabulary, most = top_of(row, vocabulary);
    double nats = rows->nats[i];
    if (nats < -SLACK)
        keep_one(row, vocabulary, most, most, out);
    else
        keep_from(row, vocabulary, rounded_up((double)most - nats - SLACK), out);
}

static void keep(struct rows *rows) { each_row(rows, keep_row); }

/* Less the mean, and 0 where it is minus infinity. */
INLINE doubles deviation(doubles x, double mean)
{
    longs there = x > (doubles){-INFINITY, -INFINITY, -INFINITY, -INFINITY};
    return (doubles)((longs)(x - mean) & there);
}

/* The standard deviation of the logits that are not minus infinity. */
FAST static void deviation_of_row(struct rows *rows, size_t i, struct desk *desk)
{
    (void)desk;
    const size_t vocabulary = rows->vocabulary;
    const float *row = rows->logits + i * vocabulary;
    doubles low = {0}, high = {0};
    size_t possible = 0;
    for (size_t k = 0; k < vocabulary; k += LANES) {
        floats x = load_up_to(row + k, vocabulary - k);
        ints there = x > all(-INFINITY);
        possible += (size_t)__builtin_popcount(bits_of(there));
        x = (floats)((ints)x & there);
        UNROLLED for (int e = 0; e < EIGHTS; e++)
            low += low_of(eight_of(x, e)), high += high_of(eight_of(x, e));
    }
    double count = (double)possible, mean = sum_of_doubles(low + high) / count;
    low = high = (doubles){0};
    for (size_t k = 0; k < vocabulary; k += LANES) {
        floats x = load_up_to(row + k, vocabulary - k);
        UNROLLED for (int e = 0; e < EIGHTS; e++) {
            doubles a = deviation(low_of(eight_of(x, e)), mean);
            doubles b = deviation(high_of(eight_of(x, e)), mean);
            low += a * a, high += b * b;
        }
    }
    rows->first[i] = sqrt(sum_of_doubles(low + high) / count);
}

static void deviations(struct rows *rows) { each_row(rows, deviation_of_row); }

/* ---- the k largest ---- */

/* A number of which the order, as a whole one, is that of the float. */
INLINE uint32_t ordered(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits >> 31 ? ~bits : bits | 1u << 31;
}

/* The k-th largest of some numbers, which are changed: digit by digit from the highest on, by how
 * many have each, and those that have the right one go on. */
INLINE float kth_largest(float *numbers, size_t count, size_t k)
{
    for (int shift = 24; shift >= 0 && count > 1; shift -= 8) {
        size_t counts[256] = {0}, kept = 0;
        for (size_t i = 0; i < count; i++)
            counts[ordered(numbers[i]) >> shift & 255]++;
        uint32_t digit = 255;
        for (; counts[digit] < k; digit--)
            k -= counts[digit];
        for (size_t i = 0; i < count; i++) {
            float number = numbers[i];
            numbers[kept] = number;
            kept += (ordered(number) >> shift & 255) == digit;
        }
        count = kept;
    }
    return numbers[0];
}

/* The largest of the columns into which the lanes cut each block; returns how many they are. */
INLINE size_t find_columns(const float *row, size_t vocabulary, float *tops)
{
    for (size_t block = 0; block < blocks_in(vocabulary); block++) {
        size_t start = block * BLOCK, end = start + block_size(vocabulary, block);
        floats most = all(-INFINITY);
        for (size_t k = start; k < end; k += LANES)
            most = larger(load_up_to(row + k, end - k), most);
        store(tops + block * LANES, most);
    }
    return blocks_in(vocabulary) * LANES;
}

/* The tokens that are at least a bar, and their logits, from the tops of columns. */
INLINE size_t find_reaching(const float *row, size_t vocabulary, float bar, const float *tops,
                            const struct desk *desk)
{
    size_t found = 0;
    for (size_t block = 0; block < blocks_in(vocabulary); block++) {
        size_t start = block * BLOCK, end = start + block_size(vocabulary, block);
        if (!bits_of(load(tops + block * LANES) >= all(bar)))
            continue;
        for (size_t k = start; k < end; k += LANES) {
            floats x = load_up_to(row + k, end - k);
            for (unsigned bits = bits_of(x >= all(bar)); bits; bits &= bits - 1) {
                int32_t token = (int32_t)k + __builtin_ctz(bits);
                desk->weights[found] = row[token];
                desk->tokens[found++] = token;
            }
        }
    }
    return found;
}

INLINE size_t how_many_reach(const float *numbers, size_t count, float bar)
{
    size_t found = 0;
    for (size_t k = 0; k < count; k += LANES)
        found += (size_t)__builtin_popcount(bits_of(load(numbers + k) >= all(bar)));
    return found;
}

/* A bar that at least k of some numbers reach, and not many more; the least there is where fewer
 * than k are finite. */
INLINE float bar_for(const float *numbers, size_t count, size_t k, float most)
{
    float depth = 1, step = 1;
    if (how_many_reach(numbers, count, -FLT_MAX) < k)
        return -FLT_MAX;
    while (depth < FLT_MAX && how_many_reach(numbers, count, most - depth) < k)
        step = depth, depth *= 2;
    for (int halvings = 0; halvings < 4; halvings++) {
        step /= 2;
        depth -= how_many_reach(numbers, count, most - (depth - step)) >= k ? step : 0;
    }
    return fmaxf(most - depth, -FLT_MAX);
}

/* As many logits as columns have a top that reaches a bar reach it too. So few are left to be
 * looked through; of those that tie the first ones stay. */
FAST static void largest_of_row(struct rows *rows, size_t i, struct desk *desk)
{
    const size_t vocabulary = rows->vocabulary, k = rows->count;
    const float *row = rows->logits + i * vocabulary;
    float *out = rows->out + i * vocabulary, bar = -FLT_MAX;
    const float *tops = desk->logits;
    size_t columns = find_columns(row, vocabulary, desk->logits);
    if (k <= columns)
        bar = bar_for(tops, columns, k, top_of(tops, columns));
    size_t found = find_reaching(row, vocabulary, bar, tops, desk), above = 0;
    if (found > k)
        bar = kth_largest(desk->weights, found, k);
    keep_from(row, vocabulary, bar, out);
    for (size_t j = 0; j < found; j++)
        above += row[desk->tokens[j]] > bar;
    for (size_t j = 0, tied = above; j < found; j++)
        if (row[desk->tokens[j]] == bar && ++tied > k)
            out[desk->tokens[j]] = -INFINITY;
}

static void largest(struct rows *rows) { each_row(rows, largest_of_row); }

/* ---- the nucleus ---- */

/* Falling by logit, then rising by token: an insertion sort, for a bucket holds few. */
static void sort_falling(const float *row, int32_t *tokens, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        int32_t token = tokens[i];
        size_t place = i;
        for (; place && row[tokens[place - 1]] < row[token]; place--)
            tokens[place] = tokens[place - 1];
        tokens[place] = token;
    }
}

/* How many nats below the largest there is enough weight in any case: tokens that are all less
 * likely than the share of the rest that each of the vocabulary could have are never needed. */
INLINE float depth_of(double p, double total, size_t vocabulary)
{
    double floor = (1 - p) * total / (double)vocabulary;
    float depth = floor > 0 ? (float)(1e-3 - log(floor)) : DEEPEST;
    return depth < DEEPEST ? depth : DEEPEST;
}

/* Which bucket tokens are in, by their logits. */
INLINE ints buckets_of(floats logits, float most, float scale)
{
    return __builtin_convertvector((all(most) - logits) * all(scale), ints);
}

/* What the tokens in each bucket weigh together. Those that follow each other are added to different
 * sums, for one that is written has to be waited for. */
INLINE void weigh_buckets(const struct desk *desk, size_t count, float most, float scale,
                          double *masses)
{
    double sums[4][BUCKETS] = {{0}};
    for (size_t k = 0; k < count; k += SIXTEEN) {
        int32_t buckets[SIXTEEN];
        EACH_PART(v) {
            ints some = buckets_of(load(desk->logits + k + v * LANES), most, scale);
            store((float *)buckets + v * LANES, (floats)some);
        }
        for (size_t i = 0; i < SIXTEEN && k + i < count; i++)
            sums[i % 4][buckets[i]] += desk->weights[k + i];
    }
    for (int i = 0; i < BUCKETS; i++)
        masses[i] = (sums[0][i] + sums[1][i]) + (sums[2][i] + sums[3][i]);
}

/* The places of those in one bucket; returns how many they are. */
INLINE size_t find_in_bucket(const struct desk *desk, size_t count, float most, float scale,
                             int32_t bucket)
{
    size_t found = 0;
    for (size_t k = 0; k < count; k += LANES) {
        unsigned bits = bits_of(buckets_of(load(desk->logits + k), most, scale) == bucket);
        bits &= count - k < LANES ? (1u << (count - k)) - 1 : ~0u;
        for (; bits; bits &= bits - 1)
            desk->some[found++] = (int32_t)k + __builtin_ctz(bits);
    }
    return found;
}

/* The shortest falling prefix with a mass. What is near is put into buckets by its logits, and only
 * the bucket in which the mass is reached is sorted. */
FAST static void nucleus_of_row(struct rows *rows, size_t i, struct desk *desk)
{
    const size_t vocabulary = rows->vocabulary;
    const float *row = rows->logits + i * vocabulary;
    const float *logits = desk->logits, *weights = desk->weights;
    float *out = rows->out + i * vocabulary;
    float most = find_tops(row, vocabulary, desk->tops);
    double total = weigh_row(row, vocabulary, most, desk, 1);
    double enough = rows->exact * total * (1 - SLACK);
    float depth = depth_of(rows->exact, total, vocabulary);
    depth = shallower_by_blocks(desk, vocabulary, depth, enough);
    size_t near = find_near(row, vocabulary, most, depth, desk);
    float enough_depth = shallower(desk, near, depth, enough);
    if (enough_depth < depth) {
        depth = enough_depth;
        near = find_nearer(most, depth, desk, near);
    }

    double masses[BUCKETS], mass = 0;
    float scale = (BUCKETS - 1) / depth;
    weigh_buckets(desk, near, most, scale, masses);
    int32_t bucket = 0;
    while (bucket < BUCKETS - 1 && mass + masses[bucket] < enough)
        mass += masses[bucket++];

    size_t held = find_in_bucket(desk, near, most, scale, bucket), last = 0;
    sort_falling(logits, desk->some, held);
    for (; last + 1 < held; last++) {
        mass += weights[desk->some[last]];
        if (mass >= enough)
            break;
    }
    float least = held ? logits[desk->some[last]] : most - depth;
    keep_from(row, vocabulary, least, out);
    for (size_t k = last + 1; k < held && logits[desk->some[k]] == least; k++)
        out[desk->tokens[desk->some[k]]] = -INFINITY;
}

static void nucleus(struct rows *rows) { each_row(rows, nucleus_of_row); }

/* ---- what is about as surprising as one expects ---- */

/* How far a surprisal is from the entropy: `centre` is the likeliest token's, less the entropy. */
INLINE double distance(float logit, float most, double centre)
{
    double excess = centre - ((double)logit - (double)most);
    return excess < 0 ? -excess : excess;
}

/* How many nats below the largest those are that are no farther than all above a depth, and no
 * less than how far that is: neither is changed by how floats round. */
INLINE float reach_of(double centre, float depth, double *bound)
{
    double far = fmax(fabs(centre), fabs(centre + (double)depth));
    float reach = (float)((far - centre) * (1 + 1e-6));
    *bound = far * (1 + 1e-5);
    return reach < DEEPEST ? reach : DEEPEST;
}

/* The distance at which the nearest tokens have enough weight. Tokens are put into buckets by
 * their distance, and those of the one in which it is reached again, until they are as good as tied. */
INLINE double reached_at(float most, double centre, double bound, double enough,
                         const struct desk *desk, size_t count)
{
    const float *logits = desk->logits, *weights = desk->weights;
    int32_t *some = desk->some;
    double low = 0, high = bound, before = 0;
    for (size_t k = 0; k < count; k++)
        some[k] = (int32_t)k;
    while (high - low > SLACK * (1 + low)) {
        double masses[BUCKETS] = {0}, scale = (BUCKETS - 1) / (high - low), start = low;
        for (size_t k = 0; k < count; k++) {
            double far = distance(logits[some[k]], most, centre);
            masses[(int)((far - start) * scale)] += weights[some[k]];
        }
        int bucket = 0, last = BUCKETS - 1;
        while (last && masses[last] == 0)
            last--;
        while (bucket < last && before + masses[bucket] < enough)
            before += masses[bucket++];
        size_t held = 0;
        low = high, high = start;
        for (size_t k = 0; k < count; k++) {
            double far = distance(logits[some[k]], most, centre);
            if ((int)((far - start) * scale) != bucket)
                continue;
            some[held++] = some[k];
            low = far < low ? far : low;
            high = far > high ? far : high;
        }
        count = held;
    }
    return high;
}

/* One of the tokens that are near is kept; returns its weight. */
INLINE float keep_token(const struct desk *desk, size_t place, float *out)
{
    out[desk->tokens[place]] = desk->logits[place];
    return desk->weights[place];
}

/* Those that are nearer than a distance, and of those that are as far the first until it is enough.
 * Which ones may be as far is seen in single precision, with room for what that rounds. */
INLINE void keep_near(float most, double centre, double far, double enough,
                      const struct desk *desk, size_t count, float *out)
{
    const double nearer = (1 + far) * (1 - SLACK);
    const float room = (float)(1e-5 * (1 + far + fabs(centre)));
    double mass = 0;
    size_t tied = 0;
    for (size_t k = 0; k < count; k += LANES) {
        floats excess = all((float)centre) - (load(desk->logits + k) - all(most));
        floats away = larger(excess, -excess);
        unsigned here = count - k < LANES ? (1u << (count - k)) - 1 : ~0u;
        unsigned near = bits_of(away < all((float)far - room)) & here;
        unsigned perhaps = bits_of(away <= all((float)far + room)) & here & ~near;
        for (unsigned bits = near; bits; bits &= bits - 1)
            mass += keep_token(desk, k + (size_t)__builtin_ctz(bits), out);
        for (unsigned bits = perhaps; bits; bits &= bits - 1) {
            size_t place = k + (size_t)__builtin_ctz(bits);
            double there = 1 + distance(desk->logits[place], most, centre);
            if (there < nearer)
                mass += keep_token(desk, place, out);
            else if (there * (1 - SLACK) <= 1 + far)
                desk->some[tied++] = (int32_t)place;
        }
    }
    for (size_t k = 0; k < tied; k++) {
        mass += keep_token(desk, (size_t)desk->some[k], out);
        if (mass >= enough)
            break;
    }
}

/* Without tokens that are never needed there is enough weight, and so among all that are no farther
 * than those that are left. */
FAST static void typical_row(struct rows *rows, size_t i, struct desk *desk)
{
    const size_t vocabulary = rows->vocabulary;
    const float *row = rows->logits + i * vocabulary;
    float most = find_tops(row, vocabulary, desk->tops), *out = rows->out + i * vocabulary;
    double peak, entropy;
    measure_row(row, vocabulary, most, desk, 1, &peak, &entropy);
    double total = exp(peak), centre = peak - entropy, bound;
    double enough = rows->exact * total * (1 - SLACK);
    float depth = depth_of(rows->exact, total, vocabulary);
    depth = shallower_by_blocks(desk, vocabulary, depth, enough);
    size_t count = find_near(row, vocabulary, most, reach_of(centre, depth, &bound), desk);
    depth = shallower(desk, count, depth, enough);
    count = find_nearer(most, reach_of(centre, depth, &bound), desk, count);
    double far = reached_at(most, centre, bound, enough, desk, count);
    for (size_t token = 0; token < vocabulary; token++)
        out[token] = -INFINITY;
    keep_near(most, centre, far, enough, desk, count, out);
}

static void typical(struct rows *rows) { each_row(rows, typical_row); }
