"""Let one sampler act between two marks of a text, and another elsewhere."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from corelm_samplers.stochastic import Stochastic
from numpy.typing import NDArray

from corelm import Array, Context, Sampler, hookimpl, param
from corelm.filters import array_namespace, find_in_turn


class Phase(Sampler):
    """Let one sampler act after the start of a phase and before its end, and another elsewhere.

    The start and the end are texts or token ids, such as `<think>` and `</think>`, in the
    prompt or after it. A text may span several tokens. A start inside the phase doesn't count, and
    an end outside it doesn't either. If both are the same, such as a quotation mark, the phase
    begins and ends at every other one.

    Related: schedule, force.

    Example:
        >>> import corelm
        >>> thinking = Phase(start=0, end=1, inside="greedy")
        >>> corelm.sampling_distribution(thinking, [0.0, 0.0, 1.0], tokens=[0, 2]).tolist()
        [0.0, 0.0, 1.0]
        >>> corelm.sampling_distribution(thinking, [0.0, 0.0, 0.0, 0.0], tokens=[0, 1]).tolist()
        [0.25, 0.25, 0.25, 0.25]
    """

    neutral = {"inside": Stochastic(), "outside": Stochastic()}
    reads = frozenset({"tokens", "vocabulary"})
    is_argmax_invariant = True

    start: int | str = param("<think>", "the text or token id that begins the phase")
    end: int | str = param("</think>", "the text or token id that ends it")
    inside: Sampler = param(Stochastic(), "acts during the phase")
    outside: Sampler = param(Stochastic(), "acts before and after it")

    def __call__(self, logits: Array, context: Context) -> Array:
        inside = self._is_inside(context)
        if inside.all() or not inside.any():
            return self._at(bool(inside.all()))(logits, context)
        xp = array_namespace(logits)
        both = (self._at(each)(logits, context) for each in (True, False))
        return xp.where(xp.asarray(inside[:, None]), *both)

    def acting(self, context: Context) -> Sampler:
        return self._at(bool(self._is_inside(context)[0]))

    def _at(self, inside: bool) -> Sampler:
        return self.inside if inside else self.outside

    def _is_inside(self, context: Context) -> NDArray[np.bool_]:
        marks = (self.start, self.end)
        found = [len(find_in_turn(row, marks, context.vocabulary)) for row in context.tokens]
        return np.array(found) % 2 == 1


@hookimpl
def corelm_samplers() -> Mapping[str, type[Sampler]]:
    return {"phase": Phase}
