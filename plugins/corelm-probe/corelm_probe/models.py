"""Tiny models whose logits are known by construction.

Each has GPT-2's architecture with one block that adds nothing, so the logits are a function of the
last token: the final norm of its embedding, times the embeddings. In most models the norm's gamma
is 0 and its beta selects one column of the embeddings: the logits of every step are that column,
exactly, in any engine and precision from float32 on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from corelm.errors import UnknownNameError
from corelm.runs import printable

END = "<|endoftext|>"
CHARACTERS = "".join(map(chr, range(0x21, 0x7F)))
"""The texts of the tokens after the end token: one printable character each."""
WORDS = (END, *CHARACTERS)
SIZE = len(WORDS)
WIDTH = 64
CONTEXT_LENGTH = 2048
NEVER = -40.0
"""The logit of the end token, so low that no text ends by itself."""
BALANCE = 8.0
"""The norm of the characters' embeddings in `last`: the final norm divides all by one number."""
EPSILON = 1e-5


@dataclass(frozen=True)
class ProbeModel:
    """A model with known logits.

    Attributes:
        name: the name of its folder and file.
        about: its purpose.
        embeddings: (tokens, width) float32, of the tokens at the input and the output.
        gamma: (width,) float32, of the final norm.
        beta: (width,) float32, of the final norm.

    Example:
        >>> flat = MODELS["flat"]
        >>> len(flat.words), flat.encode("!!"), flat.decode([1, 2])
        (95, [1, 1], '!"')
        >>> flat.logits([[1]])[0, :3].tolist()
        [-40.0, 0.0, 0.0]
    """

    name: str
    about: str
    embeddings: NDArray[np.float32]
    gamma: NDArray[np.float32]
    beta: NDArray[np.float32]

    words = WORDS

    @property
    def is_constant(self) -> bool:
        """True if every step has the same logits."""
        return not bool(self.gamma.any())

    def logits(self, tokens: NDArray[np.int64] | list[list[int]]) -> NDArray[np.float64]:
        """Return the logits of the next token, (batch, tokens), after ids of (batch, time)."""
        return np.asarray(self._after[np.asarray(tokens)[:, -1]])

    @cached_property
    def _after(self) -> NDArray[np.float64]:
        """The logits after each last token, (tokens, tokens): a probe asks for them often."""
        embeddings = self.embeddings.astype(np.float64)
        centred = embeddings - embeddings.mean(axis=1, keepdims=True)
        scale = np.sqrt(embeddings.var(axis=1, keepdims=True) + EPSILON)
        return np.asarray((centred / scale * self.gamma + self.beta) @ embeddings.T)

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text's characters; raise a ValueError for one without a token."""
        return [1 + CHARACTERS.index(character) for character in text]

    def decode(self, ids: list[int]) -> str:
        """Return the text of ids."""
        return "".join(WORDS[i] for i in ids)


def _constant(name: str, about: str, logits: NDArray[np.float64]) -> ProbeModel:
    """Return a model that has these logits of the characters at every step."""
    ids = np.arange(SIZE)
    embeddings = np.zeros((SIZE, WIDTH), dtype=np.float32)
    embeddings[:, 0] = [NEVER, *logits]
    # All embeddings differ, so that an engine that mixes up its input is noticed.
    embeddings[ids, 1 + ids % (WIDTH - 1)] = 1 + ids // (WIDTH - 1)
    beta = np.zeros(WIDTH, dtype=np.float32)
    beta[0] = 1
    return ProbeModel(name, about, embeddings, np.zeros(WIDTH, dtype=np.float32), beta)


def _slope() -> NDArray[np.float64]:
    """Return the logits of one likely token and many unlikely ones of both signs.

    Such a row is the most sensitive to a wrong temperature, order or cut.
    """
    logits = np.linspace(0.9, -0.5, len(CHARACTERS))
    logits[5] = 3.5
    return logits


def _ties() -> NDArray[np.float64]:
    """Return rising groups of equal logits, scattered over the ids.

    The groups have 1, 3, 6, 10, 30 and 44 tokens: most cuts go through one.
    """
    sizes, values = (1, 3, 6, 10, 30, 44), (2.5, 1.75, 1.0, 0.5, -0.5, -1.5)
    row = np.repeat(np.array(values, np.float64), sizes)
    return np.asarray(np.random.default_rng(38).permutation(row))


def _peaked() -> NDArray[np.float64]:
    """Return logits that give one token a probability of 0.9, and fall steeply for the others."""
    logits = 2.0 - 0.1 * np.arange(len(CHARACTERS), dtype=np.float64)
    others = np.exp(logits).sum() - np.exp(logits[7])
    logits[7] = np.log(9 * others)
    return logits


def _last() -> ProbeModel:
    """Return the model in which a token makes the tokens of its own class likelier.

    The class is the id modulo 3. Of each embedding, columns 0 and 1 hold the logit without the
    boost and its negative, columns 2 to 7 the class and its negative, and the last two the balance.
    """
    ids = np.arange(SIZE)
    embeddings = np.zeros((SIZE, WIDTH))
    embeddings[:, 0] = [NEVER, *(0.8 * np.cos(ids[1:] * 2.0))]
    embeddings[ids, 2 + ids % 3] = 1
    embeddings[:, [1, 5, 6, 7]] = -embeddings[:, [0, 2, 3, 4]]
    rest = BALANCE**2 - np.square(embeddings).sum(axis=1)
    embeddings[:, -2] = np.sqrt(np.maximum(rest, 0) / 2)  # the end token has no class
    embeddings[:, -1] = -embeddings[:, -2]
    gamma, beta = np.zeros(WIDTH), np.zeros(WIDTH)
    gamma[2:5], beta[0] = 1.5, 1
    about = "the logits depend on the last token"
    single = (a.astype(np.float32) for a in (embeddings, gamma, beta))
    return ProbeModel("last", about, *single)


MODELS: Mapping[str, ProbeModel] = {
    model.name: model
    for model in (
        _constant("slope", "one likely token and a long slope: order, temperature, cuts", _slope()),
        _constant("ties", "groups of equal logits: ties at a cut", _ties()),
        _constant("peaked", "one token has nine tenths", _peaked()),
        _constant("flat", "all tokens equally likely: hidden cuts", np.zeros(len(CHARACTERS))),
        _last(),
    )
}
"""The models by name."""


_SAME = "logits of another step, text or model that are the same (see `last`)"
UNSEEN: Mapping[str, str] = {
    "slope": f"{_SAME}; ties at a cut (see `ties`)",
    "ties": f"{_SAME}; a cut that moves within a group, if all its ties are kept (see `slope`)",
    "peaked": f"{_SAME}; most of what acts on the rare tokens (see `slope`)",
    "flat": f"{_SAME}; temperatures and their orders (see `slope`)",
    "last": "tokens before the last one, and positions: they don't act on its logits",
}
"""The faults that each model can't show."""


def model_named(name: str) -> ProbeModel:
    """Return the model of a name.

    Raises:
        UnknownNameError: no such model; the message lists them.
    """
    if name not in MODELS:
        hint = printable.did_you_mean(name, MODELS)
        raise UnknownNameError(f"there is no probe model {name!r}{hint}: {', '.join(MODELS)}")
    return MODELS[name]
