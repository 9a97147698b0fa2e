/* What the kernels are made of: so many floats at a time, and their exponentials.
 *
 * All of this folder is compiled once for each number of LANES: 8, which GCC's and Clang's vector
 * extensions make AVX2 on x86-64 and NEON on arm64, and 16 for AVX-512. Functions marked FAST need a
 * processor that has what they are compiled for; `kernels.c` asks for one. What comes out is the
 * same to the last bit: sums are those of sixteen lanes, of which eight at a time make two PARTS.
 */
#ifndef CORELM_SIMD_H
#define CORELM_SIMD_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

#if LANES == 16
#include <immintrin.h>
#define FAST __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")))
#elif defined(__x86_64__)
#include <immintrin.h>
#define FAST __attribute__((target("avx2,fma,f16c")))
#else
#define FAST
#endif
#define INLINE FAST static inline __attribute__((always_inline))

/* A loop whose length the compiler knows, so that what it counts over stays in registers. */
#if defined(__clang__)
#define UNROLLED _Pragma("clang loop unroll(full)")
#else
#define UNROLLED _Pragma("GCC unroll 16")
#endif

enum { SIXTEEN = 16, FOUR = 4, PARTS = SIXTEEN / LANES, EIGHTS = LANES / 8 };
#define EACH_PART(v) UNROLLED for (int v = 0; v < PARTS; v++)

typedef float floats __attribute__((vector_size(4 * LANES)));
typedef int32_t ints __attribute__((vector_size(4 * LANES)));
typedef float anywhere __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef float eight __attribute__((vector_size(32)));
typedef float four __attribute__((vector_size(16)));
typedef double doubles __attribute__((vector_size(32))); /* four */
typedef double doubles_anywhere __attribute__((vector_size(32), aligned(8), may_alias));
typedef int64_t longs __attribute__((vector_size(32)));

INLINE floats load(const float *from) { return *(const anywhere *)from; }

INLINE doubles load_doubles(const double *from) { return *(const doubles_anywhere *)from; }

INLINE void store(float *to, floats x) { *(anywhere *)to = x; }

/* ---- what differs: sixteen lanes, eight on x86-64, eight elsewhere ---- */

#if LANES == 16

INLINE floats all(float x) { return (floats)_mm512_set1_ps(x); }

/* a * b + c, rounded once. Left to the compiler, which weighs it for each loop, it would be now and
 * then rounded twice, and what is the same in one loop and another would not be to the last bit. */
INLINE floats fused(floats a, floats b, floats c)
{
    return (floats)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}

/* a where it is larger, b elsewhere, also where one of them is nan */
INLINE floats larger(floats a, floats b) { return (floats)_mm512_max_ps((__m512)a, (__m512)b); }

/* A bit for each lane in which something holds. */
INLINE unsigned bits_of(ints where) { return (unsigned)_mm512_movepi32_mask((__m512i)where); }

INLINE float largest_of(floats x) { return _mm512_reduce_max_ps((__m512)x); }

/* The lanes at which a bit is set, one after the other. */
INLINE floats squeezed(floats x, unsigned bits)
{
    return (floats)_mm512_maskz_compress_ps((__mmask16)bits, (__m512)x);
}

/* Of eight floats, for each lane the one at a place: the lowest three bits say which. */
INLINE floats looked_up(const float *from, ints places)
{
    __m512 twice = _mm512_broadcast_f32x8(_mm256_loadu_ps(from));
    return (floats)_mm512_permutexvar_ps((__m512i)places, twice);
}

/* The first count of the lanes, and `other` after them. */
INLINE floats load_some(const float *from, size_t count, float other)
{
    return (floats)_mm512_mask_loadu_ps((__m512)all(other), (__mmask16)((1u << count) - 1), from);
}

INLINE void store_some(float *to, size_t count, floats x)
{
    _mm512_mask_storeu_ps(to, (__mmask16)((1u << count) - 1), (__m512)x);
}

INLINE eight eight_of(floats x, int second)
{
    __m512 all = (__m512)x;
    return (eight)(second ? _mm512_extractf32x8_ps(all, 1) : _mm512_castps512_ps256(all));
}

