/* Vectors of floats, and their exponentials.
 *
 * This folder is compiled twice: with LANES 8, which is AVX2 on x86-64 and NEON on arm64, and with
 * LANES 16, which is AVX-512. Functions marked TARGET need a processor with those instructions;
 * kernels.c looks for it. Both builds return the same bits: every sum has SIXTEEN lanes, which
 * eight lanes at a time compute in two PARTS (README.md, "Sixteen lanes").
 */
#ifndef CORELM_VEC_H
#define CORELM_VEC_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

#if LANES == 16
#include <immintrin.h>
#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")))
#elif defined(__x86_64__)
#include <immintrin.h>
#define TARGET __attribute__((target("avx2,fma,f16c")))
#else
#define TARGET
#endif
#define INLINE TARGET static inline __attribute__((always_inline))

/* Unroll a loop of constant length, so that the array that it runs over stays in registers. */
#if defined(__clang__)
#define UNROLLED _Pragma("clang loop unroll(full)")
#else
#define UNROLLED _Pragma("GCC unroll 16")
#endif

enum { SIXTEEN = 16, FOUR = 4, PARTS = SIXTEEN / LANES, EIGHTS = LANES / 8 };
#define EACH_PART(v) UNROLLED for (int v = 0; v < PARTS; v++)

typedef float floats __attribute__((vector_size(4 * LANES)));
typedef int32_t ints __attribute__((vector_size(4 * LANES)));
typedef float unaligned __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef float eight __attribute__((vector_size(32)));
typedef float unaligned_eight __attribute__((vector_size(32), aligned(4), may_alias));
typedef float four __attribute__((vector_size(16)));
typedef double doubles __attribute__((vector_size(32))); /* four */
typedef double unaligned_doubles __attribute__((vector_size(32), aligned(8), may_alias));
typedef int64_t longs __attribute__((vector_size(32)));

INLINE floats load(const float *from) { return *(const unaligned *)from; }

INLINE doubles load_doubles(const double *from) { return *(const unaligned_doubles *)from; }

INLINE void store(float *to, floats x) { *(unaligned *)to = x; }

INLINE void store_eight(float *to, eight x) { *(unaligned_eight *)to = x; }

INLINE eight splat_eight(float x) { return (eight){x, x, x, x, x, x, x, x}; }

/* The value of a finite half-precision number. Its exponent field is 112 less than the equal
 * float's; the smallest halves have no leading 1, which is added and subtracted again. */
INLINE float half_value(uint16_t half)
{
    union { uint32_t bits; float value; } normal, small;
    const uint32_t magnitude = (uint32_t)(half & 0x7fff) << 13, exponent = 1u << 23;
    normal.bits = magnitude + 112 * exponent;
    small.bits = magnitude + 113 * exponent;
    float value = magnitude < exponent ? small.value - 0x1p-14f : normal.value;
    return half & 0x8000 ? -value : value;
}

static const float MAX_DEPTH = 87.0f; /* nats below the largest logit from which a weight is 0 */
static const float IN_EIGHTHS = 1572864.0f; /* 1.5 * 2^20: adding it rounds to an eighth */

/* ---- operations that differ: sixteen lanes, eight on x86-64, eight elsewhere ---- */

#if LANES == 16

INLINE floats splat(float x) { return (floats)_mm512_set1_ps(x); }

/* a * b + c, rounded once. The sources are compiled with -ffp-contract=off: were the compiler free
 * to fuse, it would decide for each loop, and two loops with the same sum could differ in its last
 * bit. */
INLINE floats fmadd(floats a, floats b, floats c)
{
    return (floats)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}

/* a where it is larger, else b; also b where one of them is nan. */
INLINE floats max(floats a, floats b) { return (floats)_mm512_max_ps((__m512)a, (__m512)b); }

/* One bit for each lane: the sign of its mask. */
INLINE unsigned movemask(ints where) { return (unsigned)_mm512_movepi32_mask((__m512i)where); }

INLINE float max_of(floats x) { return _mm512_reduce_max_ps((__m512)x); }

/* Move the lanes whose bit is set to the front. The others are undefined. */
INLINE floats compress(floats x, unsigned bits)
{
    return (floats)_mm512_maskz_compress_ps((__mmask16)bits, (__m512)x);
}

