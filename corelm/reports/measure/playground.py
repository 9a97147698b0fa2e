"""One next-token distribution, on which the reader of a page tries samplers."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from corelm import LanguageModel, explain
from corelm.toolkit import END, built_in

WORDS = 40
"""The number of likeliest tokens whose text is kept."""
LEAST = -1e30
"""A logit with probability 0 that float32 can still hold."""


def try_it(model: LanguageModel, prompt: str) -> dict[str, Any]:
    """Return the model's logits after a prompt: the part `try_it` of a report.

    Returns:
        `prompt`; `logits`, those of the tokens that can be drawn, in falling order, less the
        largest, as little-endian float32 in base64; `words`, the text that each of the likeliest
        tokens would add.

    Example:
        >>> from corelm.testing import ToyModel
        >>> found = try_it(ToyModel(), "the")
        >>> found["words"][:2], len(np.frombuffer(base64.b64decode(found["logits"]), "<f4"))
        ([' cat', ' dog'], 11)
    """
    explanation = explain(model, prompt, built_in("stochastic"))
    stage = explanation.stages[0]
    logits = stage.logits[stage.ranked_tokens].astype(np.float64)
    below = np.maximum(logits - logits[0], LEAST)
    ends = model.vocabulary.ends
    words = [
        END if token in ends else explanation.text_of(token)
        for token in stage.ranked_tokens[:WORDS].tolist()
    ]
    return {
        "prompt": prompt,
        "logits": base64.b64encode(below.astype("<f4").tobytes()).decode("ascii"),
        "words": words,
    }
