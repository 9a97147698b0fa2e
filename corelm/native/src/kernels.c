/* Which kernels are in use: those of the widest vectors that the processor has. */
#include "kernels.h"

#include <stdatomic.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

static _Atomic(const struct kernels *) active = &kernels_of_8;

const struct kernels *active_kernels(void)
{
    /* A call that still sees the other width returns the same bits. */
    return atomic_load_explicit(&active, memory_order_relaxed);
}

#if defined(__x86_64__)
/* Return the floats of the widest vectors that processor and operating system have: 16, 8 or 0.
 * Every one with AVX2 has F16C. Not by `__builtin_cpu_supports`: built by zig, it says no to everything. */
static int vector_width(void)
{
    unsigned a, b, c, d, saved, unused;
    const unsigned two = bit_FMA | bit_OSXSAVE, ymm = 0x6, zmm = 0xe6;
    const unsigned five = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;

    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & two) != two)
        return 0;
    __asm__("xgetbv" : "=a"(saved), "=d"(unused) : "c"(0));
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & bit_AVX2) || (saved & ymm) != ymm)
        return 0;
    return (b & five) == five && (saved & zmm) == zmm ? 16 : 8;
}
#else
static int vector_width(void) { return 8; }
#endif

int use_kernels(long floats)
{
    int widest = vector_width(), width = floats < 16 && widest ? 8 : widest;
    const struct kernels *kernels = &kernels_of_8;
#if defined(__x86_64__)
    if (width == 16)
        kernels = &kernels_of_16;
#endif
    if (width) {
        kernels->prepare();
        atomic_store(&active, kernels);
    }
    return width;
}