/* Look each lane up in a table of eight floats, by the lowest three bits of its index. */
INLINE floats permute(const float *from, ints indices)
{
    __m512 twice = _mm512_broadcast_f32x8(_mm256_loadu_ps(from));
    return (floats)_mm512_permutexvar_ps((__m512i)indices, twice);
}

/* a times 2^n, for n rounded down from `in_eighths` less IN_EIGHTHS; 0 where x is below the depth
 * at which weights are 0. */
INLINE floats times_power(floats a, floats in_eighths, floats x)
{
    __mmask16 where = _mm512_cmp_ps_mask((__m512)x, (__m512)splat(-MAX_DEPTH), _CMP_GT_OQ);
    __m512 n = (__m512)(in_eighths - splat(IN_EIGHTHS));
    return (floats)_mm512_maskz_scalef_ps(where, (__m512)a, n);
}

/* Load `count` floats, and `other` in the lanes after them. */
INLINE floats load_partial(const float *from, size_t count, float other)
{
    return (floats)_mm512_mask_loadu_ps((__m512)splat(other), (__mmask16)((1u << count) - 1), from);
}

/* Load the floats whose byte is not 0, and `other` in the lanes of the others. */
INLINE floats load_where(const float *from, const uint8_t *bytes, float other)
{
    __m128i each = _mm_loadu_si128((const __m128i *)bytes);
    return (floats)_mm512_mask_loadu_ps((__m512)splat(other), _mm_test_epi8_mask(each, each), from);
}

INLINE void store_partial(float *to, size_t count, floats x)
{
    _mm512_mask_storeu_ps(to, (__mmask16)((1u << count) - 1), (__m512)x);
}

INLINE eight eight_of(floats x, int second)
{
    __m512 both = (__m512)x;
    return (eight)(second ? _mm512_extractf32x8_ps(both, 1) : _mm512_castps512_ps256(both));
}

INLINE floats join_eights(const eight *x)
{
    return (floats)_mm512_insertf32x8(_mm512_castps256_ps512((__m256)x[0]), (__m256)x[1], 1);
}

/* Add the upper eight of sixteen lanes to the lower eight. */
INLINE eight fold(const floats *parts) { return eight_of(parts[0], 0) + eight_of(parts[0], 1); }

INLINE eight fmadd_eight(eight a, eight b, eight c)
{
    return (eight)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}

/* Half-precision numbers, where the processor converts them: eight at a time, since sixteen at once
 * take Zen 4 half as long again as twice eight. */
enum { HAS_HALF_PRECISION = 1 };
INLINE eight load_eight_halves(const uint16_t *from)
{
    return (eight)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)from));
}

INLINE floats load_halves(const uint16_t *from)
{
    eight both[] = {load_eight_halves(from), load_eight_halves(from + 8)};
    return join_eights(both);
}

INLINE void store_halves(uint16_t *to, floats x)
{
    _mm256_storeu_si256((__m256i *)to, _mm512_cvtps_ph((__m512)x, _MM_FROUND_TO_NEAREST_INT));
}

static void prepare_tables(void) {}

#else

INLINE floats splat(float x) { return splat_eight(x); }

INLINE eight eight_of(floats x, int second)
{
    (void)second;
    return x;
}

INLINE floats join_eights(const eight *x) { return x[0]; }

INLINE eight fold(const floats *parts) { return parts[0] + parts[1]; }

INLINE floats load_partial(const float *from, size_t count, float other)
{
    float padded[LANES];
    for (size_t i = 0; i < LANES; i++)
        padded[i] = i < count ? from[i] : other;
    return load(padded);
}

INLINE void store_partial(float *to, size_t count, floats x)
{
    for (size_t i = 0; i < count; i++)
        to[i] = x[i];
}

INLINE floats times_power(floats a, floats in_eighths, floats x)
{
    ints where = x > splat(-MAX_DEPTH);
    return (floats)(((ints)a + ((ints)in_eighths >> 3 << 23)) & where);
}

/* For each set of bits, the lanes whose bit is set. */
static uint8_t lane_orders[1 << LANES][LANES];

static void prepare_tables(void)
{
    for (unsigned bits = 0; bits < 1 << LANES; bits++)
        for (unsigned lane = 0, next = 0; lane < LANES; lane++)
            if (bits >> lane & 1)
                lane_orders[bits][next++] = (uint8_t)lane;
}

