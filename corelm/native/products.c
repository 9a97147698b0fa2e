/* x @ matrix + bias, each output the same to the last bit in whatever company it is computed.
 *
 * Every output is one chain of fused multiplications and additions over the inputs in their order.
 * How many tokens and columns are worked on together changes nothing but the speed. A matrix whose
 * numbers all have half precision is kept so: for few tokens the time is that of reading it.
 */
#include "kernels.h"
#include "simd.h"
#include "threads.h"

#define VECTORS (PANEL / LANES)
#define TOKENS 6      /* of a large tile: 12 sums, all that 16 registers leave room for */
#define SUMS 12
#define MANY 4        /* tokens that have sums enough in one panel */
static const size_t GRAIN = 8;        /* panels that a core takes at a time */
static const size_t WORTH = 1 << 17;  /* multiplications that are worth another core */

INLINE floats weights_at(const int halves, const void *panels, size_t place)
{
    if (halves)
        return load_halves((const uint16_t *)panels + place);
    return load((const float *)panels + place);
}

/* y / (1 + exp(-z)), z = 2 sqrt(2 / pi) (y + 0.044715 y^3): Hendrycks and Gimpel 2016 */
INLINE floats gelu(floats y)
{
    floats z = y * (all(1.5957691216f) + all(0.0713548163f) * y * y);
    floats away = larger(z, -z), power = exponential(-away); /* exp(-|z|) */
    floats share = all(1.0f) / (all(1.0f) + power);
    ints positive = z >= all(0.0f);
    return y * (floats)((positive & (ints)share) | (~positive & (ints)(power * share)));
}

INLINE floats activated(enum activation activation, floats y)
{
    if (activation == LINEAR)
        return y;
    if (activation == GELU)
        return gelu(y);
    y = larger(y, all(0.0f));
    return activation == RELU ? y : y * y;
}

/* What becomes of the sums of eight columns. */
INLINE void finish(const struct product *job, size_t token, size_t column, floats y)
{
    size_t place = token * job->units + column;
    if (column + LANES <= job->units) {
        if (job->bias)
            y += load(job->bias + column);
        y = activated(job->activation, y);
        store(job->out + place, job->add ? y + load(job->add + place) : y);
    } else if (column < job->units) {
        size_t left = job->units - column;
        if (job->bias)
            y += load_some(job->bias + column, left, 0.0f);
        y = activated(job->activation, y);
        store_some(job->out + place, left,
                   job->add ? y + load_some(job->add + place, left, 0.0f) : y);
    }
}

/* Some tokens and some panels, both known to the compiler, which keeps the sums in registers.
 * Many tokens take their time, in which the next panel is fetched: all of it is in the second
 * cache before it is wanted. One or two only wait for memory as it is. */
INLINE void tile(const int halves, const int tokens, const int panels, const struct product *job,
                 size_t token, size_t panel)
{
    const size_t inputs = job->inputs, number = halves ? sizeof(uint16_t) : sizeof(float);
    const float *x = job->x + token * inputs;
    const char *next = (const char *)job->panels + (panel + 1) * inputs * PANEL * number;
    floats sums[SUMS];
    UNROLLED for (int i = 0; i < tokens * panels * VECTORS; i++)
        sums[i] = all(0.0f);
    for (size_t k = 0; k < inputs; k++) {
        floats weights[VECTORS * 4];
        UNROLLED for (int v = 0; v < panels * VECTORS; v++)
            weights[v] = weights_at(halves, job->panels,
                                    ((panel + v / VECTORS) * inputs + k) * PANEL +
                                        v % VECTORS * LANES);
        if (tokens >= MANY)
            __builtin_prefetch(next + k * PANEL * number, 0, 2);
        UNROLLED for (int t = 0; t < tokens; t++) {
            floats input = all(x[t * inputs + k]);
            UNROLLED for (int v = 0; v < panels * VECTORS; v++)
                sums[t * panels * VECTORS + v] += input * weights[v];
        }
    }
    UNROLLED for (int t = 0; t < tokens; t++)
        UNROLLED for (int v = 0; v < panels * VECTORS; v++)
            finish(job, token + t, panel * PANEL + v * LANES, sums[t * panels * VECTORS + v]);
}

