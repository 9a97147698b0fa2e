"""The first contract: a sampler maps one next-token distribution to another.

A sampler is a frozen dataclass with `__call__(logits, context) -> logits`. It draws nothing,
keeps nothing and changes nothing; the core draws once, from the logits that it returns.
`a | b` is a sampler too. A `Mask` returns the tokens that are possible, a `Switch` the parameter
that acts in each row, a `Coin` two outcomes; the core does the rest for all three.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from corelm.contracts.chain_stages import apply
from corelm.contracts.context import Context
from corelm.contracts.declarations import READABLE, check_attributes
from corelm.contracts.params import Parameterized
from corelm.errors import ParameterError, PluginError
from corelm.lazy import cached_property
from corelm.numerics.distributions import Array
from corelm.text.markup import Displayable, Table

BUILT_IN = ("corelm.", "corelm_samplers.")
"""The packages of corelm's own distribution, whose samplers share memory with the core."""


class Sampler(Displayable, Parameterized, ABC):
    """A pure map from next-token logits to next-token logits.

    Subclassing makes a frozen dataclass of the class; `corelm.param` declares its fields. The
    class attributes describe the sampler to the core: to the order lint, the report's labels and
    curve, and the adapters of engines. All of them are optional.

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
    tokens that are named or that occurred before), or `other`. It describes the sampler in notes,
    labels and colours, and never changes its arithmetic. A `Mask` has the kind `mask` by its
    class."""

    neutral: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    """The parameter values that together switch the sampler off: the logits come back unchanged,
    so the core skips the call. Empty if there are no such values."""

    example: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    """Parameter values with a visible effect: neutral defaults would show nothing in `corelm play`,
    and nothing to the laws of `corelm plugins --check`, unless the docstring has an example."""

    reads: ClassVar[frozenset[str]] = READABLE
    """The parts of the context that the result depends on: of `tokens`, `position`, `surprisal`,
    `model_surprisal` and `vocabulary`. An empty set means the logits alone."""

    is_argmax_invariant: ClassVar[bool] = False
    """True if the most likely token always stays the most likely one."""

    is_shift_invariant: ClassVar[bool] = True
    """False if adding a constant to a row changes the result, as in the CTRL penalty."""

    _acts_by: ClassVar[Literal["call", "mask", "switch", "toss"]] = "call"
    """The method of `corelm.contracts.chain_stages.Run` that runs the stage."""

    _is_built_in: ClassVar[bool] = False
    """True for a sampler of corelm's own distribution, which never writes into its input."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        check_attributes(cls)
        cls._is_built_in = cls.__module__.startswith(BUILT_IN)

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
            context: the tokens so far, with the same rows as `logits`.

        Returns:
            Logits of the same shape and dtype, each row with at least one finite entry.
        """

    def _parts(self) -> list[Table]:
        """Return the table to display: each stage with its description."""
        stages = [[str(each), each.description()] for each in self.stages]
        return [Table(["stage", "what it does"], stages)]

    @property
    def stages(self) -> tuple[Sampler, ...]:
        """The samplers in the order in which they act: itself, or the links of a chain."""
        return (self,)

    @property
    def active_stages(self) -> tuple[Sampler, ...]:
        """The stages that are not at their neutral values."""
        return () if self.is_neutral else (self,)

    @property
    def _last_stage(self) -> Sampler:
        """The stage whose result is drawn from."""
        return (self.active_stages or self.stages)[-1]

    @property
    def nested(self) -> dict[str, Sampler]:
        """The parameters that are samplers, by name."""
        return {p.name: getattr(self, p.name) for p in self.parameters() if p.is_nested}

    @cached_property
    def is_neutral(self) -> bool:
        """True if the parameters have the neutral values, so that the logits stay as they are."""
        neutral = self.neutral
        # An empty mapping means that no values switch it off, and `all` of nothing is True.
        return bool(neutral) and all(getattr(self, name) == neutral[name] for name in neutral)

    @cached_property
    def has_masks(self) -> bool:
        """True if a stage, or a sampler that a stage may choose, is a mask that isn't neutral.

        Example:
            >>> import corelm
            >>> corelm.sampler("top_k(k=2) | min_length(n=3)").has_masks
            True
        """
        return self._count(Mask) > 0

    def _count(self, kind: type) -> int:
        """Return how many stages of a kind may act in one row."""
        return sum(
            max([isinstance(stage, kind), *(each._count(kind) for each in stage.nested.values())])
            for stage in self.active_stages
        )

    @cached_property
    def _coins(self) -> int:
        """The most coins that are tossed in one row."""
        return self._count(Coin)

    @cached_property
    def has_branches(self) -> bool:
        """True if a stage may act on the outcomes of an earlier coin.

        Example:
            >>> import corelm
            >>> coin = corelm.sampler("xtc(probability=0.5)")
            >>> (coin | corelm.sampler("temperature(t=0.5)")).has_branches, coin.has_branches
            (True, False)
        """
        *before, last = self.active_stages or (self,)
        inside = any(each.has_branches for each in last.nested.values())
        return inside or any(stage._coins for stage in before)

    def __or__(self, other: Sampler) -> Chain:
        """Chain two samplers: the other one gets the logits that this one returns."""
        if not isinstance(other, Sampler):
            return NotImplemented
        return Chain(self.stages + other.stages)


