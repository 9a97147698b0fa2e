"""KerasHub in this process: `generate` of a GPT2CausalLM with its own samplers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras_hub
import numpy as np
from numpy.typing import NDArray

import corelm
from corelm_probe.engine import Engine, EngineError, Settings

BATCH = 256


class KerasHubEngine(Engine):
    """A model's folder in KerasHub, on the backend of KERAS_BACKEND.

    Its settings are a chain: a temperature, perhaps followed by `top_k` or `top_p`, as in
    KerasHub's samplers.
    """

    format: str | None = None

    def __init__(self, folder: str) -> None:
        self.name = f"KerasHub {keras_hub.__version__}"
        self._model: Any = keras_hub.models.GPT2CausalLM.from_preset(folder, dtype="float32")
        self._model.preprocessor = None  # ids in, ids out: no preprocessor
        self._chain = ""

    def draw(
        self, prompt: Sequence[int], settings: Settings, n: int, seed: int, length: int
    ) -> NDArray[np.int64]:
        self._begin(settings["sampler"], seed)
        rows = [[*prompt]] * n
        parts = [self._generate(rows[i : i + BATCH], length) for i in range(0, n, BATCH)]
        return np.concatenate(parts)

    def draw_batch(
        self, prompts: Sequence[Sequence[int]], settings: Settings, seed: int, length: int
    ) -> NDArray[np.int64]:
        self._begin(settings["sampler"], seed)
        return self._generate([[*prompt] for prompt in prompts], length)

    def _begin(self, chain: str, seed: int) -> None:
        """Let the sampler of a chain begin with a seed.

        KerasHub would compile its loop once more for a new sampler, so the same one is kept.
        """
        if chain != self._chain:
            self._model.compile(sampler=sampler_of(corelm.sampler(chain), seed))
            self._chain = chain
        self._model.sampler.seed_generator.state.assign(np.array([seed, 0], dtype="uint32"))

    def _generate(self, rows: Sequence[Sequence[int]], length: int) -> NDArray[np.int64]:
        start = len(rows[0])
        ids = np.zeros((len(rows), start + length), dtype="int32")
        ids[:, :start] = rows
        mask = np.zeros_like(ids)
        mask[:, :start] = 1
        inputs = {"token_ids": ids, "padding_mask": mask}
        out = self._model.generate(inputs, stop_token_ids=None)
        return np.asarray(out["token_ids"], dtype=np.int64)[:, start:]


def sampler_of(chain: corelm.Sampler, seed: int) -> Any:
    """Return the KerasHub sampler for a chain.

    Raises:
        EngineError: KerasHub has no such sampler.
    """
    stages: list[Any] = [*chain.active_stages]
    options = {"seed": seed}
    if stages and type(stages[0]).__name__ == "Temperature":
        options["temperature"] = stages.pop(0).t
    names = [type(stage).__name__ for stage in stages]
    if not names:
        return keras_hub.samplers.RandomSampler(**options)
    if names == ["TopK"]:
        return keras_hub.samplers.TopKSampler(k=stages[0].k, **options)
    if names == ["TopP"]:
        return keras_hub.samplers.TopPSampler(p=stages[0].p, **options)
    raise EngineError(f"KerasHub has no sampler {chain}")
