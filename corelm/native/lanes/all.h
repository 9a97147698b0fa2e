/* All kernels, for one number of LANES. */
#include "layers.c"
#include "products.c"

#include "distributions.c"
#include "figures.c"
#include "masses.c"
#include "selection.c"

const struct kernels KERNELS = {
    .pack = pack, .multiply = multiply, .embed = embed, .normalise = normalise, .attend = attend,
    .sharpen = sharpen, .admit = admit, .judge = judge, .draw = draw, .surprisals = surprisals,
    .entropies = entropies, .nucleus = nucleus, .greedy = greedy, .keep = keep,
    .largest = largest, .deviations = deviations, .typical = typical, .figures = figures,
    .moments = moments,
};
