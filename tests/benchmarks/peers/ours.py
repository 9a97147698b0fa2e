"""corelm, with the shape of GPT-2 or with a preset."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from corelm_bench import Products, measure
from corelm_train.settings import PRESETS

import corelm
from corelm.models.contents import shapes
from corelm.models.networks.base import Architecture
from corelm.models.numpy_model import NumpyModel
from corelm.models.word_vocabulary import WordVocabulary
from corelm.runs import Strategy, Texts
from peers import gpt2
from peers.peer import LEAST, PROMPT, TEMPERATURE, Peer


class Ours(Peer):
    """corelm with a model.

    Args:
        model: the model.
    """

    def __init__(self, model: NumpyModel) -> None:
        self._model = model
        self._sampler = corelm.sampler("temperature", t=TEMPERATURE)

    def logits(self, prompt: Sequence[int]) -> np.ndarray:
        session = self._model.start([prompt[:-1]])
        session.next_logits()  # reads the prompt, which is not measured
        session.extend(np.array(prompt[-1:]))
        return session.next_logits()[0]

    def write(self, way: str, batch: int, length: int) -> None:
        texts = Texts(PROMPT, Strategy(self._sampler), length, batch, seed=0)
        drawn = texts.steps(self._model, range(batch))
        assert sum(len(step.tokens) for step in drawn) == batch * length

    def shares(self, batch: int, length: int) -> dict[str, float]:
        speed = measure(
            self._model,
            PROMPT,
            self._sampler,
            batch=batch,
            length=length,
            seconds=LEAST,
        )
        blas = Products(self._model.products(batch)).seconds_in_numpy(length)
        parts = {"limit": speed.products, "BLAS": blas}
        parts |= {"sampler": speed.sampler, "draw": speed.draw}
        return {name: part / speed.step for name, part in parts.items()}


def words(size: int) -> WordVocabulary:
    """A vocabulary of made-up words."""
    return WordVocabulary(["", "[UNK]", *(f"w{i}" for i in range(size - 2))], "words")


def random_weights(a: Architecture) -> dict[str, np.ndarray]:
    """Weights for a preset; every call gives the same."""
    rng = np.random.default_rng(0)
    return {
        name: (name.endswith(("scale", "gamma")) + 0.05 * rng.standard_normal(shape)).astype("f4")
        for name, shape in shapes(a).items()
    }


def peer(shape: str) -> Ours:
    """corelm with the shape of GPT-2, also rounded to half precision, or with a preset."""
    if shape not in ("gpt2", "gpt2-f16"):
        a = PRESETS[shape].architecture
        return Ours(NumpyModel(a, words(a.vocabulary_size), random_weights(a)))
    weights = gpt2.bundle().weights
    if shape == "gpt2-f16":
        weights = {name: x.astype(np.float16) for name, x in weights.items()}
    return Ours(NumpyModel(gpt2.SHAPE, words(gpt2.SHAPE.vocabulary_size), weights))
