"""llama.cpp in this process: llama-cpp-python's `create_completion`."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import llama_cpp
import numpy as np
from numpy.typing import NDArray

import corelm
from corelm_probe.engine import STRIDE, Engine, EngineError, Settings, padded
from corelm_probe.models import CONTEXT_LENGTH, MODELS

TEXT = MODELS["flat"]
WINDOW = 64
"""The window of its penalties, which is an argument of the model with this default."""


class LlamaCppEngine(Engine):
    """A GGUF file in llama-cpp-python. Settings that its function lacks must be off."""

    format: str | None = "llama.cpp"
    reports_logprobs = True

    def __init__(self, path: str) -> None:
        self.name = f"llama-cpp-python {llama_cpp.__version__}"
        self._path = path
        self._llm: Any = self._opened()
        self._keys = set(inspect.signature(self._llm.create_completion).parameters)
        self._off = corelm.to_settings("stochastic", "llama.cpp") | {"repeat_last_n": WINDOW}

    def draw(
        self, prompt: Sequence[int], settings: Settings, n: int, seed: int, length: int
    ) -> NDArray[np.int64]:
        seeds = range(seed * STRIDE, seed * STRIDE + n)
        texts = [self._complete(self._llm, prompt, settings, each, length)[0] for each in seeds]
        return padded(texts, length)

    def logprobs(
        self, prompt: Sequence[int], settings: Settings, seed: int, length: int
    ) -> tuple[list[int], list[float]]:
        # For this it keeps the logits of all tokens, which makes every draw slower.
        llm = self._opened(logits_all=True)
        text, choice = self._complete(llm, prompt, settings, seed, length, logprobs=1)
        llm.close()
        return text, [float(p) for p in choice["logprobs"]["token_logprobs"]]

    def _opened(self, **options: Any) -> Any:
        return llama_cpp.Llama(
            self._path, n_ctx=CONTEXT_LENGTH, n_threads=1, verbose=False, **options
        )

    def _complete(
        self,
        llm: Any,
        prompt: Sequence[int],
        settings: Settings,
        seed: int,
        length: int,
        **options: Any,
    ) -> tuple[list[int], Any]:
        answer = llm.create_completion(
            [*prompt], max_tokens=length, seed=seed, **self._accepted(settings), **options
        )
        choice = answer["choices"][0]
        return TEXT.encode(choice["text"]), choice

    def _accepted(self, settings: Settings) -> dict[str, Any]:
        """Return the settings that the function takes; raise if another setting is on."""
        others = {key: value for key, value in settings.items() if key not in self._keys}
        for key, value in others.items():
            if value != self._off.get(key):
                raise EngineError(f"llama-cpp-python has no setting {key}, so it cannot be {value}")
        return {key: value for key, value in settings.items() if key in self._keys}
