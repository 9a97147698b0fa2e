/* All kernels, for one number of LANES. */
#include "layers.inl"
#include "products.inl"

#include "distributions.inl"
#include "divergence.inl"
#include "filters.inl"
#include "mass_filters.inl"
#include "entropy_filter.inl"
#include "reshape.inl"
#include "curvature.inl"
#include "sample.inl"

const struct kernels KERNELS = {
    .prepare = prepare,
#define ROW_KERNEL(name, result, arguments) .name = name,
#define LAYER_KERNEL(name) .name = name,
#define GRAPH_KERNEL(name) .name = name,
#include "../kernels.def"
};