#if defined(__x86_64__)

INLINE floats fmadd(floats a, floats b, floats c)
{
    return (floats)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}

INLINE floats max(floats a, floats b) { return (floats)_mm256_max_ps((__m256)a, (__m256)b); }

INLINE unsigned movemask(ints where) { return (unsigned)_mm256_movemask_ps((__m256)where); }

INLINE floats load_where(const float *from, const uint8_t *bytes, float other)
{
    __m256i each = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)bytes));
    __m256 is_0 = (__m256)_mm256_cmpeq_epi32(each, _mm256_setzero_si256());
    return (floats)_mm256_blendv_ps((__m256)load(from), (__m256)splat(other), is_0);
}

INLINE floats permute(const float *from, ints indices)
{
    return (floats)_mm256_permutevar8x32_ps((__m256)load(from), (__m256i)indices);
}

INLINE floats compress(floats x, unsigned bits)
{
    __m256i order = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)lane_orders[bits]));
    return (floats)_mm256_permutevar8x32_ps((__m256)x, order);
}

enum { HAS_HALF_PRECISION = 1 };
INLINE floats load_halves(const uint16_t *from)
{
    return (floats)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)from));
}

INLINE void store_halves(uint16_t *to, floats x)
{
    _mm_storeu_si128((__m128i *)to, _mm256_cvtps_ph((__m256)x, _MM_FROUND_TO_NEAREST_INT));
}

#else

#if defined(__wasm_relaxed_simd__)
/* Fused where the processor has it; who runs this looks first whether it is. */
INLINE floats fmadd(floats a, floats b, floats c)
{
    union { floats all; four half[2]; } x = {a}, y = {b}, z = {c}, result;
    for (int i = 0; i < 2; i++)
        result.half[i] = __builtin_wasm_relaxed_madd_f32x4(x.half[i], y.half[i], z.half[i]);
    return result.all;
}
#else
INLINE floats fmadd(floats a, floats b, floats c)
{
    floats result;
    UNROLLED for (int lane = 0; lane < LANES; lane++)
        result[lane] = __builtin_fmaf(a[lane], b[lane], c[lane]);
    return result;
}
#endif

INLINE floats max(floats a, floats b)
{
    ints where = a > b;
    return (floats)((where & (ints)a) | (~where & (ints)b));
}

INLINE unsigned movemask(ints where)
{
    unsigned bits = 0;
    for (int lane = 0; lane < LANES; lane++)
        bits |= (unsigned)(where[lane] & 1) << lane;
    return bits;
}

INLINE floats load_where(const float *from, const uint8_t *bytes, float other)
{
    floats result;
    for (int lane = 0; lane < LANES; lane++)
        result[lane] = bytes[lane] ? from[lane] : other;
    return result;
}

INLINE floats permute(const float *from, ints indices)
{
    floats result;
    for (int lane = 0; lane < LANES; lane++)
        result[lane] = from[indices[lane] & 7];
    return result;
}

INLINE floats compress(floats x, unsigned bits)
{
    floats result;
    for (int lane = 0; lane < LANES; lane++)
        result[lane] = x[lane_orders[bits][lane]];
    return result;
}

enum { HAS_HALF_PRECISION = 0 };

INLINE floats load_halves(const uint16_t *from)
{
    floats result;
    for (int lane = 0; lane < LANES; lane++)
        result[lane] = half_value(from[lane]);
    return result;
}

INLINE void store_halves(uint16_t *to, floats x) { (void)to, (void)x; } /* `pack` refuses before */

#endif

INLINE eight fmadd_eight(eight a, eight b, eight c) { return fmadd(a, b, c); }

INLINE eight load_eight_halves(const uint16_t *from) { return load_halves(from); }

INLINE float max_of(floats x)
{
    float result = x[0];
    for (int i = 1; i < LANES; i++)
        result = x[i] > result ? x[i] : result;
    return result;
}

#endif

/* Conversions: the first and the last four of eight floats as doubles, four doubles as floats; and
 * one bit for each of four doubles. */
#if defined(__x86_64__) /* GCC would convert two at a time */
INLINE doubles low_of(eight x)
{
    return (doubles)_mm256_cvtps_pd(_mm256_castps256_ps128((__m256)x));
}

INLINE doubles high_of(eight x)
{
    return (doubles)_mm256_cvtps_pd(_mm256_extractf128_ps((__m256)x, 1));
}

