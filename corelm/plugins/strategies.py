"""Read expressions that may end in a decoder, such as `top_k(k=20) | beam(width=4)`."""

from __future__ import annotations

from typing import NamedTuple

from corelm.decoder import Decoder
from corelm.errors import ExpressionError
from corelm.plugins.expressions import Written, build, built_in, make, read_stages
from corelm.plugins.expressions import sampler as read_sampler
from corelm.plugins.registry import registry
from corelm.sampler import Sampler

KINDS = ("corelm_samplers", "corelm_decoders")
WITHOUT = "stochastic"
"""The sampler of a decoder without one: the model's own distribution."""


class Strategy(NamedTuple):
    """A sampler, and the decoder around it; None for ancestral sampling."""

    sampler: Sampler
    decoder: Decoder | None = None

    @property
    def stages(self) -> tuple[Sampler | Decoder, ...]:
        """Its stages as its expression has them: the model's own distribution goes unsaid."""
        if self.decoder is None:
            return self.sampler.stages
        alone = self.sampler == built_in(WITHOUT)
        return (self.decoder,) if alone else (*self.sampler.stages, self.decoder)

    def __str__(self) -> str:
        return " | ".join(map(str, self.stages))


def strategy(expression: str | Sampler | Decoder) -> Strategy:
    """Return the strategy of an expression whose last stage may be a decoder.

    Args:
        expression: a name such as `beam`, or an expression such as `top_k(k=20) | beam(width=4)`;
            without a sampler, a decoder gets the model's own distribution. Samplers and decoders
            may be given as values too.

    Raises:
        UnknownNameError, AmbiguousNameError: no such sampler or decoder, or several.
        ParameterError: a parameter that it does not have, or a value outside its rule.
        ExpressionError: an expression that cannot be read, or a decoder that is not its last stage.

    Example:
        >>> strategy("top_k(k=20) | ancestral").sampler
        TopK(k=20)
        >>> str(strategy("ancestral")), strategy("greedy").decoder
        ('ancestral', None)
    """
    if isinstance(expression, Decoder):
        return Strategy(built_in(WITHOUT), expression)
    if isinstance(expression, Sampler):
        return Strategy(expression)
    stages = read_stages(expression)
    classes = [registry().find_any(KINDS, name).value for name, _, _ in stages]
    decoders = [issubclass(cls, Decoder) for cls in classes]
    if not any(decoders):
        return Strategy(read_sampler(expression))
    if any(decoders[:-1]):
        name = stages[decoders.index(True)][0]
        raise ExpressionError(f"{name} is a decoder, which must be the last stage")
    inside = build(stages[:-1]) if stages[:-1] else built_in(WITHOUT)
    return Strategy(inside, _decoder(classes[-1], stages[-1]))


def _decoder(cls: type[Decoder], written: Written) -> Decoder:
    decoder: Decoder = make(cls, *written)
    return decoder
