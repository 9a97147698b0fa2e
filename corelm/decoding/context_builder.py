"""The context of a decoder's samples while it grows."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from corelm.context import Context
from corelm.language_model import Vocabulary
from corelm.numerics.distributions import Array

Nats = NDArray[np.float64]
Reader = Callable[[NDArray[np.int64]], Nats]


class ContextBuilder:
    """A growing context: room is doubled, not copied at each token; rows can be selected.

    Few samplers look at how surprising tokens were to the model, which takes as long as a draw.
    So it is worked out at each token only once a sampler has looked; a sampler that looks for the
    first time when tokens were drawn already has the texts read again.

    Args:
        prompt: (time,) token ids that every sample begins with.
        batch: how many samples.
        ahead: how many tokens are expected.
        vocabulary: what the ids stand for.
        reader: tells the model surprisals of (batch, time) tokens; none if they are always given.
    """

    def __init__(
        self,
        prompt: NDArray[np.int64],
        batch: int,
        ahead: int = 0,
        vocabulary: Vocabulary | None = None,
        reader: Reader | None = None,
    ) -> None:
        self._vocabulary, self._reader = vocabulary, reader
        self._looked, self._complete = reader is None, True
        self._prompt_length = self._length = len(prompt)
        room = self._length + min(ahead, 1024)
        self._tokens = np.empty((batch, room), dtype=np.int64)
        self._surprisal = np.full((batch, room), np.nan)
        self._model_surprisal = np.full((batch, room), np.nan)
        self._tokens[:, : self._length] = prompt

    @property
    def context(self) -> Context:
        """The context so far, as views that later tokens leave alone."""
        seen = slice(self._length)
        known = self._looked and self._complete
        return Context(
            self._tokens[:, seen],
            self._surprisal[:, seen],
            self._model_surprisal[:, seen] if known else cast(Nats, self._looking()),
            self._prompt_length,
            self._vocabulary,
        )

    def append(
        self, tokens: Array, surprisal: Array, model_surprisal: Array | Callable[[], Array]
    ) -> None:
        """Add one token to each row: three (batch,) arrays.

        The last may be a function that returns it, which is called if a sampler looks.
        """
        if self._length == self._tokens.shape[1]:
            self._grow()
        self._tokens[:, self._length] = tokens
        self._surprisal[:, self._length] = surprisal
        if not callable(model_surprisal):
            self._model_surprisal[:, self._length] = model_surprisal
        elif self._looked:
            self._model_surprisal[:, self._length] = model_surprisal()
        else:
            self._complete = False
        self._length += 1

    def fork(self) -> ContextBuilder:
        """The same past, to go another way."""
        other = copy(self)
        other.select(np.arange(len(self._tokens)))
        return other

    def select(self, rows: Array) -> None:
        """Keep these rows in this order; a row named twice is forked."""
        self._tokens = self._tokens[rows]
        self._surprisal = self._surprisal[rows]
        self._model_surprisal = self._model_surprisal[rows]

    def _looking(self) -> Callable[[], Nats]:
        """What a look at the model surprisals of the context as it is now will do."""
        length, tokens, nats, complete = (
            self._length, self._tokens, self._model_surprisal, self._complete,
        )  # fmt: skip

        def look() -> Nats:
            self._looked = True
            if not complete and self._reader:
                nats[:, :length] = self._reader(tokens[:, :length])
                self._complete |= nats is self._model_surprisal and length == self._length
            return nats[:, :length]

        return look

    def _grow(self) -> None:
        more = max(self._length, 16)
        self._tokens = np.pad(self._tokens, ((0, 0), (0, more)))
        widths: Any = ((0, 0), (0, more))
        self._surprisal = np.pad(self._surprisal, widths, constant_values=np.nan)
        self._model_surprisal = np.pad(self._model_surprisal, widths, constant_values=np.nan)
