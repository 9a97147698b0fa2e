"""A corelm sampler for `causal_lm.compile(sampler=...)`."""

from __future__ import annotations

from typing import Any

import keras
import keras_hub
from keras import ops

import corelm
from corelm import Sampler
from corelm.interop import EngineSampler
from corelm_keras_hub.backends import not_converted
from corelm_keras_hub.steps import Step, make_step
from corelm_keras_hub.vocabulary import vocabulary_of


def as_sampler(sampler: Sampler | str, *, seed: int | None = None) -> CorelmSampler:
    """Return a corelm sampler for `causal_lm.compile(sampler=...)`.

    Without a seed, KerasHub draws from the sampler's distribution with a seed generator of its
    own. With a seed, the texts are the same as from `corelm.generate` with that seed: row i of the
    batch is sample i.

    Args:
        sampler: a sampler, a registered name or an expression.
        seed: decides the random numbers; None leaves the draw to KerasHub.

    Raises:
        UnknownNameError: no sampler of that name.
        UsageError: a seed that is not a whole number of at least 0.

    Example:
        >>> as_sampler("top_k(k=50) | temperature(t=0.8)", seed=1).sampler
        top_k(k=50) | temperature(t=0.8)
    """
    return CorelmSampler(sampler, seed)


@keras.saving.register_keras_serializable(package="corelm")
class CorelmSampler(keras_hub.samplers.RandomSampler):
    """A KerasHub sampler that draws from the distribution of a corelm sampler.

    KerasHub's loop passes probabilities only to `get_next_token`; logits and tokens appear in the
    function `next`, which this class wraps.

    Args:
        sampler: a sampler, a registered name or an expression.
        seed: decides the random numbers; None leaves the draw to KerasHub.

    Attributes:
        sampler: the corelm sampler.
    """

    def __init__(self, sampler: Sampler | str, seed: int | None = None) -> None:
        super().__init__()
        EngineSampler(sampler, seed=seed)  # raises for a bad seed
        self.sampler = corelm.sampler(sampler)
        self.seed = seed

    @not_converted
    def __call__(
        self,
        next: Any,
        prompt: Any,
        index: Any = 0,
        mask: Any = None,
        stop_token_ids: Any = None,
        model: Any = None,
        **options: Any,
    ) -> Any:
        """Generate tokens after the prompts; the interface of every KerasHub sampler."""
        step = self._step(prompt, index, mask, stop_token_ids, model)

        def next_of_sampler(prompt: Any, cache: Any, index: Any) -> tuple[Any, Any, Any]:
            logits, hidden, cache = next(prompt, cache, index)
            return step(ops.cast(logits, "float32"), prompt, index), hidden, cache

        return super().__call__(
            next_of_sampler,
            prompt=prompt,
            index=index,
            mask=mask,
            stop_token_ids=stop_token_ids,
            model=model,
            **options,
        )

    def get_next_token(self, probabilities: Any) -> Any:
        """Return the token drawn already, or draw one with KerasHub's seed generator."""
        if self.seed is None:
            return super().get_next_token(probabilities)
        return ops.argmax(probabilities, axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this sampler, for KerasHub to save."""
        return {"sampler": repr(self.sampler), "seed": self.seed}

    def _step(self, prompt: Any, index: Any, mask: Any, stop: Any, model: Any) -> Step:
        preprocessor = getattr(model, "preprocessor", None)
        stop = tuple(stop or ())  # KerasHub names the ids of each generation
        vocabulary = preprocessor and vocabulary_of(preprocessor, model.output_shape[-1], stop)
        engine = EngineSampler(self.sampler, seed=self.seed, vocabulary=vocabulary)
        if mask is None:  # every row is filled up to the index
            mask = ops.broadcast_to(ops.arange(ops.shape(prompt)[1]) < index, ops.shape(prompt))
        lengths = ops.sum(ops.cast(mask, "int32"), axis=-1)
        return make_step(engine, self.seed, prompt, lengths, stop, model)
