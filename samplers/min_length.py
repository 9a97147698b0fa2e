"""Keep a text from ending too soon."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from corelm import Context, Mask, Sampler, hookimpl, param
from corelm.filters import allow_all_but


class MinLength(Mask):
    """Make the end of the text impossible before n tokens are drawn.

    Tokens of the prompt do not count. The vocabulary of the model names the end tokens; without
    one, as in a distribution that no model made, nothing can end and nothing changes. If the ends
    are the only tokens in play, they stay.

    Related: ban.

    Example:
        >>> import corelm
        >>> from corelm.testing import ToyModel
        >>> model = ToyModel(["so"], logits=[0, 0, 5, 0])  # it would rather end
        >>> [text] = corelm.generate(model, "so", sampler=MinLength(n=3) | corelm.sampler("greedy"))
        >>> text.text
        ' so so so'
    """

    neutral = {"n": 0}
    example = {"n": 10}
    reads = frozenset({"position", "vocabulary"})

    n: int = param(0, "tokens to draw before the text may end", ge=0)

    def allowed(self, context: Context) -> NDArray[np.bool_] | None:
        ends = () if context.vocabulary is None else tuple(context.vocabulary.ends)
        if not ends or context.position >= self.n:
            return None
        return allow_all_but(context, None, ends)


@hookimpl
def corelm_samplers() -> dict[str, type[Sampler]]:
    return {"min_length": MinLength}
