/* Logarithm and exponential in double precision, with the same bits on every platform.
 *
 * Those of C libraries differ in the last bit, and filters compare what they return. These are made
 * of operations that IEEE 754 defines: results are within 0.55 (ln) and 0.65 (e_to) units in the
 * last place.
 */
#ifndef CORELM_ELEMENTARY_H
#define CORELM_ELEMENTARY_H

#include "vec.h"

static const double LN_2 = 0x1.62e42fefa38p-1; /* the first 42 bits: a multiple by 2^11 is exact */
static const double LN_2_REST = 0x1.ef35793c7673p-45;

/* ln(x + rest) for a rest of less than half a unit in the last place of x: of (x + rest) / 2^k
 * near 1, 2 artanh(s) with s = f / (2 + f). The larger parts are kept as two numbers each. */
INLINE double ln_of_two(double x, double rest)
{
    if (!(x > 0 && x < INFINITY))
        return x == 0 ? -INFINITY : x > 0 ? x : NAN;
    int k;
    double m = frexp(x, &k);
    if (m < 0.70710678118654752)
        m *= 2, k -= 1;
    double scaled = ldexp(rest, -k), f = (m - 1) + scaled, f_rest = (m - 1) - f + scaled;
    double below = 2 + f, below_rest = 2 - below + f + f_rest;
    double s = f / below;
    double s_rest = (__builtin_fma(-s, below, f) + f_rest - s * below_rest) / below;
    static const double odd[] = {1.0 / 3, 1.0 / 5, 1.0 / 7, 1.0 / 9, 1.0 / 11, 1.0 / 13, 1.0 / 15,
                                 1.0 / 17, 1.0 / 19, 1.0 / 21};
    double z = s * s, series = 0;
    UNROLLED for (int i = sizeof odd / sizeof *odd - 1; i >= 0; i--)
        series = __builtin_fma(series, z, odd[i]);
    double high = k * LN_2, sum = high + 2 * s; /* the first is larger, or 0 */
    double low = (high - sum + 2 * s) + (2 * s_rest + 2 * s * z * series + k * LN_2_REST);
    return sum + low;
}

INLINE double ln(double x) { return ln_of_two(x, 0); }

/* ln(1 + x), without rounding 1 + x. */
INLINE double ln_1p(double x)
{
    double sum = 1 + x, part = sum - 1;
    return ln_of_two(sum, isfinite(sum) ? (1 - (sum - part)) + (x - part) : 0);
}

/* The Taylor series of e^x: of x^2 and what is after it, without this factor. */
static const double SERIES[] = {1.0 / 2,       1.0 / 6,        1.0 / 24,        1.0 / 120,
                                1.0 / 720,     1.0 / 5040,     1.0 / 40320,     1.0 / 362880,
                                1.0 / 3628800, 1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800};
enum { TERMS = sizeof SERIES / sizeof *SERIES };
static const double LOG2_E = 1.4426950408889634;
static const double WHOLE = 0x1.8p52; /* adding it rounds to a whole number */

INLINE doubles four_of(double x) { return (doubles){x, x, x, x}; }

/* `e_to` of four numbers from -700 to 700. */
INLINE doubles four_e_to(doubles x)
{
    doubles shifted = x * four_of(LOG2_E) + four_of(WHOLE), k = shifted - four_of(WHOLE);
    doubles r = fmadd_doubles(-k, four_of(LN_2), x), rest = -k * four_of(LN_2_REST);
    doubles series = {0};
    UNROLLED for (int i = TERMS - 1; i >= 0; i--)
        series = fmadd_doubles(series, r, four_of(SERIES[i]));
    doubles sum = four_of(1) + r, low = (four_of(1) - sum + r) + r * r * series;
    doubles power = sum + fmadd_doubles(rest, sum + low, low);
    return (doubles)((longs)power + ((longs)shifted << 52)); /* k is in the lowest bits */
}

/* e to the power of x = k ln 2 + r. */
INLINE double e_to(double x)
{
    if (!(x > -746 && x < 710))
        return x >= 710 ? INFINITY : x <= -746 ? 0 : x;
    double k = (x * LOG2_E + WHOLE) - WHOLE;
    double r = __builtin_fma(-k, LN_2, x), rest = -k * LN_2_REST, series = 0;
    UNROLLED for (int i = TERMS - 1; i >= 0; i--)
        series = __builtin_fma(series, r, SERIES[i]);
    double sum = 1 + r, low = (1 - sum + r) + r * r * series;
    double power = sum + __builtin_fma(rest, sum + low, low);
    if (k < -1000) /* the result may be subnormal, and is rounded again */
        return ldexp(power, (int)k);
    union { double value; uint64_t bits; } scaled = {power};
    scaled.bits += (uint64_t)(int64_t)k << 52;
    return scaled.value;
}

#endif
