"""Make chosen words impossible."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from corelm import Context, Mask, Sampler, hookimpl, param
from corelm.filters import TokenNames, allow_all_but


class Ban(Mask):
    """Make chosen words impossible.

    A word of several tokens, such as a name or a phrase, is never completed: its last token is
    impossible where the context ends with the others. A text names a word of the model's
    vocabulary; a number is an id. If no other token is left in play, the most likely one stays.

    Related: logit_bias, min_length.

    Example:
        >>> import corelm
        >>> corelm.sampling_distribution(Ban(words=[0]), [2.0, 0.0, 0.0]).tolist()
        [0.0, 0.5, 0.5]
    """

    neutral = {"words": ()}
    reads = frozenset({"tokens", "vocabulary"})

    words: tuple[int | str, ...] = param((), "words or token ids that are never drawn")

    def allowed(self, context: Context) -> NDArray[np.bool_] | None:
        names = TokenNames(context.vocabulary, context.vocabulary_size)
        alone: list[int] = []
        completed: list[tuple[int, int]] = []
        for word in self.words:
            # Only the last token of a word completes it; the others stay possible.
            *before, last = names.ids(word)
            if before:
                completed += [(row, last) for row in _ending_with(context.tokens, before)]
            else:
                alone.append(last)
        if not completed:
            return allow_all_but(context, None, alone)
        rows, ids = np.array(completed).T
        every = np.arange(context.batch).repeat(len(alone)), np.tile(alone, context.batch)
        return allow_all_but(context, np.append(every[0], rows), np.append(every[1], ids))


def _ending_with(tokens: NDArray[np.int64], ids: Sequence[int]) -> Sequence[int]:
    """Return the rows whose last tokens are these."""
    if len(ids) > tokens.shape[1]:
        return ()
    ending = tokens[:, tokens.shape[1] - len(ids) :] == np.array(ids)
    rows: list[int] = np.flatnonzero(ending.all(axis=-1)).tolist()
    return rows


@hookimpl
def corelm_samplers() -> Mapping[str, type[Sampler]]:
    return {"ban": Ban}
