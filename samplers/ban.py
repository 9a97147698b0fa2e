"""Make chosen words impossible."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from corelm import Array, Context, Sampler, hookimpl, param, remove_tokens, token_sequence


class Ban(Sampler):
    """Make chosen words impossible.

    A word that is several tokens, such as a name or a phrase, is never completed: its last token
    is impossible where the context ends with the others. A text names a word of the model's
    vocabulary; a number is an id. Where no other token is left in play, the likeliest stays.

    Example:
        >>> import corelm
        >>> corelm.sampling_distribution(Ban(words=[0]), [2.0, 0.0, 0.0]).tolist()
        [0.0, 0.5, 0.5]
    """

    words: tuple[int | str, ...] = param((), "what is never written: words or token ids")

    def __call__(self, logits: Array, context: Context) -> Array:
        if not self.words:
            return logits
        rows, ids = [], []
        for word in self.words:
            *before, last = token_sequence(word, context.vocabulary, logits.shape[-1])
            rows.append(np.flatnonzero(_ends_with(context.tokens, before)))
            ids.append(np.full(len(rows[-1]), last))
        return remove_tokens(logits, np.concatenate(rows), np.concatenate(ids))


def _ends_with(tokens: NDArray[np.int64], ids: Sequence[int]) -> NDArray[np.bool_]:
    """(batch,): whether the last tokens of a row are these."""
    if len(ids) > tokens.shape[1]:
        return np.zeros(len(tokens), dtype=np.bool_)
    ending = tokens[:, tokens.shape[1] - len(ids) :]
    return np.asarray((ending == np.array(ids, dtype=np.int64)).all(axis=-1))


@hookimpl
def corelm_samplers() -> Mapping[str, type[Sampler]]:
    return {"ban": Ban}
