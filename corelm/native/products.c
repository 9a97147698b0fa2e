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

/* Some tokens and some panels, both known to the compiler, which keeps the sums in registers. */
INLINE void tile(const int halves, const int tokens, const int panels, const struct product *job,
                 size_t token, size_t panel)
{
    const size_t inputs = job->inputs;
    const float *x = job->x + token * inputs;
    floats sums[SUMS];
    UNROLLED for (int i = 0; i < tokens * panels * VECTORS; i++)
        sums[i] = all(0.0f);
    for (size_t k = 0; k < inputs; k++) {
        floats weights[VECTORS * 4];
        UNROLLED for (int v = 0; v < panels * VECTORS; v++)
            weights[v] = weights_at(halves, job->panels,
                                    ((panel + v / VECTORS) * inputs + k) * PANEL +
                                        v % VECTORS * LANES);
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

/* One token alone needs more columns, or it would wait for each sum. */
INLINE void few(const int halves, const int tokens, const int panels, const struct product *job,
                size_t token, size_t begin, size_t end)
{
    size_t panel = begin;
    for (; panel + panels <= end; panel += panels)
        tile(halves, tokens, panels, job, token, panel);
    for (; panel < end; panel++)
        tile(halves, tokens, 1, job, token, panel);
}

INLINE void panels_of(const int halves, const struct product *job, size_t begin, size_t end)
{
    size_t token = 0;
    if (job->tokens >= TOKENS) {
        for (size_t panel = begin; panel < end; panel++) /* stays cached for all tokens */
            for (token = 0; token + TOKENS <= job->tokens; token += TOKENS)
                tile(halves, TOKENS, 1, job, token, panel);
        token = job->tokens - job->tokens % TOKENS;
    }
    switch (job->tokens - token) {
    case 5: few(halves, 5, 1, job, token, begin, end); break;
    case 4: few(halves, 4, 1, job, token, begin, end); break;
    case 3: few(halves, 3, 2, job, token, begin, end); break;
    case 2: few(halves, 2, 3, job, token, begin, end); break;
    case 1: few(halves, 1, 4, job, token, begin, end); break;
    }
}

FAST static void panels_of_floats(const void *job, size_t begin, size_t end)
{
    panels_of(0, job, begin, end);
}

FAST static void panels_of_halves(const void *job, size_t begin, size_t end)
{
    panels_of(1, job, begin, end);
}

void multiply(const struct product *job)
{
    size_t panels = (job->units + PANEL - 1) / PANEL;
    int worth = job->tokens * job->inputs * job->units >= WORTH;
    spread(job->halves ? panels_of_halves : panels_of_floats, job, panels, GRAIN, worth);
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
