/* x @ matrix + bias.
 *
 * Every output is one chain of fused multiply-adds over the inputs in their order (README.md, "One
 * chain per output"). How many tokens and columns are computed together changes the speed alone. A
 * matrix whose weights all have half-precision values is stored in half precision: for a few tokens
 * reading it takes all the time.
 */
#include "../kernels.h"
#include "../pool.h"
#include "vec.h"

#define VECTORS (PANEL / LANES)
enum { PREFETCH_TOKENS = 4 };    /* from here on, multiplying takes longer than reading panels */
static const size_t GRAIN = 8;   /* panels that a core takes at a time */
static const size_t COARSE = 32; /* of a large matrix: fewer panels are prefetched twice */
static const size_t MIN_PARALLEL_MULTIPLY = 1 << 17; /* multiplications */

/* The tiles: all pairs of tokens and panels that are computed together, and the number of panels
 * for each number of tokens. 12 of AVX2's 16 registers hold sums; AVX-512 has 32, which is enough. */
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

INLINE floats load_weights(const int half_precision, const void *panels, size_t index)
{
    if (half_precision)
        return load_halves((const uint16_t *)panels + index);
    return load((const float *)panels + index);
}

/* y / (1 + exp(-z)), z = 2 sqrt(2 / pi) (y + 0.044715 y^3): Hendrycks and Gimpel 2016 */
INLINE floats gelu(floats y)
{
    floats z = y * fmadd(splat(0.0713548163f) * y, y, splat(1.5957691216f));
    floats magnitude = max(z, -z), power = exp_nonpositive(-magnitude);
    floats share = splat(1.0f) / (splat(1.0f) + power);
    ints positive = z >= splat(0.0f);
    return y * (floats)((positive & (ints)share) | (~positive & (ints)(power * share)));
}

INLINE floats activate(enum activation activation, floats y)
{
    if (activation == LINEAR)
        return y;
    if (activation == GELU)
        return gelu(y);
    y = max(y, splat(0.0f));
    return activation == RELU ? y : y * y;
}

/* The sums of some tokens (tokens, inputs) and some consecutive panels, as (tokens, panels, PANEL).
 * The compiler knows both numbers and keeps the sums in registers. While many tokens are multiplied
 * there is time to prefetch the next panels into the second-level cache; a few tokens only wait for
 * memory anyway. */
INLINE void multiply_tile(const int half_precision, const int tokens, const int panels,
                          const float *x, const void *matrix, size_t inputs, float *out)
{
    const size_t row = PANEL * (half_precision ? sizeof(uint16_t) : sizeof(float));
    const size_t size = inputs * row;
    const char *next = (const char *)matrix + (size_t)panels * size;
    floats sums[SUMS];
    UNROLLED for (int i = 0; i < tokens * panels * VECTORS; i++)
        sums[i] = splat(0.0f);
    for (size_t k = 0; k < inputs; k++) {
        floats weights[PANELS * VECTORS];
        UNROLLED for (int v = 0; v < panels * VECTORS; v++)
            weights[v] =
                load_weights(half_precision, matrix,
                             ((size_t)(v / VECTORS) * inputs + k) * PANEL +
                                 (size_t)(v % VECTORS) * LANES);
        if (tokens >= PREFETCH_TOKENS)
            UNROLLED for (int p = 0; p < panels; p++)
                __builtin_prefetch(next + (size_t)p * size + k * row, 0, 2);
        UNROLLED for (int t = 0; t < tokens; t++) {
            floats input = splat(x[(size_t)t * inputs + k]);
            UNROLLED for (int v = 0; v < panels * VECTORS; v++) {
                floats *sum = &sums[t * panels * VECTORS + v];
                *sum = fmadd(input, weights[v], *sum);
            }
        }
    }
    UNROLLED for (int i = 0; i < tokens * panels * VECTORS; i++)
        store(out + i * LANES, sums[i]);
}

/* The same of one token and weights in half precision, in vectors of eight with AVX-512 too: to
 * join them would take as long as to convert them. */
