/* x @ matrix + bias, each output the same to the last bit in whatever company it is computed.
 *
 * Every output is one chain of fused multiplications and additions over the inputs in their order.
 * How many tokens and columns are worked on together changes nothing but the speed. A matrix whose
 * numbers all have half precision is kept so: for few tokens the time is that of reading it.
 */
#include "kernels.h"
#include "simd.h"
#include "threads.h"

enum { TOKENS = 8, PANELS = 8, SUMS = 16 }; /* of a tile, at most */
enum { MANY = 4 };                    /* tokens that take longer to multiply than the panels to read */
static const size_t GRAIN = 8;        /* panels that a core takes at a time */
static const size_t WORTH = 1 << 17;  /* multiplications that are worth another core */

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

/* (tokens, inputs) and panels that follow each other to sums, (tokens, panels, PANEL) */
typedef void one_tile(const float *x, const void *matrix, size_t inputs, float *sums);

/* Eight floats at a time: 16 registers leave room for 12 sums. */
#define AS(name) name##_of_8
#define WIDE floats
#define TARGET FAST
#define SHAPES(SHAPE)                                                                             \
    SHAPE(1, 1) SHAPE(2, 1) SHAPE(3, 1) SHAPE(4, 1) SHAPE(5, 1) SHAPE(6, 1)                       \
    SHAPE(1, 4) SHAPE(2, 3) SHAPE(3, 2)
#define load_halves_of_8 load_halves
#define all_of_8 all
#define fused_of_8 fused
#include "tiles.h"

#if defined(__x86_64__) /* sixteen at a time, which takes AVX-512: 32 registers */
typedef float sixteen __attribute__((vector_size(64)));
#define WIDER __attribute__((target("avx512f,avx2,fma,f16c")))
#define WIDER_INLINE WIDER static inline __attribute__((always_inline))
WIDER_INLINE sixteen load_halves_of_16(const uint16_t *from)
{
    return (sixteen)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)from));
}

WIDER_INLINE sixteen all_of_16(float x) { return (sixteen)_mm512_set1_ps(x); }

WIDER_INLINE sixteen fused_of_16(sixteen a, sixteen b, sixteen c)
{
    return (sixteen)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}

#define AS(name) name##_of_16
#define WIDE sixteen
#define TARGET WIDER
#define SHAPES(SHAPE)                                                                             \
    SHAPE(1, 1) SHAPE(2, 1) SHAPE(3, 1) SHAPE(4, 1) SHAPE(5, 1) SHAPE(6, 1) SHAPE(7, 1)           \
    SHAPE(8, 1) SHAPE(1, 8) SHAPE(2, 4) SHAPE(3, 4) SHAPE(4, 2) SHAPE(5, 2) SHAPE(6, 2)           \
    SHAPE(7, 2) SHAPE(8, 2)
#include "tiles.h"
#endif

/* How products are done with vectors of one width. */
struct way {
    size_t tokens, panels[TOKENS + 1]; /* of a tile: the most, and how many for so many tokens */
    one_tile *const (*tiles)[TOKENS + 1][PANELS + 1]; /* by halves, tokens and panels */
};
static const struct way ways[] = {
    {6, {0, 4, 3, 2, 1, 1, 1}, tiles_of_8},
#if defined(__x86_64__)
    {8, {0, 8, 4, 4, 2, 2, 2, 2, 2}, tiles_of_16},
#endif
};
static const struct way *way = ways;

int use_lanes(int lanes)
{
#if defined(__x86_64__)
    if (lanes == 2 * LANES && __builtin_cpu_supports("avx512f")) {
        way = ways + 1;
        return lanes;
    }
#endif
    way = ways;
    return LANES;
}

/* How many of the tokens that are left go together: 8 are 4 and 4, not 6 and 2. */
static size_t together(size_t left)
{
    size_t tiles = (left + way->tokens - 1) / way->tokens;
    return (left + tiles - 1) / tiles;
}

/* What becomes of the sums of eight columns. */
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
    size_t most = job->tokens ? way->panels[together(job->tokens)] : 1;
    float sums[SUMS * PANEL];
    for (size_t panel = begin, panels; panel < end; panel += panels) { /* cached for all tokens */
        const char *matrix = (const char *)job->panels + panel * size;
        panels = end - panel < most ? 1 : most;
        for (size_t token = 0, tokens; token < job->tokens; token += tokens) {
            tokens = together(job->tokens - token);
            way->tiles[job->halves][tokens][panels](job->x + token * job->inputs, matrix,
                                                    job->inputs, sums);
            finish(job, token, tokens, panel, panels, sums);
        }
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
