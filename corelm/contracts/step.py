"""One position of generation: its distributions, and the step that decoders yield."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from corelm.contracts.context import protect, read_only
from corelm.contracts.language_model import Vocabulary, never_drawn
from corelm.contracts.validation import check_logits
from corelm.errors import ModelOutputError
from corelm.lazy import cached_property
from corelm.numerics.arrays import is_masked
from corelm.numerics.distributions import (
    Array,
    entropy_of_logits,
    mask_tokens,
    softmax,
    surprisals_and_entropy,
)

FinishReason = Literal["end", "length", "stop", "loop", "error"]
"""Why a text ended; `corelm.Generation` explains the words."""


COLUMNS = ("samples", "tokens", "model_logits", "logits", "surprisal", "allowed", "fell_back")
"""The attributes of a step with an entry for each row."""


class Figures(NamedTuple):
    """The figures of the rows of a step, each (batch,) in nats.

    Attributes:
        entropy: of the distribution drawn from.
        model_surprisal: of each token under the model's own distribution.
        model_entropy: of the model's distribution.
    """

    entropy: NDArray[np.float64]
    model_surprisal: NDArray[np.float64]
    model_entropy: NDArray[np.float64]


class Drawn(NamedTuple):
    """Tokens, and the distributions that they were drawn from.

    Attributes:
        model_logits: (batch, vocabulary) the model's, with tokens that are never drawn masked.
        logits: (batch, vocabulary) the sampler's.
        tokens: (batch,) ids.
        surprisal: (batch,) nats, of the tokens under the sampler's logits.
        allowed: (batch, vocabulary) the tokens that the sampler's masks allow; None if not wanted.
        fell_back: (batch,) True where the stages before a mask kept nothing that it allows; None if
            not wanted.
        figures: what a step of this draw computes otherwise; None if not wanted, or left to it.
        ready: how many tokens after it the session has drawn too; None if it draws none ahead.
    """

    model_logits: Array
    logits: Array
    tokens: NDArray[np.int64]
    surprisal: NDArray[np.float64]
    allowed: NDArray[np.bool_] | None = None
    fell_back: NDArray[np.bool_] | None = None
    figures: Figures | None = None
    ready: int | None = None

    def step(self, position: int, samples: NDArray[np.int64]) -> Step:
        """Return the step of all rows.

        Args:
            position: the number of tokens drawn before.
            samples: (batch,) the sample of the run that each row belongs to.
        """
        step = Step(
            position, samples, self.tokens, self.model_logits, self.logits, self.surprisal,
            self.allowed, self.fell_back,
        )  # fmt: skip
        if self.figures is not None:  # where the cached properties keep theirs
            vars(step).update(entropy=self.figures.entropy, _of_model=self.figures[1:])
        return step


@dataclass(frozen=True, eq=False)
class Step:
    """One position of generation, for every row that has not finished. Arrays are read-only.

    Attributes:
        position: 0 for the first token after the prompt.
        samples: (batch,) the sample of the run that each row belongs to.
        tokens: (batch,) the ids drawn.
        model_logits: (batch, vocabulary) the model's logits; tokens that are never drawn are at
            minus infinity.
        logits: (batch, vocabulary) the sampler's logits; tokens are drawn from softmax(logits).
        surprisal: (batch,) nats, of each drawn token under the distribution drawn from.
        allowed: (batch, vocabulary) the tokens that the sampler's masks allow; None without masks.
        fell_back: (batch,) True where the stages before a mask kept nothing that it allows.
        text: the text that the drawn token added, when one text is streamed.
        finish_reason: why the text ended, at the last step of a stream; None at the others.
    """

    position: int
    samples: NDArray[np.int64]
    tokens: NDArray[np.int64]
    model_logits: Array
    logits: Array
    surprisal: NDArray[np.float64]
    allowed: NDArray[np.bool_] | None = None
    fell_back: NDArray[np.bool_] | None = None
    text: str = ""
    finish_reason: FinishReason | None = None

    _whole: ClassVar[tuple[Step, slice] | None] = None
    """The step that it is a part of, and the rows: figures are computed once for all parts."""

    def __post_init__(self) -> None:
        unchanged = self.logits is self.model_logits
        protect(self, "samples", "tokens", "model_logits", "logits", "surprisal")
        if unchanged:  # `entropy` tests if both are one array: keep them one
            vars(self)["logits"] = self.model_logits

    @classmethod
    def join(cls, steps: Sequence[Step]) -> Step:
        """Return one step of the rows of several steps of one position.

        Args:
            steps: at least one.
        """
        parts = ([getattr(step, name) for step in steps] for name in COLUMNS)
        columns = (None if part[0] is None else np.concatenate(part) for part in parts)
        return cls(steps[0].position, *columns)  # type: ignore[arg-type]

    def select(self, rows: NDArray[np.int64]) -> Step:
        """Return the step of these rows only, in this order."""
        columns = (getattr(self, name) for name in COLUMNS)
        parts = (None if column is None else column[rows] for column in columns)
        return Step(self.position, *parts)  # type: ignore[arg-type]

    def with_text(self, text: str, finish_reason: FinishReason | None = None) -> Step:
        """Return the same step with a text. Its cached figures are kept."""
        # `dataclasses.replace` would start without the figures in the instance's dict.
        step = copy(self)
        object.__setattr__(step, "text", text)
        object.__setattr__(step, "finish_reason", finish_reason)
        return step

    @property
    def model_surprisal(self) -> NDArray[np.float64]:
        """(batch,) nats, of each drawn token under the model's own distribution."""
        return self._of_model[0]

    @cached_property
    def distribution(self) -> Array:
        """(batch, vocabulary): the probabilities drawn from."""
        return softmax(self.logits)

    @cached_property
    def model_distribution(self) -> Array:
        """(batch, vocabulary): the model's probabilities of the tokens that can be drawn."""
        return softmax(self.model_logits)

    @cached_property
    def entropy(self) -> NDArray[np.float64]:
        """(batch,) nats: the entropy of the distribution drawn from."""
        if self._whole is not None:
            step, rows = self._whole
            return step.entropy[rows]
        # Another pass over the vocabulary would give the same bits.
        return (
            self.model_entropy
            if self.logits is self.model_logits
            else entropy_of_logits(self.logits)
        )

    @property
    def model_entropy(self) -> NDArray[np.float64]:
        """(batch,) nats: the entropy of the model's distribution."""
        return self._of_model[1]

    @cached_property
    def model_rank(self) -> NDArray[np.int64]:
        """(batch,): the place of each drawn token among the model's, 1 for the likeliest.

        Of tokens that are equally likely, the lowest id comes first.
        """
        from corelm.numerics.filters import rank  # late: few programs ask

        rows = zip(self.model_logits, self.tokens, strict=True)
        return np.array([rank(row, token) for row, token in rows], np.int64)

    @cached_property
    def _of_model(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        if self._whole is not None:
            step, rows = self._whole
            surprisal, entropy = step._of_model
            return surprisal[rows], entropy[rows]
        # One pass over the vocabulary gives both.
        return surprisals_and_entropy(self.model_logits, self.tokens)


class OwnStep(Step):
    """A step for code that might write around the read-only flags, as torch does.

    Each array is copied when it is first read, so that one that nobody reads costs nothing.

    Args:
        step: the step.
    """

    def __init__(self, step: Step) -> None:
        # Bypasses `__setattr__`, which a frozen dataclass disables.
        vars(self).update(
            _step=step,
            position=step.position,
            # These have a default in the class, so `__getattr__` would not be asked for them.
            allowed=_copied(step.allowed),
            fell_back=_copied(step.fell_back),
            text=step.text,
            finish_reason=step.finish_reason,
        )

    def __getattr__(self, name: str) -> Any:
        if name not in COLUMNS:
            raise AttributeError(name)
        step: Step = vars(self)["_step"]
        unchanged = name == "logits" and step.logits is step.model_logits
        array = self.model_logits if unchanged else _copied(getattr(step, name))
        vars(self)[name] = array
        return array


def _copied(array: NDArray[Any] | None) -> NDArray[Any] | None:
    return None if array is None else read_only(array.copy())


def model_surprisals(logits: Array, tokens: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the surprisal of any tokens under the model, with the bits of `Step.model_surprisal`.

    Args:
        logits: (batch, vocabulary) the model's logits.
        tokens: (batch,) ids.
    """
    return surprisals_and_entropy(logits, tokens)[0]


@dataclass(frozen=True, eq=False)
class NextLogits:
    """The next-token distributions of a batch, before and after the sampler.

    Attributes:
        model_logits: (batch, vocabulary) the model's logits; tokens that are never drawn are at
            minus infinity.
        logits: (batch, vocabulary) the sampler's logits.
        allowed: (batch, vocabulary) the tokens that the sampler's masks allow; None without masks.
        fell_back: (batch,) True where the stages before a mask kept nothing that it allows; None
            without masks.

    Example:
        >>> import corelm
        >>> from corelm.testing import ToyModel
        >>> greedy, stream = corelm.sampler("greedy"), corelm.RandomStream(1, [0])
        >>> task = corelm.DecodingTask(ToyModel(), np.array([11]), greedy, stream, length=1)
        >>> following = task.start().next()
        >>> np.isfinite(following.logits).sum().item(), following.logits.shape
        (1, (1, 13))
    """

    model_logits: Array
    logits: Array
    allowed: NDArray[np.bool_] | None = None
    fell_back: NDArray[np.bool_] | None = None

    def select(self, rows: NDArray[np.int64]) -> NextLogits:
        """Return the distributions of these rows only, in this order."""
        parts = (self.model_logits, self.logits, self.allowed, self.fell_back)
        return NextLogits(*(part if part is None else part[rows] for part in parts))  # type: ignore[arg-type]


FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


class ModelLogits:
    """Validate a model's logits and mask the tokens that are never drawn.

    Args:
        vocabulary: the model's vocabulary.
        unknown: allow [UNK] to be sampled.

    Attributes:
        never: the ids that are never drawn.
    """

    def __init__(self, vocabulary: Vocabulary, unknown: bool = False) -> None:
        self._size = len(vocabulary)
        self.never: NDArray[np.int64] = never_drawn(vocabulary, unknown)

    surprisals: ClassVar[Callable[[Array, NDArray[np.int64]], NDArray[np.float64]]] = staticmethod(
        model_surprisals
    )
    """The surprisals of any tokens under such logits."""

    def __call__(self, logits: Array, step: int, batch: int | None = None) -> Array:
        """Return the logits with padding, and [UNK] unless allowed, at minus infinity.

        Args:
            logits: (batch, vocabulary), float32 or float64, of a session: the caller owns them, so
                they may be overwritten here.
            step: the number of tokens drawn so far, for messages.
            batch: the number of texts; None for any.

        Raises:
            ModelOutputError: a different shape or dtype, or a row that is not a distribution.
        """
        logits = self.check(logits, batch)
        # In place, as a session's caller may: a copy of 64 rows of 15,000 tokens takes 0.7 ms more.
        # The pass that masks validates the rows too; the slower check only names the fault.
        if not mask_tokens(logits, self.never):
            check_logits(logits, f"the model's logits at step {step}")
        return logits

    def check(self, logits: Array, batch: int | None = None) -> Array:
        """Return the logits as an array to write into, unmasked.

        Args:
            logits: as for a call.
            batch: the number of texts; None for any.

        Raises:
            ModelOutputError: a different shape or dtype.
        """
        if type(logits) is not np.ndarray:
            if is_masked(logits):
                raise ModelOutputError(
                    "the model's logits must be a plain array, not a MaskedArray; "
                    "set tokens that are never drawn to minus infinity"
                )
            logits = np.asarray(logits)
        shape, dtype = logits.shape, logits.dtype
        if len(shape) != 2 or shape[1] != self._size or dtype not in FLOATS:
            raise ModelOutputError(
                f"the model's logits must be (batch, {self._size}) in float32 or float64, "
                f"not {shape} in {dtype}"
            )
        if batch is not None and shape[0] != batch:
            raise ModelOutputError(
                f"the model's logits must have {batch} rows, one for each text, not {shape[0]}"
            )
        return logits if logits.flags.writeable else logits.copy()


def mass_of(tokens: NDArray[np.bool_], distribution: Array) -> float:
    """Return the probability of some tokens; of all of them it is exactly 1.

    Args:
        tokens: (vocabulary,), True for these tokens.
        distribution: (vocabulary,), the model's probabilities.

    Example:
        >>> mass_of(np.array([True, False, True]), np.array([0.5, 0.25, 0.25]))
        0.75
    """
    # Divided by a sum in the same order: all tokens together then have exactly 1.
    some = np.where(tokens, distribution, 0)
    return float(some.sum(dtype=np.float64) / distribution.sum(dtype=np.float64))
