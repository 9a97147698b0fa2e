"""What a sampler may look at besides the logits: the past, and how surprising it was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from corelm.language_model import Vocabulary


def protect(holder: Any, *names: str) -> None:
    """Put read-only views in the place of these arrays of a frozen dataclass."""
    for name in names:
        array = getattr(holder, name)
        if array.flags.writeable:
            view = array.view()
            view.setflags(write=False)
            object.__setattr__(holder, name, view)


@dataclass(frozen=True, eq=False)
class Context:
    """The tokens so far. All state that a strategy can need is a function of it.

    Attributes:
        tokens: (batch, time) token ids, the prompt first; read-only.
        surprisal: (batch, time) in nats, of each token under the distribution that it was
            drawn from; nan where the token was given, not drawn; read-only.
        model_surprisal: the same under the model's own distribution. A decoder gives a function,
            which is called when somebody looks.
        prompt_length: how many of the tokens were given.
        vocabulary: what the ids stand for, for samplers that name words or the end token;
            None where a distribution is reshaped without a model.
    """

    tokens: NDArray[np.int64]
    surprisal: NDArray[np.float64]
    model_surprisal: NDArray[np.float64]
    prompt_length: int
    vocabulary: Vocabulary | None = None

    @classmethod
    def of(cls, tokens: ArrayLike, **given: Any) -> Context:
        """A context whose tokens were all given: (batch, time) or (time,) ids.

        Example:
            >>> Context.of([[3, 4, 5]]).prompt_length
            3
        """
        ids = np.atleast_2d(np.asarray(tokens, dtype=np.int64))
        unknown = np.full(ids.shape, np.nan)
        given.setdefault("surprisal", unknown)
        given.setdefault("model_surprisal", unknown)
        given.setdefault("prompt_length", ids.shape[1])
        return cls(ids, **given)

    def __post_init__(self) -> None:
        protect(self, "tokens", "surprisal")
        if callable(self.model_surprisal):
            self.__dict__["_look"] = self.__dict__.pop("model_surprisal")
        else:
            protect(self, "model_surprisal")

    if not TYPE_CHECKING:  # to which it would say that there may be anything

        def __getattr__(self, name: str) -> Any:
            if name != "model_surprisal":
                raise AttributeError(f"a context has no {name}")
            object.__setattr__(self, name, self._look())
            protect(self, name)
            return self.model_surprisal

    @property
    def step(self) -> int:
        """How many tokens were drawn so far: 0 at the first."""
        return int(self.tokens.shape[1]) - self.prompt_length

    @property
    def drawn(self) -> NDArray[np.int64]:
        """(batch, step): the tokens after the prompt."""
        return self.tokens[:, self.prompt_length :]