/* A function for each shape: in one of them all, the compiler would run out of registers. */
typedef void one_tile(const struct product *job, size_t token, size_t panel);
#define TILE(halves, tokens, panels)                                                              \
    FAST static __attribute__((noinline)) void tile_##halves##_##tokens##_##panels(               \
        const struct product *job, size_t token, size_t panel)                                    \
    {                                                                                             \
        tile(halves, tokens, panels, job, token, panel);                                          \
    }
#define TILES(halves)                                                                             \
    TILE(halves, 1, 1) TILE(halves, 2, 1) TILE(halves, 3, 1) TILE(halves, 4, 1)                   \
    TILE(halves, 5, 1) TILE(halves, 6, 1) TILE(halves, 1, 4) TILE(halves, 2, 3) TILE(halves, 3, 2)
TILES(0)
TILES(1)

/* By halves and tokens: of one panel, and of several, without which few tokens would wait for
 * each of their sums. */
static one_tile *const narrow[2][TOKENS + 1] = {
    {NULL, tile_0_1_1, tile_0_2_1, tile_0_3_1, tile_0_4_1, tile_0_5_1, tile_0_6_1},
    {NULL, tile_1_1_1, tile_1_2_1, tile_1_3_1, tile_1_4_1, tile_1_5_1, tile_1_6_1},
};
static one_tile *const wide[2][MANY] = {
    {NULL, tile_0_1_4, tile_0_2_3, tile_0_3_2},
    {NULL, tile_1_1_4, tile_1_2_3, tile_1_3_2},
};
static const size_t width[MANY] = {0, 4, 3, 2};

/* How many of the tokens that are left go together: 8 are 4 and 4, not 6 and 2. */
static size_t together(size_t left)
{
    if (left == TOKENS + 1 || left == TOKENS + 2)
        return MANY;
    return left < TOKENS ? left : TOKENS;
}

static void some_panels(const void *work, size_t begin, size_t end)
{
    const struct product *job = work;
    size_t panel = begin;
    if (job->tokens && job->tokens < MANY)
        for (; panel + width[job->tokens] <= end; panel += width[job->tokens])
            wide[job->halves][job->tokens](job, 0, panel);
    for (; panel < end; panel++) /* stays cached for all tokens */
        for (size_t token = 0, some; token < job->tokens; token += some) {
            some = together(job->tokens - token);
            narrow[job->halves][some](job, token, panel);
        }
}

void multiply(const struct product *job)
{
    size_t panels = (job->units + PANEL - 1) / PANEL;
    int worth = job->tokens * job->inputs * job->units >= WORTH;
    spread(some_panels, job, panels, GRAIN, worth);
}

/* Columns into panels, zeros after the last one; whether every number is still the same. */
FAST int pack(const struct packing *job)
{
    size_t panels = (job->units + PANEL - 1) / PANEL;
    ints changed = {0};
    if (job->halves && !HALVES)
        return 0;
    for (size_t panel = 0; panel < panels; panel++)
        for (size_t k = 0; k < job->inputs; k++)
            for (size_t v = 0; v < PANEL; v += LANES) {
                size_t place = (panel * job->inputs + k) * PANEL + v;
                float some[LANES];
                for (size_t lane = 0; lane < LANES; lane++) {
                    size_t unit = panel * PANEL + v + lane;
                    some[lane] = unit < job->units ? job->columns[unit * job->inputs + k] : 0.0f;
                }
                floats x = load(some);
                if (job->halves) {
                    uint16_t *to = (uint16_t *)job->panels + place;
                    store_halves(to, x);
                    changed |= load_halves(to) != x;
                } else {
                    store((float *)job->panels + place, x);
                }
            }
    for (int lane = 1; lane < LANES; lane++)
        changed[0] |= changed[lane];
    return !changed[0];
}
