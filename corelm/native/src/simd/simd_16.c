/* The kernels with vectors of sixteen floats, which are AVX-512. */
#if defined(__x86_64__)
#define LANES 16
#define KERNELS kernels_of_16
#include "all.h"
#else
typedef int no_kernels_of_16; /* ISO C wants something in every file */
#endif
