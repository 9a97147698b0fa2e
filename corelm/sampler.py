"""The first contract: a sampler maps one next-token distribution to another.

A sampler is a frozen dataclass with `__call__(logits, context) -> logits`. It draws nothing,
keeps nothing and changes nothing; the core draws once, from the logits that it returns.
`a | b` is a sampler too.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from corelm.caching import cached_property
from corelm.context import Context
from corelm.errors import ParameterError, UsageError
from corelm.numerics.distributions import Array, softmax
from corelm.params import Parameterized
from corelm.validation import READABLE, apply, check_attributes, check_logits


class Sampler(Parameterized, ABC):
    """A pure map from next-token logits to next-token logits.

    Subclassing makes a frozen dataclass of the class; `corelm.param` declares its fields. The
    class attributes describe the sampler to the core: to the order lint, the report's labels and
    curve, and the adapters of engines. Every one of them may be left out.

    Example:
        >>> import corelm
        >>> class Cold(corelm.Sampler):
        ...     '''Sharpen the distribution.'''
        ...     t: float = corelm.param(0.5, "softmax temperature", gt=0)
        ...     def __call__(self, logits, context):
        ...         return logits / self.t
        >>> Cold(t=0.25)
        Cold(t=0.25)
        >>> str(Cold() | Cold(t=2))
        'cold(t=0.5) | cold(t=2.0)'
    """

    kind: ClassVar[str] = "other"
    """`temperature` (rescales all tokens), `filter` (removes unlikely ones), `penalty` (lowers
    tokens by name or by the past), `mask` (removes them so), or `other`."""

    neutral: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    """The parameter values that together switch the sampler off: the logits come back unchanged,
    so the core skips the call. Empty if there are no such values."""

    reads: ClassVar[frozenset[str]] = READABLE
    """The parts of the context that the result depends on: of `tokens`, `step`, `surprisal`,
    `model_surprisal` and `vocabulary`. An empty set means the logits alone."""

    is_argmax_invariant: ClassVar[bool] = False
    """True if the most likely token always stays the most likely one."""

    is_shift_invariant: ClassVar[bool] = True
    """False if adding a constant to a row changes the result, as in the CTRL penalty."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        check_attributes(cls)

    def __post_init__(self) -> None:
        super().__post_init__()
        if nested := self.nested.values():
            _derive_attributes(self, [self, *nested])

    @abstractmethod
    def __call__(self, logits: Array, context: Context) -> Array:
        """Return the logits to draw from.

        Args:
            logits: (batch, vocabulary), float32 or float64, read-only. Unnormalised; minus
                infinity means never; each row has at least one finite entry.
            context: the tokens so far; rows match those of `logits`.

        Returns:
            Logits of the same shape and dtype, each row with at least one finite entry.
        """

    @property
    def stages(self) -> tuple[Sampler, ...]:
        """The samplers in the order in which they act: itself, or the links of a chain."""
        return (self,)

    @property
    def active_stages(self) -> tuple[Sampler, ...]:
        """The stages that are not at their neutral values."""
        return () if self.is_neutral else (self,)

    @property
    def nested(self) -> dict[str, Sampler]:
        """The parameters that are samplers, by name."""
        return {p.name: getattr(self, p.name) for p in self.parameters() if p.is_nested}

    def acting(self, context: Context) -> Sampler:
        """Return the sampler that acts in a context of one row, for explanations.

        That is the sampler itself, or one of its parameters if it chooses between them.
        """
        return self

    @cached_property
    def is_neutral(self) -> bool:
        """True if the parameters have the neutral values, so that the logits stay as they are."""
        neutral = self.neutral
        return bool(neutral) and all(getattr(self, name) == neutral[name] for name in neutral)

    @property
    def portable(self) -> bool:
        """True if it takes arrays of any library, such as torch or JAX; tried, not declared.

        Raises:
            MissingDependencyError: array-api-strict, which it is tried on, is not installed.
        """
        from corelm.numerics.portability import is_portable

        return all(is_portable(stage) for stage in self.stages)

    def __or__(self, other: Sampler) -> Chain:
        """Chain two samplers: the other one gets the logits that this one returns."""
        if not isinstance(other, Sampler):
            return NotImplemented
        return Chain(self.stages + other.stages)