/* Sums of sixteen lanes as eight. */
INLINE eight folded(const floats *parts) { return eight_of(parts[0], 0) + eight_of(parts[0], 1); }

/* Numbers of half precision, exact in single precision; only where the processor converts them. */
enum { HALVES = 1 };
INLINE floats load_halves(const uint16_t *from)
{
    return (floats)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)from));
}

INLINE void store_halves(uint16_t *to, floats x)
{
    _mm256_storeu_si256((__m256i *)to, _mm512_cvtps_ph((__m512)x, _MM_FROUND_TO_NEAREST_INT));
}

static void prepare_lanes(void) {}

#else

INLINE floats all(float x) { return (floats){x, x, x, x, x, x, x, x}; }

INLINE eight eight_of(floats x, int second)
{
    (void)second;
    return x;
}

INLINE eight folded(const floats *parts) { return parts[0] + parts[1]; }

INLINE floats load_some(const float *from, size_t count, float other)
{
    float padded[LANES];
    for (size_t i = 0; i < LANES; i++)
        padded[i] = i < count ? from[i] : other;
    return load(padded);
}

INLINE void store_some(float *to, size_t count, floats x)
{
    for (size_t i = 0; i < count; i++)
        to[i] = x[i];
}

/* The lanes that have a bit set, one after the other, for each set of bits. */
static uint8_t orders[1 << LANES][LANES];

static void prepare_lanes(void)
{
    for (unsigned bits = 0; bits < 1 << LANES; bits++)
        for (unsigned lane = 0, found = 0; lane < LANES; lane++)
            if (bits >> lane & 1)
                orders[bits][found++] = (uint8_t)lane;
}

#if defined(__x86_64__)

INLINE floats fused(floats a, floats b, floats c)
{
    return (floats)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}

INLINE floats larger(floats a, floats b) { return (floats)_mm256_max_ps((__m256)a, (__m256)b); }

INLINE unsigned bits_of(ints where) { return (unsigned)_mm256_movemask_ps((__m256)where); }

INLINE floats looked_up(const float *from, ints places)
{
    return (floats)_mm256_permutevar8x32_ps((__m256)load(from), (__m256i)places);
}

INLINE floats squeezed(floats x, unsigned bits)
{
    __m256i order = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)orders[bits]));
    return (floats)_mm256_permutevar8x32_ps((__m256)x, order);
}

enum { HALVES = 1 };
INLINE floats load_halves(const uint16_t *from)
{
    return (floats)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)from));
}

INLINE void store_halves(uint16_t *to, floats x)
{
    _mm_storeu_si128((__m128i *)to, _mm256_cvtps_ph((__m256)x, _MM_FROUND_TO_NEAREST_INT));
}

#else

INLINE floats fused(floats a, floats b, floats c) { return a * b + c; }

INLINE floats larger(floats a, floats b)
{
    ints where = a > b;
    return (floats)((where & (ints)a) | (~where & (ints)b));
}

INLINE unsigned bits_of(ints where)
{
    unsigned bits = 0;
    for (int lane = 0; lane < LANES; lane++)
        bits |= (unsigned)(where[lane] & 1) << lane;
    return bits;
}

INLINE floats looked_up(const float *from, ints places)
{
    floats found;
    for (int lane = 0; lane < LANES; lane++)
        found[lane] = from[places[lane] & 7];
    return found;
}

INLINE floats squeezed(floats x, unsigned bits)
{
    floats found;
    for (int lane = 0; lane < LANES; lane++)
        found[lane] = x[orders[bits][lane]];
    return found;
}

enum { HALVES = 0 };
INLINE floats load_halves(const uint16_t *from) { return (floats){(float)*from}; }
INLINE void store_halves(uint16_t *to, floats x) { *to = (uint16_t)x[0]; }

#endif

INLINE float largest_of(floats x)
{
    float most = x[0];
    for (int i = 1; i < LANES; i++)
        most = x[i] > most ? x[i] : most;
    return most;
}

#endif

