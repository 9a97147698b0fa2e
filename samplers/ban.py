"""Make chosen words impossible."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from corelm import Context, Mask, Sampler, hookimpl, param
from corelm.filters import TokenNames, allow_all_but


class Ban(Mask):
    """Make chosen words impossible.

    A text names a word or phrase, which the text then doesn't contain as a whole: every token that
    would complete it is impossible, however its beginning is cut into tokens. Letters before or
    after it make it another word, as in `cannot`; capitals count. A number is an id. If no other
    token is left in play, the most likely one stays.

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
        return allow_all_but(context, *names.completing(self.words, context.tokens))


@hookimpl
def corelm_samplers() -> dict[str, type[Sampler]]:
    return {"ban": Ban}
