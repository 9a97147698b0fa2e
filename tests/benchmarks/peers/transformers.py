"""transformers on CPU torch."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import transformers

from corelm.models.export.transformers import files
from peers import gpt2
from peers.peer import IDS, TEMPERATURE, Peer

GENERATE, LOOP = "generate", "a loop of one's own"


class Transformers(Peer):
    """GPT2LMHeadModel, with a key/value cache that grows, which is what `generate` takes.

    `generate` does much in each step; a loop that calls the model and draws does not.
    """

    def __init__(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for name, content in files(gpt2.bundle(), gpt2.vocabulary()).items():
                (Path(folder) / name).write_bytes(content)
            self._model = transformers.GPT2LMHeadModel.from_pretrained(folder).eval()
        self._model.generation_config.eos_token_id = None  # every text has the same length

    def logits(self, prompt: Sequence[int]) -> np.ndarray:
        cache = transformers.DynamicCache()
        self._scores(torch.tensor([prompt[:-1]]), cache)
        return self._scores(torch.tensor([prompt[-1:]]), cache)[0].numpy()

    def ways(self, batch: int) -> list[str]:
        return [GENERATE, LOOP]

    def write(self, way: str, batch: int, length: int) -> None:
        prompt = torch.tensor([IDS] * batch)
        written = {GENERATE: self._generate, LOOP: self._loop}[way](prompt, length)
        assert written.shape == (batch, len(IDS) + length)

    @torch.inference_mode()
    def _generate(self, prompt: torch.Tensor, length: int) -> torch.Tensor:
        return self._model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=True,
            temperature=TEMPERATURE,
            top_k=0,
            max_new_tokens=length,
            pad_token_id=0,
        )

    def _loop(self, prompt: torch.Tensor, length: int) -> torch.Tensor:
        cache = transformers.DynamicCache()
        written = [prompt]
        for _ in range(length):
            p = torch.softmax(self._scores(written[-1], cache) / TEMPERATURE, dim=-1)
            written.append(torch.multinomial(p, num_samples=1))
        return torch.cat(written, dim=1)

    @torch.inference_mode()
    def _scores(self, ids: torch.Tensor, cache: transformers.DynamicCache) -> torch.Tensor:
        """(batch, vocabulary) after the last of these ids, which go into the cache."""
        read = self._model(ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
        return read.logits[:, -1]


def peer() -> Transformers:
    return Transformers()
