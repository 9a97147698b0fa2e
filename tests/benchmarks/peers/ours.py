"""corelm: its own networks, and the shape of GPT-2 made of the same pieces."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

import corelm
from corelm.generation.benchmark import Products, measure
from corelm.generation.generate import steps
from corelm.model.architectures import Architecture
from corelm.model.networks.base import Transformer
from corelm.model.networks.graph import INPUT, Graph
from corelm.model.networks.layers import Attend, Embed, Linear, Matrix, Norm
from corelm.model.networks.pre_norm import pre_norm_block
from corelm.model.networks.products import bare_products
from corelm.model.numpy_model import NumpyModel, NumpySession
from corelm.model.sliding_window import SlidingWindow
from corelm.model.training.presets import PRESETS
from corelm.model.vocabulary import WordVocabulary
from corelm.model.weights import shapes
from peers import gpt2
from peers.peer import LEAST, PROMPT, TEMPERATURE, Peer


class Ours(Peer):
    """corelm with a model.

    Args:
        model: what decodes, and knows the matrices of a step.
    """

    def __init__(self, model: NumpyModel | Gpt2Model) -> None:
        self._model = model
        self._sampler = corelm.sampler("temperature", t=TEMPERATURE)

    def logits(self, prompt: Sequence[int]) -> np.ndarray:
        session = self._model.start([prompt[:-1]])
        session.next_logits()  # reads the prompt, which is not measured
        session.extend(np.array(prompt[-1:]))
        return session.next_logits()[0]

    def write(self, way: str, batch: int, length: int) -> None:
        drawn = steps(
            self._model, PROMPT, sampler=self._sampler, length=length, samples=range(batch), seed=0
        )
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


class Gpt2(Transformer):
    """Radford et al. 2019: pre-norm blocks and tied embeddings as in `default`, with biases."""

    def __init__(self, a: Architecture, w: gpt2.Weights) -> None:
        reads, hidden = Graph(), Graph(a.width)
        x = reads.add(Embed(w["wte.weight"], w["wpe.weight"]), INPUT)
        for i in range(a.blocks):
            x = pre_norm_block(
                reads,
                x,
                Attend(a.heads, a.width, layer=i),
                norms=[_norm(w, f"h.{i}.ln_{n}") for n in (1, 2)],
                qkv=_linear(w, f"h.{i}.attn.c_attn"),
                attention_out=_linear(w, f"h.{i}.attn.c_proj"),
                dense_in=_linear(w, f"h.{i}.mlp.c_fc", "gelu"),
                dense_out=_linear(w, f"h.{i}.mlp.c_proj"),
            )
        hidden.add(_norm(w, "ln_f"), INPUT)
        size = a.width // a.heads
        remembered = (a.blocks, 2, a.heads, a.context_length, size)
        super().__init__(remembered, reads, hidden, Linear(w["wte.weight"].T))


def _norm(w: gpt2.Weights, name: str) -> Norm:
    return Norm(w[f"{name}.weight"], w[f"{name}.bias"])


def _linear(w: gpt2.Weights, name: str, activation: str = "") -> Linear:
    return Linear(w[f"{name}.weight"], w[f"{name}.bias"], activation)


class Gpt2Model:
    """The shape of GPT-2 as a language model."""

    context_length = gpt2.SHAPE.context_length

    def __init__(self, weights: gpt2.Weights) -> None:
        self.vocabulary = words(gpt2.SHAPE.vocabulary_size)
        self._network = Gpt2(gpt2.SHAPE, weights)

    @property
    def matrices(self) -> list[Matrix]:
        return self._network.matrices

    def products(self, batch: int) -> list[list[Callable[[], object]]]:
        return bare_products(self.matrices, batch)

    def start(self, tokens: Sequence[Sequence[int]]) -> NumpySession:
        return NumpySession(
            self._network, SlidingWindow(tokens, self.vocabulary, self.context_length)
        )

    def next_token_distribution(self, tokens: Sequence[Sequence[int]]) -> np.ndarray:
        return corelm.softmax(self.start(tokens).next_logits())


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
    if shape in ("gpt2", "gpt2-f16"):
        weights = gpt2.weights()
        if shape == "gpt2-f16":
            weights = {name: x.astype(np.float16).astype(np.float32) for name, x in weights.items()}
        return Ours(Gpt2Model(weights))
    a = PRESETS[shape].architecture
    return Ours(NumpyModel(a, words(a.vocabulary_size), random_weights(a)))