INLINE void multiply_halves(const int panels, const float *x, const uint16_t *matrix,
                            size_t inputs, float *out)
{
    enum { EIGHTS_OF_PANEL = PANEL / 8 };
    eight sums[PANELS * EIGHTS_OF_PANEL];
    UNROLLED for (int v = 0; v < panels * EIGHTS_OF_PANEL; v++)
        sums[v] = (eight){0};
    for (size_t k = 0; k < inputs; k++) {
        eight input = splat_eight(x[k]);
        UNROLLED for (int v = 0; v < panels * EIGHTS_OF_PANEL; v++) {
            size_t index = ((size_t)(v / EIGHTS_OF_PANEL) * inputs + k) * PANEL +
                           (size_t)(v % EIGHTS_OF_PANEL) * 8;
            sums[v] = fmadd_eight(input, load_eight_halves(matrix + index), sums[v]);
        }
    }
    UNROLLED for (int v = 0; v < panels * EIGHTS_OF_PANEL; v++)
        store_eight(out + v * 8, sums[v]);
}

/* One function for each shape: all in one, the compiler would run out of registers. */
typedef void tile_function(const float *x, const void *matrix, size_t inputs, float *sums);
#define TILE_OF(half_precision, tokens, panels)                                                   \
    TARGET static __attribute__((noinline)) void tile_##half_precision##_##tokens##_##panels(     \
        const float *x, const void *matrix, size_t inputs, float *sums)                           \
    {                                                                                             \
        if (half_precision && tokens == 1)                                                        \
            multiply_halves(panels, x, matrix, inputs, sums);                                     \
        else                                                                                      \
            multiply_tile(half_precision, tokens, panels, x, matrix, inputs, sums);               \
    }
#define TILE(tokens, panels) TILE_OF(0, tokens, panels) TILE_OF(1, tokens, panels)
SHAPES(TILE)

/* By half precision or not, tokens, panels. */
#define SINGLE(tokens, panels) [tokens][panels] = tile_0_##tokens##_##panels,
#define HALF(tokens, panels) [tokens][panels] = tile_1_##tokens##_##panels,
static tile_function *const tiles[2][TOKENS + 1][PANELS + 1] = {{SHAPES(SINGLE)}, {SHAPES(HALF)}};

/* How many of the remaining tokens make the next tile: 9 are 5 and 4, not 8 and 1. */
static size_t tile_tokens(size_t left)
{
    size_t tiles_left = (left + TOKENS - 1) / TOKENS;
    return tiles_left ? (left + tiles_left - 1) / tiles_left : 0;
}

/* Bias, activation and addition for one vector of sums. */
INLINE void finish_vector(const struct multiply_args *args, size_t token, size_t column, floats y)
{
    size_t index = token * args->units + column;
    if (column + LANES <= args->units) {
        if (args->bias)
            y += load(args->bias + column);
        y = activate(args->activation, y);
        store(args->out + index, args->add ? y + load(args->add + index) : y);
    } else if (column < args->units) {
        size_t left = args->units - column;
        if (args->bias)
            y += load_partial(args->bias + column, left, 0.0f);
        y = activate(args->activation, y);
        store_partial(args->out + index, left,
                      args->add ? y + load_partial(args->add + index, left, 0.0f) : y);
    }
}

TARGET static void finish_tile(const struct multiply_args *args, size_t token, size_t tokens,
                               size_t panel, size_t panels, const float *sums)
{
    for (size_t t = token; t < token + tokens; t++)
        for (size_t column = panel * PANEL; column < (panel + panels) * PANEL; column += LANES) {
            finish_vector(args, t, column, load(sums));
            sums += LANES;
        }
}

/* Prefetch the places of a tile's results, which then arrive while it is computed. Those of one
 * tile of tokens are few, and mostly in a cache. */
INLINE void prefetch_places(const struct multiply_args *args, size_t token, size_t tokens,
                            size_t panel, size_t panels)
{
    if (args->tokens <= TOKENS)
        return;
    for (size_t t = token; t < token + tokens; t++)
        for (size_t p = panel; p < panel + panels; p++)
            __builtin_prefetch(args->out + t * args->units + p * PANEL, 0, 3);
}

/* Multiply all tokens with some panels. A few panels are read for all tokens before the next ones,
 * so that they stay in the cache. */
