"""Min-k sampling: cut where the logits fall most steeply."""

import numpy as np

from corelm import Sampler, falling_logits, filter_each_row, hookimpl, largest_tokens, param


class MinK(Sampler):
    """Keep the tokens before the steepest fall of the logits, the early ones counting more.

    In falling order l_1 >= l_2 >= ... of the tokens in play the weight of the fall after token i is
    (l_i - l_{i+1}) / (i R), where R is the range of all; the cut comes after the largest weight,
    the first one on ties. Where the logits are close together there is no such fall, so at least
    tau / R tokens stay. The likeliest token always stays; equal logits all stay where nothing
    falls. The fall does not depend on a temperature that comes before, the range does.
    tau = inf switches it off.

    Source: Ding et al. 2026, Min-k sampling, arXiv 2604.11012; without the 1e-8 added to R there.

    Example:
        >>> import corelm
        >>> corelm.sampling_distribution(MinK(), [8.0, 8.0, 3.0, 2.0]).tolist()
        [0.5, 0.5, 0.0, 0.0]
    """

    kind = "filter"
    neutral = {"tau": np.inf}
    reads = frozenset()
    is_argmax_invariant = True

    tau: float = param(3.0, "at least tau / R tokens stay, R the range of the logits", ge=0)

    def __call__(self, logits, context):
        return filter_each_row(logits, self._choose)

    def _choose(self, row):
        lowest = np.float64(row[row > -np.inf].min())
        with np.errstate(over="ignore"):  # a range beyond the largest number is infinite
            span = row.max() - lowest
            if self.tau >= span * len(row):
                return np.flatnonzero(row > -np.inf)
            count = max(_steepest(row, lowest), int(self.tau / span * (1 + 1e-12)))
        return largest_tokens(row[None], count)


def _steepest(row, lowest):
    """After how many tokens the largest weight stands: there is a fall somewhere.

    As much of the row is sorted as is needed to know that nothing after it falls more steeply.
    """
    for values in falling_logits(row):
        values = values.astype(np.float64)
        weights = (values[:-1] - values[1:]) / np.arange(1, len(values))
        rest = (values[-1] - lowest) / len(values)  # no later weight is larger
        if weights.max(initial=0) >= rest:
            break
    return int(weights.argmax()) + 1


@hookimpl
def corelm_samplers():
    return {"min_k": MinK}
