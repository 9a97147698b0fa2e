/* Products of some tokens with some panels of a matrix, once for each width of vectors.
 *
 * `products.c` includes this with WIDE, the vectors; AS(name), the name of what belongs to them;
 * TARGET, the processors that have them; and SHAPES, all pairs of tokens and panels.
 */
#define WIDTH (sizeof(WIDE) / sizeof(float))
#define VECTORS (PANEL / WIDTH)

typedef WIDE AS(anywhere) __attribute__((aligned(4), may_alias));

TARGET static inline __attribute__((always_inline)) WIDE
AS(weights)(const int halves, const void *panels, size_t place)
{
    if (halves)
        return AS(load_halves)((const uint16_t *)panels + place);
    return *(const AS(anywhere) *)((const float *)panels + place);
}

/* The sums of some tokens and some panels, (tokens, panels, PANEL). How many is known to the
 * compiler, which keeps them in registers. Many tokens take their time, in which the next panels are
 * fetched: all of them are in the second cache before they are wanted. A few only wait for memory
 * as it is. */
TARGET static inline __attribute__((always_inline)) void
AS(tile)(const int halves, const int tokens, const int panels, const float *x, const void *matrix,
         size_t inputs, float *out)
{
    const size_t row = PANEL * (halves ? sizeof(uint16_t) : sizeof(float)), size = inputs * row;
    const char *next = (const char *)matrix + (size_t)panels * size;
    WIDE sums[SUMS];
    UNROLLED for (int i = 0; i < tokens * panels * (int)VECTORS; i++)
        sums[i] = (WIDE){0};
    for (size_t k = 0; k < inputs; k++) {
        WIDE weights[PANELS * VECTORS];
        UNROLLED for (int v = 0; v < panels * (int)VECTORS; v++)
            weights[v] = AS(weights)(halves, matrix,
                                     (v / VECTORS * inputs + k) * PANEL + v % VECTORS * WIDTH);
        if (tokens >= MANY)
            UNROLLED for (int p = 0; p < panels; p++)
                __builtin_prefetch(next + (size_t)p * size + k * row, 0, 2);
        UNROLLED for (int t = 0; t < tokens; t++) {
            WIDE input = AS(all)(x[t * inputs + k]);
            UNROLLED for (int v = 0; v < panels * (int)VECTORS; v++) {
                WIDE *sum = &sums[t * panels * VECTORS + v];
                *sum = AS(fused)(input, weights[v], *sum);
            }
        }
    }
    UNROLLED for (int i = 0; i < tokens * panels * (int)VECTORS; i++)
        *(AS(anywhere) *)(out + i * WIDTH) = sums[i];
}

/* A function for each shape: in one of them all, the compiler would run out of registers. */
#define TILE_OF(halves, tokens, panels)                                                           \
    TARGET static __attribute__((noinline)) void AS(tile_##halves##_##tokens##_##panels)(         \
        const float *x, const void *matrix, size_t inputs, float *sums)                           \
    {                                                                                             \
        AS(tile)(halves, tokens, panels, x, matrix, inputs, sums);                                \
    }
#define TILE(tokens, panels) TILE_OF(0, tokens, panels) TILE_OF(1, tokens, panels)
#define WHOLE(tokens, panels) [tokens][panels] = AS(tile_0_##tokens##_##panels),
#define HALF(tokens, panels) [tokens][panels] = AS(tile_1_##tokens##_##panels),
SHAPES(TILE)
static one_tile *const AS(tiles)[2][TOKENS + 1][PANELS + 1] = {{SHAPES(WHOLE)}, {SHAPES(HALF)}};

#undef WIDTH
#undef VECTORS
#undef TILE_OF
#undef TILE
#undef WHOLE
#undef HALF
#undef WIDE
#undef AS
#undef TARGET
#undef SHAPES
