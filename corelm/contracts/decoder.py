"""The second contract: a decoder turns next-token distributions into texts.

`corelm.Ancestral`, the ordinary decoder, is a plugin like any other: it computes the next
distribution, draws one token for each row, and repeats.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar

from corelm.contracts.params import Parameterized

if TYPE_CHECKING:
    from corelm.contracts.step import Step
    from corelm.decoding.state import DecodingTask


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
