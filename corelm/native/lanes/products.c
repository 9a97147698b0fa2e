/* x @ matrix + bias, each output the same to the last bit in whatever company it is computed.
 *
 * Every output is one chain of fused multiplications and additions over the inputs in their order.
 * How many tokens and columns are worked on together changes nothing but the speed. A matrix whose
 * numbers all have half precision is kept so: for few tokens the time is that of reading it.
 */
#include "../kernels.h"
#include "../threads.h"
#include "simd.h"

#define VECTORS (PANEL / LANES)
enum { MANY = 4 };                    /* tokens that take longer to multiply than the panels to read */
static const size_t GRAIN = 8;        /* panels that a core takes at a time */
static const size_t COARSE = 32;      /* the same of many: what follows them is fetched for nothing */
static const size_t WORTH = 1 << 17;  /* multiplications that are worth another core */

/* All pairs of tokens and panels that are worked on together, and how many panels are for so many
 * tokens: of AVX2's 16 registers there are 12 for sums, of AVX-512's 32 as many as are wanted. */
#if LANES == 16
enum { TOKENS = 8, PANELS = 8, SUMS = 16 };
#define SHAPES(SHAPE)                                                                             \
    SHAPE(1, 1) SHAPE(2, 1) SHAPE(3, 1) SHAPE(4, 1) SHAPE(5, 1) SHAPE(6, 1) SHAPE(7, 1)           \
    SHAPE(8, 1) SHAPE(1, 8) SHAPE(2, 4) SHAPE(3, 4) SHAPE(4, 2) SHAPE(5, 2) SHAPE(6, 2)           \
    SHAPE(7, 2) SHAPE(8, 2)
static const size_t panels_for[TOKENS + 1] = {1, 8, 4, 4, 2, 2, 2, 2, 2};
#else
enum { TOKENS = 6, PANELS = 4, SUMS = 12 };
#define SHAPES(SHAPE)                                                                             \
    SHAPE(1, 1) SHAPE(2, 1) SHAPE(3, 1) SHAPE(4, 1) SHAPE(5, 1) SHAPE(6, 1)                       \
    SHAPE(1, 4) SHAPE(2, 3) SHAPE(3, 2)
static const size_t panels_for[TOKENS + 1] = {1, 4, 3, 2, 1, 1, 1};
#endif

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

/* The sums of some tokens, (tokens, inputs), and some panels that follow each other, to (tokens,
 * panels, PANEL). How many is known to the compiler, which keeps the sums in registers. Many tokens
 * take their time, in which the next panels are fetched: all of them are in the second cache before
 * they are wanted. A few only wait for memory as it is. */
INLINE void tile(const int halves, const int tokens, const int panels, const float *x,
                 const void *matrix, size_t inputs, float *out)
{
    const size_t row = PANEL * (halves ? sizeof(uint16_t) : sizeof(float)), size = inputs * row;
    const char *next = (const char *)matrix + (size_t)panels * size;
    floats sums[SUMS];
    UNROLLED for (int i = 0; i < tokens * panels * VECTORS; i++)
        sums[i] = all(0.0f);
    for (size_t k = 0; k < inputs; k++) {
        floats weights[PANELS * VECTORS];
        UNROLLED for (int v = 0; v < panels * VECTORS; v++)
            weights[v] = weights_at(halves, matrix,
                                    (v / VECTORS * inputs + k) * PANEL + v % VECTORS * LANES);
        if (tokens >= MANY)
            UNROLLED for (int p = 0; p < panels; p++)
                __builtin_prefetch(next + (size_t)p * size + k * row, 0, 2);
        UNROLLED for (int t = 0; t < tokens; t++) {
            floats input = all(x[t * inputs + k]);
            UNROLLED for (int v = 0; v < panels * VECTORS; v++) {
                floats *sum = &sums[t * panels * VECTORS + v];
                *sum = fused(input, weights[v], *sum);
            }
        }
    }
    UNROLLED for (int i = 0; i < tokens * panels * VECTORS; i++)
        store(out + i * LANES, sums[i]);
}

/* A function for each shape: in one of them all, the compiler would run out of registers. */
typedef void one_tile(const float *x, const void *matrix, size_t inputs, float *sums);
#define TILE_OF(halves, tokens, panels)                                                           \
    FAST static __attribute__((noinline)) void tile_##halves##_##tokens##_##panels(               \
        const float *x, const void *matrix, size_t inputs, float *sums)                           \
    {                                                                                             \
        tile(halves, tokens, panels, x, matrix, inputs, sums);                                    \
    }
#define TILE(tokens, panels) TILE_OF(0, tokens, panels) TILE_OF(1, tokens, panels)
SHAPES(TILE)

/* By halves, tokens and panels. */
#define WHOLE(tokens, panels) [tokens][panels] = tile_0_##tokens##_##panels,
#define HALF(tokens, panels) [tokens][panels] = tile_1_##tokens##_##panels,
static one_tile *const tiles[2][TOKENS + 1][PANELS + 1] = {{SHAPES(WHOLE)}, {SHAPES(HALF)}};

/* How many of the tokens that are left go together: 9 are 5 and 4, not 8 and 1. */
static size_t together(size_t left)
{
    size_t parts = (left + TOKENS - 1) / TOKENS;
    return parts ? (left + parts - 1) / parts : 0;
}

/* What becomes of the sums of some columns. */
INLINE void finish_some(const struct product *job, size_t token, size_t column, floats y)
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

FAST static void finish(const struct product *job, size_t token, size_t tokens, size_t panel,
                        size_t panels, const float *sums)
{
    for (size_t t = token; t < token + tokens; t++)
        for (size_t column = panel * PANEL; column < (panel + panels) * PANEL; column += LANES) {
            finish_some(job, t, column, load(sums));
            sums += LANES;
        }
}

static void some_panels(const void *work, size_t begin, size_t end)
{
    const struct product *job = work;
    const size_t size = job->inputs * PANEL * (job->halves ? sizeof(uint16_t) : sizeof(float));
    const size_t most = panels_for[together(job->tokens)];
    float sums[SUMS * PANEL];
    for (size_t panel = begin, panels; panel < end; panel += panels) { /* cached for all tokens */
        const char *matrix = (const char *)job->panels + panel * size;
        panels = end - panel < most ? 1 : most;
        for (size_t token = 0, tokens; token < job->tokens; token += tokens) {
            tokens = together(job->tokens - token);
            tiles[job->halves][tokens][panels](job->x + token * job->inputs, matrix, job->inputs,
                                               sums);
            finish(job, token, tokens, panel, panels, sums);
        }
    }
}

static void multiply(const struct product *job)
{
    size_t panels = (job->units + PANEL - 1) / PANEL;
    int worth = job->tokens * job->inputs * job->units >= WORTH;
    spread(some_panels, job, panels, panels >= 8 * COARSE ? COARSE : GRAIN, worth);
}

/* Columns into panels, zeros after the last one; whether every number is still the same. */
FAST static int pack(const struct packing *job)
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
    return !bits_of(changed);
}
