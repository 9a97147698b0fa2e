"""One next-token distribution, for the reader of a page to try samplers on."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from corelm.generation.explain import explain
from corelm.language_model import LanguageModel
from corelm.model.vocabulary import END
from corelm.plugins.expressions import built_in

WORDS = 40
"""The likeliest tokens, that have their text."""
LEAST = -1e30
"""A logit so far below the largest that its probability is 0, which float32 still holds."""


def try_it(model: LanguageModel, prompt: str) -> dict[str, Any]:
    """The logits after a prompt.

    Returns:
        `prompt`; `logits`, those of the tokens that can be drawn in falling order, less the
        largest, as float32 in little-endian bytes in base64; `words`, what the likeliest of them
        add to the text.

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
    end = model.vocabulary.end
    words = [
        END if token == end else explanation.text_of(token)
        for token in stage.ranked_tokens[:WORDS].tolist()
    ]
    return {
        "prompt": prompt,
        "logits": base64.b64encode(below.astype("<f4").tobytes()).decode("ascii"),
        "words": words,
    }
