"""Strategies, such as `top_k(k=20) | beam(width=4)`, and what a sampler does to probe rows."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from corelm.contracts.chain_stages import apply
from corelm.contracts.context import Context
from corelm.contracts.decoder import Decoder
from corelm.contracts.sampling import Sampler
from corelm.errors import ExpressionError, SamplerError, UsageError
from corelm.numerics.distributions import Array
from corelm.registry.expressions import Expression, build, make, read_stages
from corelm.registry.registry import registry

KINDS = ("corelm_samplers", "corelm_decoders")
WITHOUT = "stochastic"
"""The sampler of a decoder without one: the model's own distribution."""


class Strategy(NamedTuple):
    """A sampler, and the decoder around it; None for ancestral sampling.

    It is pickled as its expression, so that its classes and values stay in this process.

    Example:
        >>> import pickle
        >>> pickle.loads(pickle.dumps(Strategy.of("top_p(p=0.9)"))).sampler
        TopP(p=0.9)
    """

    sampler: Sampler
    decoder: Decoder | None = None

    @classmethod
    def of(cls, expression: str | Sampler | Decoder) -> Strategy:
        """Return the strategy of an expression whose last stage may be a decoder.

        Args:
            expression: a name such as `beam`, or an expression such as
                `top_k(k=20) | beam(width=4)`; without a sampler, a decoder gets the model's own
                distribution. Samplers and decoders may be given as values too.

        Raises:
            UnknownNameError, AmbiguousNameError: no such sampler or decoder, or several.
            ParameterError: a parameter that it does not have, or a value outside its rule.
            ExpressionError: an expression that cannot be read, or a decoder that is not its last
                stage.

        Example:
            >>> Strategy.of("top_k(k=20) | ancestral").sampler
            TopK(k=20)
            >>> str(Strategy.of("ancestral")), Strategy.of("greedy").decoder
            ('ancestral', None)
        """
        if isinstance(expression, Decoder):
            return cls(Expression.built_in(WITHOUT), expression)
        if isinstance(expression, Sampler):
            return cls(expression)
        stages = read_stages(expression)
        classes = [registry().find(KINDS, name).value for name, _, _ in stages]
        decoders = [issubclass(cls, Decoder) for cls in classes]
        if not any(decoders):
            return cls(build(stages))
        # A decoder draws tokens; it returns no distribution that another stage could change.
        if any(decoders[:-1]):
            name = stages[decoders.index(True)][0]
            raise ExpressionError(f"{name} is a decoder, which must be the last stage")
        inside = build(stages[:-1]) if stages[:-1] else Expression.built_in(WITHOUT)
        decoder: type[Decoder] = classes[-1]
        return cls(inside, make(decoder, *stages[-1]))

    @property
    def stages(self) -> tuple[Sampler | Decoder, ...]:
        """The stages of its expression, which omits the model's own distribution."""
        if self.decoder is None:
            return self.sampler.stages
        alone = self.sampler == Expression.built_in(WITHOUT)
        return (self.decoder,) if alone else (*self.sampler.stages, self.decoder)

    @property
    def temperature(self) -> float | None:
        """The one temperature that it applies to every row; None if there is none.

        It is 0 for greedy, 1 where the logits stay as they are, infinity for the uniform
        distribution.

        Example:
            >>> names = "greedy", "stochastic", "uniform", "top_k(k=40)"
            >>> [Strategy.of(name).temperature for name in names]
            [0.0, 1.0, inf, None]
        """
        if self.decoder is not None or {stage.kind for stage in self.sampler.stages} - {
            "temperature"
        }:
            return None
        # Unequal gaps in both directions: only a division keeps all their ratios.
        rows = np.array([[0.0, 1.0, 3.0, -2.0], [5.0, 1.0, 4.0, 4.5]])
        result = result_on(self.sampler, rows)
        if result is None:
            return None
        if ((result > -np.inf).sum(axis=-1) == 1).all():
            return 0.0
        if not np.isfinite(result).all():
            return None
        ratios = (np.diff(result) / np.diff(rows)).ravel()  # 1 / t, between any two tokens
        if ratios[0] < 0 or not np.allclose(ratios, ratios[0], rtol=1e-6, atol=0):
            return None
        # Twelve digits, so that a note says 0.66 and not 0.6600000000000001.
        return float(f"{1 / ratios[0]:.12g}") if ratios[0] else math.inf

    def __str__(self) -> str:
        return " | ".join(map(str, self.stages))

    def __reduce__(self) -> tuple[Any, ...]:
        return Strategy.of, (str(self),)


def result_on(sampler: Sampler, rows: Array) -> Array | None:
    """Apply a sampler to rows of logits; return None if it reads the past or fails."""
    declared = [stage.reads for stage in sampler.stages if stage.reads != Sampler.reads]
    if frozenset().union(*declared) - {"vocabulary"}:
        return None
    # A stage that declares nothing may read the past: two lengths show if it does.
    silent = len(declared) < len(sampler.stages)
    try:
        with np.errstate(all="ignore"):  # a warning about the probes would puzzle users
            lengths = (0, 5) if silent else (0,)
            # A past whose tokens are all id 0, each drawn with a surprisal of 9 nats.
            nats = [np.full((len(rows), n), 9.0) for n in lengths]
            pasts = [Context(np.zeros(x.shape, dtype=np.int64), x, x, 0) for x in nats]
            results = [apply(sampler, rows, past) for past in pasts]
    except (SamplerError, UsageError):
        return None
    return results[0] if np.array_equal(results[0], results[-1]) else None