class KernelSampler(Sampler):
    """A sampler made of functions on logits that have compiled kernels, such as `top_k`.

    A subclass writes `kernels`; the call is made of it. A decoding step makes one call of the
    kernels of such stages and the draw.

    Example:
        >>> import corelm
        >>> from corelm.filters import KernelSampler, top_k
        >>> class TwoLeft(KernelSampler):
        ...     '''Keep two tokens.'''
        ...     reads = frozenset()
        ...     def kernels(self, context, size):
        ...         return [(top_k, 2)]
        >>> corelm.sampling_distribution(TwoLeft(), [0.0, 1.0, 1.0]).tolist()
        [0.0, 0.5, 0.5]
    """

    @abstractmethod
    def kernels(self, context: Context, size: int) -> Sequence[tuple[Any, ...]]:
        """Return the functions to apply to the logits in turn, each with its other arguments.

        Args:
            context: the tokens so far.
            size: the number of logits in a row.
        """

    def __call__(self, logits: Array, context: Context) -> Array:
        for function, *arguments in self.kernels(context, logits.shape[-1]):
            logits = function(logits, *arguments)
        return logits


class Mask(Sampler):
    """A sampler that makes tokens impossible by the context alone, as a grammar does.

    A subclass writes `allowed`. The logits of allowed tokens stay as they are. If the stages before
    a mask removed every token that it allows, the model's likeliest allowed token stays, so a mask
    is never broken. Only if the model itself rules out every allowed token does the model's
    likeliest token stay.

    Example:
        >>> import corelm
        >>> import numpy as np
        >>> class EvenOnly(corelm.Mask):
        ...     '''Allow the tokens with an even id.'''
        ...     reads = frozenset()
        ...     def allowed(self, context):
        ...         even = np.arange(context.vocabulary_size) % 2 == 0
        ...         return np.tile(even, (context.batch, 1))
        >>> corelm.sampling_distribution(EvenOnly(), [2.0, 0.0, 2.0]).tolist()
        [0.5, 0.0, 0.5]
        >>> chain = corelm.sampler("top_k(k=1)") | EvenOnly()
        >>> corelm.sampling_distribution(chain, [0.0, 9.0, 1.0]).tolist()
        [0.0, 0.0, 1.0]
    """

    kind = "mask"
    _acts_by = "mask"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        if cls.kind != "mask":
            raise PluginError(f"not a sampler: leave out {cls.__name__}.kind; its class says mask")
        super().__init_subclass__(**kwargs)

    @abstractmethod
    def allowed(self, context: Context) -> NDArray[np.bool_] | None:
        """Return the tokens that are possible next.

        Args:
            context: the tokens so far; it has `batch` rows, and `vocabulary_size` is the
                number of ids.

        Returns:
            (batch, vocabulary) bool; None for all.
        """

    def __call__(self, logits: Array, context: Context) -> Array:
        return apply(self, logits, context)


