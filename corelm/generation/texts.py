"""Texts to write: a prompt, a sampler, and everything but the model that decides their words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from corelm.decoding.step import Step
from corelm.generation.endings import Endings
from corelm.generation.generate import OpenTexts, batches, steps
from corelm.language_model import LanguageModel
from corelm.plugins.strategies import Strategy


@dataclass(frozen=True)
class Texts:
    """The texts to write.

    Attributes:
        prompt: the beginning of all texts.
        strategy: the sampler and the decoder.
        length: tokens to draw for each text, at most.
        n: the number of texts.
        seed: the random seed.
        endings: what ends a text before its end token and its length.
        unknown: True to allow [UNK] to be sampled.
    """

    prompt: str
    strategy: Strategy
    length: int
    n: int
    seed: int
    endings: Endings
    unknown: bool = False

    def open(
        self, model: LanguageModel, samples: Sequence[int], measured: bool = False
    ) -> OpenTexts:
        """Return the texts of some samples, which have not begun.

        Args:
            model: the language model.
            samples: their indices.
            measured: keep a `TokenRecord` for each token; computing its entropies takes time.
        """
        return OpenTexts(
            model, self.prompt, samples, seed=self.seed, length=self.length,
            sampler=self.strategy.sampler,
            endings=self.endings, measured=measured,
        )  # fmt: skip

    def steps(self, model: LanguageModel, samples: Sequence[int]) -> Iterator[Step]:
        """Yield the steps of some samples."""
        return steps(
            model, self.prompt, sampler=self.strategy.sampler, length=self.length,
            samples=samples, seed=self.seed, decoder=self.strategy.decoder, unknown=self.unknown,
        )  # fmt: skip

    def batches(self, prompts: Sequence[str]) -> Iterator[list[tuple[Texts, range]]]:
        """Yield n texts of each of several prompts, one prompt after the other, in batches.

        A batch has the texts of each prompt with the samples of these.

        Args:
            prompts: the prompts, instead of the own one.

        Example:
            >>> from corelm.plugins.strategies import strategy
            >>> texts = Texts("", strategy("greedy"), 3, 50, 1, Endings())
            >>> for batch in texts.batches(["the", "a"]):
            ...     print([(part.prompt, samples) for part, samples in batch])
            [('the', range(0, 50)), ('a', range(0, 14))]
            [('a', range(14, 50))]
        """
        of_prompts, n = [replace(self, prompt=prompt) for prompt in prompts], self.n
        for numbers in batches(len(prompts) * n):
            parts = range(numbers.start // n, (numbers.stop - 1) // n + 1)
            yield [
                (
                    of_prompts[i],
                    range(max(numbers.start - i * n, 0), min(numbers.stop - i * n, n)),
                )
                for i in parts
            ]
