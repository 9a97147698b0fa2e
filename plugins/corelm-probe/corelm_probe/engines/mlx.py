"""mlx-lm in this process: `generate_step` with its samplers and processors."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import mlx.core as mx
import mlx_lm
import numpy as np
from mlx_lm.generate import generate_step
from mlx_lm.sample_utils import make_logits_processors, make_sampler
from numpy.typing import NDArray

from corelm_probe.engine import Engine, Settings

KEYS = "top_p", "min_p", "top_k", "xtc_probability", "xtc_threshold"
SAMPLER = {"temperature": "temp"} | {key: key for key in KEYS}
"""The argument of `make_sampler` for a key of a request; other keys go to the processors."""


class MlxEngine(Engine):
    """A model's folder in mlx-lm, with its server's defaults."""

    format: str | None = "mlx-lm"
    reports_logprobs = True

    def __init__(self, folder: str) -> None:
        self.name = f"mlx-lm {version('mlx-lm')}"
        self._model: Any = mlx_lm.load(folder)[0]

    def draw(
        self, prompt: Sequence[int], settings: Settings, n: int, seed: int, length: int
    ) -> NDArray[np.int64]:
        mx.random.seed(seed)
        return np.array([self._text(prompt, settings, length)[0] for _ in range(n)])

    def logprobs(
        self, prompt: Sequence[int], settings: Settings, seed: int, length: int
    ) -> tuple[list[int], list[float]]:
        mx.random.seed(seed)
        return self._text(prompt, settings, length)

    def _text(
        self, prompt: Sequence[int], settings: Settings, length: int
    ) -> tuple[list[int], list[float]]:
        own = {SAMPLER[key]: value for key, value in settings.items() if key in SAMPLER}
        rest = {k: v for k, v in settings.items() if k not in SAMPLER}
        steps = generate_step(
            mx.array([*prompt]),
            self._model,
            max_tokens=length,
            sampler=make_sampler(**{"temp": 0.0} | own),
            logits_processors=make_logits_processors(**rest),
        )
        pairs = [(int(token), float(logprobs[int(token)])) for token, logprobs in steps]
        tokens, logprobs = zip(*pairs, strict=True)
        return list(tokens), list(logprobs)