class Chain(Sampler):
    """Samplers that act one after the other, in the order given."""

    samplers: tuple[Sampler, ...] = ()

    def __post_init__(self) -> None:
        flat = tuple(stage for sampler in self.samplers for stage in sampler.stages)
        if not flat:
            raise ParameterError("a chain needs at least one sampler")
        object.__setattr__(self, "samplers", flat)
        _derive_attributes(self, flat)

    def __call__(self, logits: Array, context: Context) -> Array:
        if isinstance(logits, np.ndarray):
            return apply(self, logits, context)
        for stage in self.active_stages:  # of another array library: nothing checks the rows
            logits = stage(logits, context)
        return logits

    @property
    def nested(self) -> dict[str, Sampler]:
        return {}

    @property
    def stages(self) -> tuple[Sampler, ...]:
        return self.samplers

    @cached_property
    def active_stages(self) -> tuple[Sampler, ...]:
        return tuple(stage for stage in self.samplers if not stage.is_neutral)

    @cached_property
    def is_neutral(self) -> bool:
        return not self.active_stages

    @property
    def expression(self) -> str:
        return " | ".join(stage.expression for stage in self.samplers)

    def __repr__(self) -> str:
        return self.expression


def _derive_attributes(sampler: Sampler, parts: Sequence[Sampler]) -> None:
    """Set what a sampler declares to what follows from its parts."""
    derived = {
        "reads": frozenset().union(*(part.reads for part in parts)),
        "is_argmax_invariant": all(part.is_argmax_invariant for part in parts),
        "is_shift_invariant": all(part.is_shift_invariant for part in parts),
    }
    for name, value in derived.items():
        object.__setattr__(sampler, name, value)


def sampling_distribution(
    sampler: Sampler, logits: ArrayLike, tokens: ArrayLike | None = None
) -> Array:
    """Return the exact distribution that a sampler draws from, as a NumPy array.

    For an array of another library, call a portable sampler yourself:
    `corelm.softmax(sampler(logits, context))`. That skips the checks of this function.

    Args:
        sampler: a sampler or a chain.
        logits: (vocabulary,) or (batch, vocabulary), as np.asarray takes them; minus infinity
            means never.
        tokens: ids of the context, (time,) or (batch, time); empty when left out.

    Returns:
        Probabilities in the shape and dtype of the logits; rows sum to 1.

    Raises:
        ModelOutputError: logits with NaN, +infinity or an empty row.
        SamplerError: the sampler raised or returned invalid logits.

    Example:
        >>> import corelm
        >>> corelm.sampling_distribution(corelm.sampler("greedy"), [1.0, 3.0, 2.0]).tolist()
        [0.0, 1.0, 0.0]
    """
    array = np.asarray(logits)
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float64)
    if array.ndim not in (1, 2) or array.shape[-1] == 0:
        raise UsageError(f"logits must be (vocabulary,) or (batch, vocabulary), not {array.shape}")
    rows = np.atleast_2d(array)
    check_logits(rows)
    result = softmax(apply(sampler, rows, _context_for(len(rows), tokens)))
    return result.reshape(array.shape)


def _context_for(batch: int, tokens: ArrayLike | None) -> Context:
    if tokens is None:
        return Context.of(np.empty((batch, 0), dtype=np.int64))
    ids = np.atleast_2d(np.asarray(tokens, dtype=np.int64))
    if ids.ndim != 2 or len(ids) not in (1, batch):
        raise UsageError(f"tokens must be (time,) or ({batch}, time), not {ids.shape}")
    return Context.of(np.broadcast_to(ids, (batch, ids.shape[1])))
