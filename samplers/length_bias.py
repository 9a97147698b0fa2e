"""Make the end of a text more likely the longer it gets."""

from __future__ import annotations

import math

from corelm import Context, Sampler, hookimpl, param
from corelm.filters import KernelSampler, token_change


class LengthBias(KernelSampler):
    """Make the end more likely, or less, with each drawn token.

    After n drawn tokens, weight (n - start) is added to the logits of the end tokens if n > start.
    A negative weight makes the end less likely. The vocabulary of the model names the end tokens;
    without one, as in a distribution that no model made, nothing can end and nothing changes.

    Source: NVIDIA's logits-processor-zoo, GenLengthLogitsProcessor, with the power 1.

    Related: min_length, logit_bias.

    Example:
        >>> import corelm
        >>> from corelm.testing import ToyModel
        >>> model = ToyModel(["so"], logits=[0, 0, 0, 3.5])  # the end has the logit 0
        >>> ending = LengthBias(weight=1, start=1) | corelm.sampler("greedy")
        >>> [text] = corelm.generate(model, "so", sampler=ending)
        >>> text.text
        ' so so so so so'
    """

    kind = "penalty"
    neutral = {"weight": 0.0}
    example = {"weight": 0.1}
    reads = frozenset({"position", "vocabulary"})

    weight: float = param(
        0.0, "added for each token after the start; 0 is off", gt=-math.inf, lt=math.inf
    )
    start: int = param(0, "how many drawn tokens are free", ge=0)

    def kernels(self, context: Context, size: int) -> list[tuple[object, ...]]:
        ends = () if context.vocabulary is None else tuple(context.vocabulary.ends)
        late = context.position - self.start
        if not ends or late <= 0:
            return []
        return [token_change(None, ends, subtract=-self.weight * late)]


@hookimpl
def corelm_samplers() -> dict[str, type[Sampler]]:
    return {"length_bias": LengthBias}