TARGET static void multiply_panels(const void *work, size_t begin, size_t end)
{
    const struct multiply_args *args = work;
    const size_t weight = args->half_precision ? sizeof(uint16_t) : sizeof(float);
    const size_t size = args->inputs * PANEL * weight;
    const size_t most = panels_for[tile_tokens(args->tokens)];
    float sums[SUMS * PANEL];
    for (size_t panel = begin, panels; panel < end; panel += panels) {
        const char *matrix = (const char *)args->panels + panel * size;
        panels = end - panel < most ? 1 : most;
        for (size_t token = 0, tokens; token < args->tokens; token += tokens) {
            tokens = tile_tokens(args->tokens - token);
            prefetch_places(args, token, tokens, panel, panels);
            tiles[args->half_precision][tokens][panels](args->x + token * args->inputs, matrix,
                                                        args->inputs, sums);
            finish_tile(args, token, tokens, panel, panels, sums);
        }
    }
}

static enum status multiply(const struct multiply_args *args)
{
    size_t panels = (args->units + PANEL - 1) / PANEL;
    int parallel = args->tokens * args->inputs * args->units >= MIN_PARALLEL_MULTIPLY;
    parallel_for(multiply_panels, args, panels, panels >= 8 * COARSE ? COARSE : GRAIN, parallel);
    return OK;
}

/* One vector of a panel: the weights of one input, with zeros after the last unit. */
INLINE floats gather_weights(const struct pack_args *args, size_t input, size_t unit)
{
    float weights[LANES] = {0};
    for (size_t lane = 0; lane < LANES && unit + lane < args->units; lane++) {
        ptrdiff_t index = (ptrdiff_t)input * args->input_stride +
                          (ptrdiff_t)(unit + lane) * args->unit_stride;
        weights[lane] = args->halves_in ? half_value(((const uint16_t *)args->matrix)[index])
                                        : ((const float *)args->matrix)[index];
    }
    return load(weights);
}

/* One panel; 0 if half precision changes a weight. */
TARGET static int pack_panel(const struct pack_args *args, size_t panel)
{
    ints changed = {0};
    for (size_t k = 0; k < args->inputs; k++)
        for (size_t v = 0; v < PANEL; v += LANES) {
            size_t index = (panel * args->inputs + k) * PANEL + v;
            floats x = gather_weights(args, k, panel * PANEL + v);
            if (args->halves_out) {
                uint16_t *to = (uint16_t *)args->panels + index;
                store_halves(to, x);
                changed |= load_halves(to) != x;
            } else {
                store((float *)args->panels + index, x);
            }
        }
    return !movemask(changed);
}

/* Copy a number of the units of a panel, for every input; zeros for the rest. */
INLINE void copy_units(const struct pack_args *args, const uint16_t *from, uint16_t *to,
                       const size_t units)
{
    for (size_t k = 0; k < args->inputs; k++, from += args->input_stride, to += PANEL)
        for (size_t i = 0; i < PANEL; i++)
            to[i] = i < units ? from[(ptrdiff_t)i * args->unit_stride] : 0;
}

/* Copy panels from half precision to half precision. */
TARGET static void copy_panels(const void *job, size_t begin, size_t end)
{
    const struct pack_args *args = job;
    for (size_t panel = begin; panel < end; panel++) {
        const uint16_t *from = (const uint16_t *)args->matrix +
                               (ptrdiff_t)(panel * PANEL) * args->unit_stride;
        uint16_t *to = (uint16_t *)args->panels + panel * args->inputs * PANEL;
        const size_t left = args->units - panel * PANEL;
        if (left < PANEL)
            copy_units(args, from, to, left);
        else /* the compiler knows the number, and unrolls the loop */
            copy_units(args, from, to, PANEL);
    }
}

/* Store a matrix as panels. INVALID if half precision changes a weight, or if the processor has
 * none; the panels after that are left as they are. */
static enum status pack(const struct pack_args *args)
{
    size_t panels = (args->units + PANEL - 1) / PANEL;
    if (args->halves_out && !HAS_HALF_PRECISION)
        return INVALID;
    if (args->halves_in && args->halves_out) {
        int parallel = args->inputs * args->units >= MIN_PARALLEL_MULTIPLY;
        parallel_for(copy_panels, args, panels, GRAIN, parallel);
        return OK;
    }
    for (size_t panel = 0; panel < panels; panel++)
        if (!pack_panel(args, panel))
            return INVALID;
    return OK;
}
