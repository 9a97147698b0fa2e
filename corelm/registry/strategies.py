"""Read expressions that may end in a decoder, such as `top_k(k=20) | beam(width=4)`."""

from __future__ import annotations

from typing import Any, NamedTuple

from corelm.decoder import Decoder
from corelm.errors import ExpressionError
from corelm.probing import temperature_of
from corelm.registry.expressions import build, built_in, make, read_stages
from corelm.registry.registry import registry
from corelm.sampling import Sampler

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
            return cls(built_in(WITHOUT), expression)
        if isinstance(expression, Sampler):
            return cls(expression)
        stages = read_stages(expression)
        classes = [registry().find_any(KINDS, name).value for name, _, _ in stages]
        decoders = [issubclass(cls, Decoder) for cls in classes]
        if not any(decoders):
            return cls(build(stages))
        # A decoder draws tokens; it returns no distribution that another stage could change.
        if any(decoders[:-1]):
            name = stages[decoders.index(True)][0]
            raise ExpressionError(f"{name} is a decoder, which must be the last stage")
        inside = build(stages[:-1]) if stages[:-1] else built_in(WITHOUT)
        decoder: type[Decoder] = classes[-1]
        return cls(inside, make(decoder, *stages[-1]))

    @property
    def stages(self) -> tuple[Sampler | Decoder, ...]:
        """The stages of its expression, which omits the model's own distribution."""
        if self.decoder is None:
            return self.sampler.stages
        alone = self.sampler == built_in(WITHOUT)
        return (self.decoder,) if alone else (*self.sampler.stages, self.decoder)

    @property
    def temperature(self) -> float | None:
        """The one temperature that it applies to every row; None if there is none.

        It is 0 for greedy, 1 where the logits stay as they are, and infinity for the uniform
        distribution.

        Example:
            >>> Strategy.of("temperature(t=0.33) | temperature(t=2)").temperature
            0.66
        """
        return None if self.decoder is not None else temperature_of(self.sampler)

    def __str__(self) -> str:
        return " | ".join(map(str, self.stages))

    def __reduce__(self) -> tuple[Any, ...]:
        return Strategy.of, (str(self),)
