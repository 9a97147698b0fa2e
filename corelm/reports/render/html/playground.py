"""The one distribution of a report on which a reader of the page tries samplers."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from corelm import softmax
from corelm.errors import ReportError
from corelm.filters import entropy_of_logits
from corelm.reports.document.numbers import share
from corelm.reports.render.html.texts import shown

BARS = 20
"""The number of likeliest tokens that have a bar."""


@dataclass(frozen=True)
class Bar:
    """One token: its text, its probability, its bar's length in percent of the longest."""

    word: str
    p: str
    length: float


@dataclass(frozen=True)
class Playground:
    """A distribution as the page shows it before the script changes it.

    Attributes:
        prompt: the text that the next token follows.
        logits: those of all tokens that can be drawn, in falling order, as float32 in base64.
        size: the number of those tokens.
        bars: the likeliest tokens.
        entropy: in nats.
    """

    prompt: str
    logits: str
    size: int
    bars: Sequence[Bar]
    entropy: float

    @property
    def greatest(self) -> float:
        """The largest possible entropy: that of equally likely tokens."""
        return math.log(self.size)

    def place(self, entropy: float) -> float:
        """Return the position of an entropy between 0 and the largest one, in percent."""
        return round(min(100 * entropy / self.greatest, 100), 1) if self.size > 1 else 0.0


def playground(document: Mapping[str, Any]) -> Playground | None:
    """Return the distribution to try samplers on, or None if the report has none.

    Raises:
        ReportError: its logits cannot be read.
    """
    content = document.get("try_it")
    if not content:
        return None
    logits = _logits(content["logits"])
    p = softmax(logits.astype(np.float64))
    words = content["words"][: min(BARS, len(logits))]
    bars = [
        Bar(shown(word), share(float(p[i])), round(float(100 * p[i] / p[0]), 1))
        for i, word in enumerate(words)
    ]
    entropy = float(entropy_of_logits(logits))
    return Playground(content["prompt"], content["logits"], len(logits), bars, entropy)


def _logits(encoded: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Decode the logits, which must be finite and must not rise."""
    try:
        logits = np.frombuffer(base64.b64decode(encoded, validate=True), "<f4")
    except (binascii.Error, ValueError) as error:
        raise ReportError(
            f"try_it.logits of the report: expected float32 in base64: {error}"
        ) from error
    if not len(logits) or not np.isfinite(logits).all() or (np.diff(logits) > 0).any():
        raise ReportError(
            "try_it.logits of the report: expected finite numbers in falling order, at least one"
        )
    return logits
