"""Write chosen words at a chosen place."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from corelm import Context, Mask, Sampler, hookimpl, param
from corelm.errors import ParameterError
from corelm.filters import TokenNames, find_in_turn


class Force(Mask):
    """Make the tokens of chosen words, in their order, the only possible ones at one place.

    The place is after `at` drawn tokens; with `since`, that many tokens after the last appearance
    of this text, prompt included. An appearance in the words themselves doesn't count. After the
    words, and before them, nothing changes. A word gets a space in front where a text needs one. If
    a token is impossible already, the most likely one stays instead.

    With `unless`, nothing is forced once that text has come later, and `since` counts again only
    after it. So `since="<think>", unless="</think>"` limits how long a model thinks; where the
    prompt has thought for longer already, the words come at once.

    Related: phase, min_length, ban.

    Example:
        >>> import corelm
        >>> corelm.sampling_distribution(Force(words=[2, 2, 2]), [1.0, 0.0, -1.0]).tolist()
        [0.0, 0.0, 1.0]
        >>> from corelm.testing import ToyModel
        >>> forced = Force(words=["the dog"], at=2) | corelm.sampler("greedy")
        >>> [text] = corelm.generate(ToyModel(), "the", sampler=forced, length=4)
        >>> text.text
        ' cat sat the dog'
    """

    neutral = {"words": ()}
    reads = frozenset({"tokens", "position", "vocabulary"})

    words: tuple[int | str, ...] = param((), "the words or token ids to write, in order")
    at: int = param(0, "how many tokens come before them", ge=0)
    since: str = param(
        "", "the text to count from; empty counts from the first drawn token", aliases=("after",)
    )
    unless: str = param("", "the text after which they are not needed")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.unless and not self.since:
            raise ParameterError("unless needs since, the text to count from")

    def allowed(self, context: Context) -> NDArray[np.bool_] | None:
        size, read = context.vocabulary_size, context.tokens.shape[1]
        names, allowed = TokenNames(context.vocabulary, size), None
        for row, tokens in enumerate(context.tokens):
            place = self._place(tokens, context, names)
            if place is None or place > read:
                continue
            ids = names.written(self.words, tokens[:place])
            if read < place + len(ids):
                if allowed is None:
                    allowed = np.ones((context.batch, size), dtype=bool)
                allowed[row] = False
                allowed[row, ids[read - place]] = True
        return allowed

    def _place(self, tokens: NDArray[np.int64], context: Context, names: TokenNames) -> int | None:
        """Return the position at which a row's words begin; None if they never do."""
        if not self.since:
            return context.prompt_length + self.at
        if self.unless:
            places = find_in_turn(tokens, (self.since, self.unless), context.vocabulary)
            # The marks alternate: an odd number of them means that `unless` has not come later.
            # If the prompt alone has more than `at` tokens since, the words come at its end.
            return max(places[-1] + self.at, context.prompt_length) if len(places) % 2 else None
        place, end = None, -1
        for appearance in find_in_turn(tokens, (self.since,), context.vocabulary):
            if place is None or not place < appearance <= end:  # one of the words doesn't count
                place = appearance + self.at
                end = place + len(names.written(self.words, tokens[:place]))
        return place


@hookimpl
def corelm_samplers() -> dict[str, type[Sampler]]:
    return {"force": Force}
