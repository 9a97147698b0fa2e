/* The kernels with vectors of sixteen floats, which take AVX-512. */
#if defined(__x86_64__)
#define LANES 16
#define KERNELS kernels_of_16
#include "lanes/all.h"
#endif
