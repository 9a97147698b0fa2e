"""The one distribution of a report that a reader of its page tries samplers on."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from corelm.errors import ReportError
from corelm.numerics.distributions import entropy_of_logits, softmax
from corelm.report.document.numbers import share
from corelm.report.render.html.texts import shown

BARS = 20
"""How many of the likeliest tokens have a bar."""


@dataclass(frozen=True)
class Bar:
    """One token: its text, its probability, and the length of its bar in percent of the longest."""

    word: str
    p: str
    length: float


@dataclass(frozen=True)
class Playground:
    """A distribution, as the page has it before a script changes it.

    Attributes:
        prompt: what the token follows.
        logits: of all tokens that can be drawn, falling, as float32 in base64.
        size: how many tokens those are.
        bars: the likeliest ones.
        entropy: in nats.
    """

    prompt: str
    logits: str
    size: int
    bars: Sequence[Bar]
    entropy: float

    @property
    def greatest(self) -> float:
        """The largest entropy there can be: that of all tokens being equally likely."""
        return math.log(self.size)

    def place(self, entropy: float) -> float:
        """Where an entropy lies between 0 and the largest, in percent."""
        return round(min(100 * entropy / self.greatest, 100), 1) if self.size > 1 else 0.0


def playground(document: Mapping[str, Any]) -> Playground | None:
    """The distribution to try samplers on; None where the report has none.

    Raises:
        ReportError: logits that are no numbers.
    """
    given = document.get("try_it")
    if not given:
        return None
    logits = _logits(given["logits"])
    p = softmax(logits.astype(np.float64))
    words = given["words"][: min(BARS, len(logits))]
    bars = [
        Bar(shown(word), share(float(p[i])), round(float(100 * p[i] / p[0]), 1))
        for i, word in enumerate(words)
    ]
    entropy = float(entropy_of_logits(logits))
    return Playground(given["prompt"], given["logits"], len(logits), bars, entropy)


def _logits(encoded: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The logits, which are finite and fall."""
    try:
        logits = np.frombuffer(base64.b64decode(encoded, validate=True), "<f4")
    except (binascii.Error, ValueError) as error:
        raise ReportError(
            f"try_it.logits of the report is no base64 of float32: {error}"
        ) from error
    if not len(logits) or not np.isfinite(logits).all() or (np.diff(logits) > 0).any():
        raise ReportError("try_it.logits of the report must be finite numbers that fall")
    return logits
