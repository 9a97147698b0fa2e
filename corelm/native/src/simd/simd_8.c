/* The kernels with vectors of eight floats. */
#define LANES 8
#define KERNELS kernels_of_8
#include "all.h"
