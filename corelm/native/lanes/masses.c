/* Filters that keep a mass, row by row, as corelm/filters.py defines them. */
#include "rows.h"

enum { BUCKETS = 256 };

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
        bits &= lanes_before(count - k);
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
        unsigned here = lanes_before(count - k);
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
