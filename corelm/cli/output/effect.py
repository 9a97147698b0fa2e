"""Show a sampler on a small distribution: bars before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from corelm.contracts.chain_stages import apply
from corelm.contracts.context import Context
from corelm.contracts.sampling import Sampler
from corelm.numerics.distributions import entropy, softmax

WORDS = ("good", "great", "bad", "funny", "long", "slow", "dull", "[end]")
BEFORE = np.array([0.36, 0.22, 0.14, 0.10, 0.07, 0.05, 0.04, 0.02])
HISTORY = (0, 0)
"""The words of the text so far, for samplers that depend on it."""


class _ExampleVocabulary:
    """The words of the example, for samplers that use words, their text or the end token."""

    padding = unknown = start = None
    ends = (len(WORDS) - 1,)

    def __len__(self) -> int:
        return len(WORDS)

    def encode(self, text: str) -> list[int]:
        return [WORDS.index(word) for word in text.split() if word in WORDS]

    def decode(self, ids: Sequence[int]) -> str:
        return " ".join(WORDS[i] for i in ids)

    def token_bytes(self, token: int) -> bytes:
        return b"" if token in self.ends else f" {WORDS[token]}".encode()


@dataclass(frozen=True)
class Effect:
    """The example before and after a sampler.

    Attributes:
        sampler: the sampler.
        after: the distribution that it draws from.
        seen: the earlier words, if the sampler depends on them.
    """

    sampler: Sampler
    after: Any
    seen: tuple[str, ...]

    @classmethod
    def of(cls, sampler: Sampler) -> Effect:
        """Apply a sampler to the example.

        Raises:
            SamplerError: it failed.
        """
        # Two contexts show if the text so far matters: `reads` may declare more than is used.
        alone, after = _distribution(sampler, ()), _distribution(sampler, HISTORY)
        history: tuple[int, ...] = HISTORY
        if np.allclose(alone, after) and np.allclose(alone, BEFORE):
            history *= 2  # a loop of phrases
            after = _distribution(sampler, history)
        seen = () if np.array_equal(alone, after) else tuple(WORDS[i] for i in history)
        return cls(sampler, after, seen)

    def as_json(self) -> dict[str, Any]:
        """Return probabilities by word, and entropies in nats."""
        return {
            "sampler": str(self.sampler),
            "seen": self.seen,
            "before": dict(zip(WORDS, BEFORE.tolist(), strict=True)),
            "after": dict(zip(WORDS, self.after.tolist(), strict=True)),
            "entropy_before": float(entropy(BEFORE)),
            "entropy_after": float(entropy(self.after)),
        }

    def bars(self, width: int, unicode: bool = True) -> RenderableType:
        """Return a table of bars.

        Args:
            width: the number of characters in a line.
            unicode: draw with block characters.
        """
        room = max((width - 22) // 2, 4)
        table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, show_footer=True)
        table.add_column("", "entropy")
        for title, values in (("before", BEFORE), ("after", self.after)):
            table.add_column(
                title, f"{float(entropy(values)):.2f} nats", width=room + 5, no_wrap=True
            )
        for word, *pair in zip(WORDS, BEFORE, self.after, strict=True):
            table.add_row(word, *(_bar(p, room, unicode) for p in pair))
        if not self.seen:
            return table
        return Group(table, Text(f"after the text: {' '.join(self.seen)}", style="dim"))


def _distribution(sampler: Sampler, tokens: tuple[int, ...]) -> Any:
    """Apply the sampler to the example after some tokens."""
    context = Context.of(tokens, prompt_length=0, vocabulary=_ExampleVocabulary())
    return softmax(apply(sampler, np.log(BEFORE)[None], context))[0]


def _bar(probability: float, room: int, unicode: bool) -> Text:
    bar = ("█" if unicode else "#") * round(probability * room)
    return Text(f"{probability:4.0%} ").append(bar, style="cyan")
