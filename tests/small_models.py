"""Models small enough for tests, and questions to them, shared by tests."""

from __future__ import annotations

from copy import copy
from types import SimpleNamespace

import numpy as np

from corelm import Context
from corelm.bundles import Architecture, Bundle, WordVocabulary
from corelm.models.contents import shapes
from corelm.models.numpy_model import NumpyModel

TINY = Architecture("rnn", vocabulary_size=4, context_length=6, width=2, dense=2, heads=1)
WORDS = WordVocabulary(["", "[UNK]", "good", "b\\a\nd"], "symbols")

SMALL = {
    kind: Architecture(kind, 30, context_length=8, width=16, dense=32, heads=2, blocks=2)
    for kind in ("book", "default", "gpt2", "rnn")
}

LLAMA_OPTIONS = {"n_ctx": 0, "type_k": 0, "type_v": 0, "n_threads": 1, "n_threads_batch": 1}
"""llama-cpp-python in single precision, on one thread: others spin while they wait for each other,
for 80 ms a batch of four tokens on busy cores."""


def some_weights(a=TINY, value=0.5):
    """Return weights that float16 holds exactly."""
    return {
        name: (np.arange(np.prod(shape)).reshape(shape) * value).astype(np.float32)
        for name, shape in shapes(a).items()
    }


def random_weights(a, spread=0.5):
    """Return normal weights around 0, around 1 for scales, so that every layer matters."""
    rng = np.random.default_rng(0)
    return {
        name: (name.endswith(("scale", "gamma")) + spread * rng.standard_normal(shape)).astype("f4")
        for name, shape in shapes(a).items()
    }


def numbered_words(size, end=False):
    """Return a vocabulary of words w0, w1, ..., with or without an end token."""
    special = ["", "[UNK]", "[end]"] if end else ["", "[UNK]"]
    words = [f"w{i}" for i in range(size - len(special))]
    return WordVocabulary([*special, *words], "symbols")


def small_model(a, end=False):
    """Return a model with random weights."""
    return NumpyModel(a, numbered_words(a.vocabulary_size, end), random_weights(a))


def write(path, value=0.5, **changed):
    """Write the tiny model; returns the path."""
    arguments = {
        "architecture": TINY,
        "vocabulary": WORDS,
        "weights": some_weights(value=value),
        "training": {"command": "corelm train", "seconds": 12},
        "figures": {"perplexity": 92.625, "band": [1.5, 2.5]},
    }
    Bundle.write(path, **(arguments | changed))
    return path


def only_forward(model):
    """Return a model whose sessions have no optional ability: no rewind and no hidden states."""
    plain = copy(model)

    def start(tokens):
        session = model.start(tokens)
        names = ("next_logits", "extend", "select")
        return SimpleNamespace(**{name: getattr(session, name) for name in names})

    plain.start = start
    return plain


def only_word(vocabulary, sampler, text, prompt=""):
    """Return the only word that may follow a text; None if all may."""
    start, drawn = vocabulary.encode(prompt), vocabulary.encode(text)
    context = Context.of([*start, *drawn], prompt_length=len(start), vocabulary=vocabulary)
    kept = np.flatnonzero(np.isfinite(sampler(np.zeros((1, len(vocabulary))), context)[0]))
    if len(kept) == len(vocabulary):
        return None
    [token] = kept
    return vocabulary.words[token]
