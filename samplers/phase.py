"""Let one sampler act between two marks of a text, and another elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from corelm_samplers.stochastic import Stochastic

from corelm import Context, Sampler, Switch, hookimpl, param
from corelm.filters import find_in_turn


class Phase(Switch):
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

    def choose(self, context: Context) -> Sequence[Sampler]:
        # After an odd number of marks, the last one is a start without its end.
        marks = (self.start, self.end)
        counts = (len(find_in_turn(row, marks, context.vocabulary)) for row in context.tokens)
        return [self.inside if count % 2 else self.outside for count in counts]


@hookimpl
def corelm_samplers() -> dict[str, type[Sampler]]:
    return {"phase": Phase}
