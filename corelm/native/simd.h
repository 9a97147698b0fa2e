/* What the kernels are made of: eight floats at a time, and their exponentials.
 *
 * GCC's and Clang's vector extensions become AVX2 on x86-64 and NEON on arm64. On x86-64 the
 * functions marked FAST need a processor with AVX2, FMA and F16C; `kernels.c` asks for one.
 */
#ifndef CORELM_SIMD_H
#define CORELM_SIMD_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__)
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

#define LANES 8
typedef float floats __attribute__((vector_size(32)));
typedef int32_t ints __attribute__((vector_size(32)));
typedef double doubles __attribute__((vector_size(32))); /* half as many */
typedef int64_t longs __attribute__((vector_size(32)));
typedef float half_of_them __attribute__((vector_size(16)));
typedef float anywhere __attribute__((vector_size(32), aligned(4), may_alias));

INLINE floats load(const float *from) { return *(const anywhere *)from; }

INLINE void store(float *to, floats x) { *(anywhere *)to = x; }

/* Numbers of half precision, exact in single precision; only where the processor converts them. */
#if defined(__x86_64__)
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
enum { HALVES = 0 };
INLINE floats load_halves(const uint16_t *from) { return (floats){(float)*from}; }
INLINE void store_halves(uint16_t *to, floats x) { *to = (uint16_t)x[0]; }
#endif

INLINE floats all(float x) { return (floats){x, x, x, x, x, x, x, x}; }

/* a * b + c, rounded once. Left to the compiler, which weighs it for each loop, it would be now and
 * then rounded twice, and what is the same in one loop and another would not be to the last bit. */
INLINE floats fused(floats a, floats b, floats c)
{
#if defined(__x86_64__)
    return (floats)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
    return a * b + c;
#endif
}

/* a where it is larger, b elsewhere, also where one of them is nan */
INLINE floats larger(floats a, floats b)
{
#if defined(__x86_64__)
    return (floats)_mm256_max_ps((__m256)a, (__m256)b);
#else
    ints where = a > b;
    return (floats)((where & (ints)a) | (~where & (ints)b));
#endif
}

INLINE float sum_of(floats x)
{
    return ((x[0] + x[4]) + (x[2] + x[6])) + ((x[1] + x[5]) + (x[3] + x[7]));
}

/* The first and the last four floats as doubles. */
#if defined(__x86_64__) /* GCC converts two at a time */
INLINE doubles low_of(floats x)
{
    return (doubles)_mm256_cvtps_pd(_mm256_castps256_ps128((__m256)x));
}

INLINE doubles high_of(floats x)
{
    return (doubles)_mm256_cvtps_pd(_mm256_extractf128_ps((__m256)x, 1));
}
#else
INLINE doubles low_of(floats x)
{
    half_of_them low = __builtin_shufflevector(x, x, 0, 1, 2, 3);
    return __builtin_convertvector(low, doubles);
}

INLINE doubles high_of(floats x)
{
    half_of_them high = __builtin_shufflevector(x, x, 4, 5, 6, 7);
    return __builtin_convertvector(high, doubles);
}
#endif

/* Eight floats as four doubles, each the sum of two of them. */
INLINE doubles as_doubles(floats x) { return low_of(x) + high_of(x); }

INLINE double sum_of_doubles(doubles x) { return (x[0] + x[2]) + (x[1] + x[3]); }

/* A bit for each lane in which something holds. */
INLINE unsigned bits_of(ints where)
{
#if defined(__x86_64__)
    return (unsigned)_mm256_movemask_ps((__m256)where);
#else
    unsigned bits = 0;
    for (int lane = 0; lane < LANES; lane++)
        bits |= (unsigned)(where[lane] & 1) << lane;
    return bits;
#endif
}

INLINE float largest_of(floats x)
{
    float most = x[0];
    for (int i = 1; i < LANES; i++)
        most = x[i] > most ? x[i] : most;
    return most;
}

/* The first count of eight floats, and `other` after them. */
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

static const float DEEPEST = 87.0f; /* nats below the largest at which a weight is 0 */

/* Eight small numbers. */
INLINE ints widened(const uint8_t *from)
{
#if defined(__x86_64__) /* GCC takes them one by one */
    return (ints)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)from));
#else
    return (ints){from[0], from[1], from[2], from[3], from[4], from[5], from[6], from[7]};
#endif
}

/* Of eight floats, for each lane the one at a place: the lowest three bits say which. */
INLINE floats permuted(floats x, ints places)
{
#if defined(__x86_64__)
    return (floats)_mm256_permutevar8x32_ps((__m256)x, (__m256i)places);
#else
    floats found;
    for (int lane = 0; lane < LANES; lane++)
        found[lane] = x[places[lane] & 7];
    return found;
#endif
}

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
    floats shifted = x * all(1.44269504f) + half_up, n = shifted - half_up;
    floats r = (x - n * all(0.693359375f)) + n * all(2.12194440e-4f);
    floats power = permuted(load(ROOTS), (ints)shifted);
    power = (floats)(((ints)power + ((ints)shifted >> 3 << 23)) & possible);
    floats more = (all(1.6666889e-1f) * r + all(5.0005585e-1f)) * (r * r) + r;
    return power * more + power;
}

#endif
