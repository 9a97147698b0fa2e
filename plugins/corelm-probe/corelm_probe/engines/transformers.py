"""transformers in this process: `generate` with the keys of a generation_config.json."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from corelm_probe.engine import Engine, Settings, padded

BATCH = 512
LOOKUP = "prompt_lookup_num_tokens"
"""The setting of speculative decoding, in which `generate` takes one text at a time."""


class TransformersEngine(Engine):
    """A model's folder in `generate`.

    The seed is torch's, one for all rows of a batch.
    """

    format: str | None = "transformers"
    reports_logprobs = True

    def __init__(self, folder: str) -> None:
        self.name = f"transformers {transformers.__version__}"
        self._model: Any = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, local_files_only=True
        )
        self._model.eval()

    def draw(
        self, prompt: Sequence[int], settings: Settings, n: int, seed: int, length: int
    ) -> NDArray[np.int64]:
        torch.manual_seed(seed)
        size = 1 if LOOKUP in settings else BATCH
        parts = [
            self._generate([prompt] * min(size, n - first), settings, length)
            for first in range(0, n, size)
        ]
        return np.concatenate(parts)

    def draw_batch(
        self, prompts: Sequence[Sequence[int]], settings: Settings, seed: int, length: int
    ) -> NDArray[np.int64]:
        if LOOKUP in settings:
            return np.asarray(super().draw_batch(prompts, settings, seed, length))
        torch.manual_seed(seed)
        return self._generate(prompts, settings, length)

    def logprobs(
        self, prompt: Sequence[int], settings: Settings, seed: int, length: int
    ) -> tuple[list[int], list[float]]:
        """Return the ids of one text, and its log-probabilities by `compute_transition_scores`."""
        torch.manual_seed(seed)
        out = self._call([prompt], settings, length, output_scores=True)
        scores = self._model.compute_transition_scores(
            out.sequences, out.scores, normalize_logits=True
        )
        return out.sequences[0, len(prompt) :].tolist(), scores[0].tolist()

    def _generate(
        self, prompts: Sequence[Sequence[int]], settings: Settings, length: int
    ) -> NDArray[np.int64]:
        sequences = self._call(prompts, settings, length).sequences
        return padded(sequences[:, len(prompts[0]) :].tolist(), length)

    def _call(
        self, prompts: Sequence[Sequence[int]], settings: Settings, length: int, **options: Any
    ) -> Any:
        ids = torch.tensor([[*prompt] for prompt in prompts])
        own = {key: value for key, value in settings.items() if value is not None}
        with torch.inference_mode():
            return self._model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=length,
                pad_token_id=0,
                return_dict_in_generate=True,
                **own,
                **options,
            )