class Switch(Sampler):
    """A sampler that chooses, by the context, which of its parameters acts: each is a sampler.

    A subclass implements `choose`. A chosen mask acts as if it were in the chain itself.

    Example:
        >>> import corelm
        >>> from corelm import Sampler, Switch, param, sampler
        >>> class GreedyAtFirst(Switch):
        ...     '''Take the most likely token first, then let another sampler act.'''
        ...     reads = frozenset({"position"})
        ...     then: Sampler = param(sampler("stochastic"), "acts later")
        ...     def choose(self, context):
        ...         acts = self.then if context.position else sampler("greedy")
        ...         return [acts] * context.batch
        >>> corelm.sampling_distribution(GreedyAtFirst(), [0.0, 1.0]).tolist()
        [0.0, 1.0]
    """

    _acts_by = "switch"

    @abstractmethod
    def choose(self, context: Context) -> Sequence[Sampler]:
        """Return the sampler that acts in each row: (batch,).

        Args:
            context: the tokens so far.
        """

    def __call__(self, logits: Array, context: Context) -> Array:
        return apply(self, logits, context)


class Coin(Sampler):
    """A sampler that tosses a coin in each row, and changes the logits by its outcome.

    A subclass implements `toss`. The stages after a coin act on both outcomes, and the chain's
    distribution is their mixture: the one of a coin that is tossed before each draw.

    Example:
        >>> import corelm
        >>> import numpy as np
        >>> class SecondBest(corelm.Coin):
        ...     '''Half of the time, rule out the most likely token.'''
        ...     reads = frozenset()
        ...     def toss(self, logits, context):
        ...         second = corelm.mask_logits(logits, logits < logits.max(-1, keepdims=True))
        ...         return np.full(len(logits), 0.5), second, logits
        >>> corelm.sampling_distribution(SecondBest(), np.log([0.6, 0.4])).round(4).tolist()
        [0.3, 0.7]
        >>> chain = SecondBest() | corelm.sampler("greedy")
        >>> corelm.sampling_distribution(chain, np.log([0.6, 0.4])).tolist()
        [0.5, 0.5]
    """

    _acts_by = "toss"

    @abstractmethod
    def toss(self, logits: Array, context: Context) -> tuple[Array, Array, Array]:
        """Return the probability of heads in each row, and the logits for heads and for tails.

        Args:
            logits, context: as for a call.

        Returns:
            (batch,) numbers from 0 to 1, and twice (batch, vocabulary) logits. Both are valid in
            each row, also where one of them has no probability.
        """

    def __call__(self, logits: Array, context: Context) -> Array:
        return apply(self, logits, context)


MOST_COINS = 4
"""Coins in a chain; each doubles the branches."""


class Chain(Sampler):
    """Samplers that act one after the other, in the order given.

    A chain is the composition of its stages, for arrays of any library. Its masks also get the
    chain's input, to fall back to: see `Mask`.
    """

    samplers: tuple[Sampler, ...] = ()

    def __post_init__(self) -> None:
        flat = tuple(stage for sampler in self.samplers for stage in sampler.stages)
        if not flat:
            raise ParameterError("a chain needs at least one sampler")
        object.__setattr__(self, "samplers", flat)
        if self._coins > MOST_COINS:
            coins = ", ".join(str(stage) for stage in flat if stage._coins)
            raise ParameterError(f"a chain has at most {MOST_COINS} coins; leave out one: {coins}")
        _derive_attributes(self, flat)

    def __call__(self, logits: Array, context: Context) -> Array:
        return apply(self, logits, context)

    def parts(self) -> Iterator[Sampler]:
        return (part for stage in self.samplers for part in stage.parts())

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
    """Derive a sampler's class attributes from its parts, and set them on the instance."""
    derived = {
        "reads": frozenset().union(*(part.reads for part in parts)),
        "is_argmax_invariant": all(part.is_argmax_invariant for part in parts),
        "is_shift_invariant": all(part.is_shift_invariant for part in parts),
    }
    # For example, a chain is shift-invariant only if each stage is: no class can declare that.
    for name, value in derived.items():
        object.__setattr__(sampler, name, value)