INLINE four to_floats(doubles x) { return (four)_mm256_cvtpd_ps((__m256d)x); }

INLINE unsigned movemask_doubles(longs where)
{
    return (unsigned)_mm256_movemask_pd((__m256d)where);
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

INLINE four to_floats(doubles x) { return __builtin_convertvector(x, four); }

INLINE unsigned movemask_doubles(longs where)
{
    unsigned bits = 0;
    for (int i = 0; i < FOUR; i++)
        bits |= (unsigned)(where[i] & 1) << i;
    return bits;
}
#endif

/* ---- operations that are the same for all ---- */

/* Add sixteen lanes up to four. */
INLINE four fold_to_four(const floats *parts)
{
    eight x = fold(parts);
    return __builtin_shufflevector(x, x, 0, 1, 2, 3) + __builtin_shufflevector(x, x, 4, 5, 6, 7);
}

INLINE float sum_of(const floats *parts)
{
    four x = fold_to_four(parts);
    return (x[0] + x[2]) + (x[1] + x[3]);
}

/* `sum_of` four arrays at once. */
INLINE four four_sums_of(const floats (*parts)[PARTS])
{
    four a = fold_to_four(parts[0]), b = fold_to_four(parts[1]);
    four c = fold_to_four(parts[2]), d = fold_to_four(parts[3]);
    a = __builtin_shufflevector(a, b, 0, 1, 4, 5) + __builtin_shufflevector(a, b, 2, 3, 6, 7);
    c = __builtin_shufflevector(c, d, 0, 1, 4, 5) + __builtin_shufflevector(c, d, 2, 3, 6, 7);
    return __builtin_shufflevector(a, c, 0, 2, 4, 6) + __builtin_shufflevector(a, c, 1, 3, 5, 7);
}

#if defined(__x86_64__)
INLINE doubles fmadd_doubles(doubles a, doubles b, doubles c)
{
    return (doubles)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
}
#else
INLINE doubles fmadd_doubles(doubles a, doubles b, doubles c)
{
    doubles result;
    UNROLLED for (int i = 0; i < FOUR; i++)
        result[i] = __builtin_fma(a[i], b[i], c[i]);
    return result;
}
#endif

INLINE double sum_of_doubles(doubles x) { return (x[0] + x[2]) + (x[1] + x[3]); }

/* Add sixteen lanes up to eight floats, and those to four doubles. */
INLINE doubles fold_to_doubles(const floats *parts)
{
    eight x = fold(parts);
    return low_of(x) + high_of(x);
}

/* Load the lanes before an end, which may lie before all of them, and `other` in the rest. */
INLINE floats load_until(const float *from, ptrdiff_t left, float other)
{
    if (left >= LANES)
        return load(from);
    return left > 0 ? load_partial(from, (size_t)left, other) : splat(other);
}

/* Load one of the PARTS of sixteen lanes. */
INLINE floats load_part(const float *from, size_t left, int part, float other)
{
    return load_until(from + part * LANES, (ptrdiff_t)left - part * LANES, other);
}

static const float ROOTS[] = {1.0f,        1.09050773f, 1.18920712f, 1.29683955f,
                              1.41421356f, 1.54221083f, 1.68179283f, 1.83400810f}; /* 2^(k/8) */

/* exp(x) for x <= 0, to two units in the last place: x = n ln 2 + r with n in eighths. 2^n is a
 * root of 2 from a table, with the whole part of n added to its exponent; exp(r) is a cubic, the
 * one with the least mean error. From -87 on the result is 0: it would be subnormal, and slow. */
INLINE floats exp_nonpositive(floats x)
{
    floats inside = max(x, splat(-MAX_DEPTH));
    floats in_eighths = fmadd(inside, splat(1.44269504f), splat(IN_EIGHTHS));
    floats n = in_eighths - splat(IN_EIGHTHS);
    floats r = fmadd(n, splat(2.12194440e-4f), fmadd(n, splat(-0.693359375f), inside));
    floats power = times_power(permute(ROOTS, (ints)in_eighths), in_eighths, x);
    floats expm1 = fmadd(fmadd(r, splat(1.6666889e-1f), splat(5.0005585e-1f)), r * r, r);
    return fmadd(power, expm1, power);
}

#endif