/* Eight floats as doubles, the first four and the last four. */
#if defined(__x86_64__) /* GCC converts two at a time */
INLINE doubles low_of(eight x)
{
    return (doubles)_mm256_cvtps_pd(_mm256_castps256_ps128((__m256)x));
}

INLINE doubles high_of(eight x)
{
    return (doubles)_mm256_cvtps_pd(_mm256_extractf128_ps((__m256)x, 1));
}
#else
INLINE doubles low_of(eight x)
{
    four low = __builtin_shufflevector(x, x, 0, 1, 2, 3);
    return __builtin_convertvector(low, doubles);
}

INLINE doubles high_of(eight x)
{
    four high = __builtin_shufflevector(x, x, 4, 5, 6, 7);
    return __builtin_convertvector(high, doubles);
}
#endif

/* ---- what is the same ---- */

/* Sums of sixteen lanes as four. */
INLINE four as_four(const floats *parts)
{
    eight x = folded(parts);
    return __builtin_shufflevector(x, x, 0, 1, 2, 3) + __builtin_shufflevector(x, x, 4, 5, 6, 7);
}

INLINE float sum_of(const floats *parts)
{
    four x = as_four(parts);
    return (x[0] + x[2]) + (x[1] + x[3]);
}

/* The same of four at once. */
INLINE four sums_of(const floats (*parts)[PARTS])
{
    four a = as_four(parts[0]), b = as_four(parts[1]), c = as_four(parts[2]), d = as_four(parts[3]);
    a = __builtin_shufflevector(a, b, 0, 1, 4, 5) + __builtin_shufflevector(a, b, 2, 3, 6, 7);
    c = __builtin_shufflevector(c, d, 0, 1, 4, 5) + __builtin_shufflevector(c, d, 2, 3, 6, 7);
    return __builtin_shufflevector(a, c, 0, 2, 4, 6) + __builtin_shufflevector(a, c, 1, 3, 5, 7);
}

INLINE double sum_of_doubles(doubles x) { return (x[0] + x[2]) + (x[1] + x[3]); }

/* Sums of sixteen lanes as four doubles. */
INLINE doubles as_doubles(const floats *parts)
{
    eight x = folded(parts);
    return low_of(x) + high_of(x);
}

/* The lanes up to an end, which may lie before them, and `other` after it. */
INLINE floats load_until(const float *from, ptrdiff_t left, float other)
{
    return left >= LANES ? load(from) : left > 0 ? load_some(from, (size_t)left, other) : all(other);
}

/* One of the parts of sixteen. */
INLINE floats load_part(const float *from, size_t left, int part, float other)
{
    return load_until(from + part * LANES, (ptrdiff_t)left - part * LANES, other);
}

static const float DEEPEST = 87.0f; /* nats below the largest at which a weight is 0 */

static const float ROOTS[] = {1.0f,        1.09050773f, 1.18920712f, 1.29683955f,
                              1.41421356f, 1.54221083f, 1.68179283f, 1.83400810f}; /* 2^(k/8) */

/* exp(x) for x <= 0, to two units in the last place: x = n ln 2 + r with n in eighths. The root of
 * 2 is looked up, the whole part of n is added to its exponent, and a cubic in r (the best one
 * there in the mean) does the rest. 0 from -87 on, where numbers get subnormal, and slow. */
INLINE floats exponential(floats x)
{
    const floats half_up = all(1572864.0f); /* 1.5 * 2^20: adding it rounds to an eighth */
    ints possible = x > all(-DEEPEST);
    x = larger(x, all(-DEEPEST));
    floats shifted = fused(x, all(1.44269504f), half_up), n = shifted - half_up;
    floats r = fused(n, all(2.12194440e-4f), fused(n, all(-0.693359375f), x));
    floats power = looked_up(ROOTS, (ints)shifted);
    power = (floats)(((ints)power + ((ints)shifted >> 3 << 23)) & possible);
    floats more = fused(fused(r, all(1.6666889e-1f), all(5.0005585e-1f)), r * r, r);
    return fused(power, more, power);
}

#endif
