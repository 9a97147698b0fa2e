"""The second contract: a decoder turns next-token distributions into texts.

`corelm.Ancestral`, the ordinary decoder, is a plugin like any other: it computes the next
distribution, draws one token for each row, and repeats.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from corelm.decoding.random_stream import RandomStream
from corelm.decoding.state import Decoding
from corelm.decoding.step import Step
from corelm.language_model import LanguageModel
from corelm.params import Parameterized
from corelm.sampler import Sampler


@dataclass(frozen=True)
class DecodingTask:
    """The input of a decoder.

    Attributes:
        model: the language model.
        prompt: (time,) token ids that every sample begins with.
        sampler: the sampler or chain.
        random_stream: the uniform numbers, one for each sample and position; its length is the
            number of samples.
        length: the largest number of tokens to draw for each sample.
        unknown: allow [UNK] to be sampled.
    """

    model: LanguageModel
    prompt: NDArray[np.int64]
    sampler: Sampler
    random_stream: RandomStream
    length: int
    unknown: bool = False

    def start(self) -> Decoding:
        """Read the prompt once, fork it for every sample, and return the decoding state."""
        return Decoding(
            self.model,
            self.prompt,
            self.sampler,
            self.random_stream,
            self.length,
            unknown=self.unknown,
        )

    def with_samples(self, samples: Sequence[int]) -> DecodingTask:
        """Return the same task for other samples of the run.

        Args:
            samples: indices; each decides the random numbers of one text, with the seed.
        """
        return replace(self, random_stream=self.random_stream.with_samples(samples))

    def replay(self, texts: Sequence[Sequence[int]]) -> Iterator[Step]:
        """Yield the steps of texts whose tokens are known.

        For decoders that search before they yield a step.

        Args:
            texts: the token ids of each sample; none for a sample without a text.
        """
        length = max(map(len, texts), default=0)
        if length == 0:
            return
        text_of = dict(zip(self.random_stream.samples, texts, strict=True))
        decoding = self.start()
        for position in range(length):
            # The texts differ in length: a row is dropped when its text has ended.
            decoding.select(np.array([position < len(text_of[s]) for s in decoding.samples]))
            tokens = np.array([text_of[s][position] for s in decoding.samples])
            decoding.next()  # the distributions that the step reports
            step = decoding.step(tokens)
            if position + 1 < length:
                decoding.advance(tokens)
            yield step

    def __bool__(self) -> bool:
        """True if there is a token to draw."""
        return self.length > 0 and len(self.random_stream) > 0


class Decoder(Parameterized, ABC):
    """A way to write texts from next-token distributions. A frozen dataclass, like a sampler."""

    is_ancestral: ClassVar[bool] = False
    """True if each text by itself is distributed as with ancestral sampling: a law checks it."""

    is_deterministic: ClassVar[bool] = False
    """True if it uses no random numbers: a law checks it. A report then keeps only its first text
    of each prompt."""

    @abstractmethod
    def __call__(self, task: DecodingTask) -> Iterator[Step]:
        """Yield the steps of the samples, position by position.

        A sample ends with its end token or after `task.length` tokens; later steps no longer have
        its row. All randomness comes from `task.random_stream`.
        """

    def next_tokens(self, task: DecodingTask) -> Mapping[int, float] | None:
        """Return the candidates for the first token after the prompt, for explanations.

        Each has its score, the best one first. None if the decoder has no such candidates.
        """
        return None
