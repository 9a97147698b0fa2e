"""Ban tokens that would repeat a run of n tokens."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from corelm import Context, Mask, Sampler, hookimpl, param
from corelm.filters import allow_all_but


class NoRepeatNgram(Mask):
    """Ban each token that would complete a run of n tokens that the context already has.

    Token t is impossible if the last n - 1 tokens, followed by t, occur earlier; n = 1 bans every
    token that occurs. If that leaves no token, the most likely one stays.

    Source: Paulus, Xiong, Socher 2017, A deep reinforced model for abstractive summarization,
    arXiv 1705.04304, section 2.5 (n = 3).

    Related: dry.

    Example:
        >>> import corelm
        >>> after = corelm.sampling_distribution(
        ...     NoRepeatNgram(n=2), [0.0, 0.0, 0.0], tokens=[0, 1, 0]
        ... )
        >>> after.tolist()
        [0.5, 0.0, 0.5]
    """

    neutral = {"n": 0}
    example = {"n": 3}
    reads = frozenset({"tokens"})

    n: int = param(0, "length of the runs that are not repeated; 0 is off", ge=0)
    last: int = param(0, "how many of the last tokens count; 0 is all", ge=0)
    skip_prompt: bool = param(False, "count only tokens that were drawn")

    def allowed(self, context: Context) -> NDArray[np.bool_] | None:
        tokens = context.past(self.last, self.skip_prompt)
        if not 0 < self.n <= tokens.shape[1]:  # off, or too few tokens for a run
            return None
        rows, starts = np.nonzero(_repeats(tokens, self.n - 1))
        ids = tokens[rows, starts + self.n - 1]
        return allow_all_but(context, rows, ids)


def _repeats(tokens: NDArray[np.int64], length: int) -> NDArray[np.bool_]:
    """Mark where the last `length` tokens of a row occur earlier: (batch, time - length)."""
    # A shifted comparison for each token of the run: cheap, since runs are short.
    starts = tokens.shape[1] - length
    same = np.ones((len(tokens), starts), dtype=np.bool_)
    for i in range(length):
        same &= tokens[:, i : i + starts] == tokens[:, starts + i, None]
    return same


@hookimpl
def corelm_samplers() -> dict[str, type[Sampler]]:
    return {"no_repeat_ngram": NoRepeatNgram}
