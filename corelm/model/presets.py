"""What a network is made of and how it is trained: numbers only, no Keras."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from corelm.errors import ModelFileError


@dataclass(frozen=True)
class Architecture:
    """The shape of a network.

    Attributes:
        kind: `book` (the chapter's decoder), `default` (pre-norm, tied embeddings) or `rnn`.
        vocabulary_size: tokens, the special ones among them.
        context_length: tokens that the network sees at most.
        width: size of the embedding.
        dense: size of the hidden dense layer, or of the recurrent state.
        heads: attention heads.
        blocks: how many blocks lie on top of each other.
    """

    kind: str
    vocabulary_size: int = 15_000
    context_length: int = 100
    width: int = 256
    dense: int = 2048
    heads: int = 2
    blocks: int = 1

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and words, for `config.json`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Architecture:
        """Read what `to_dict` wrote.

        Raises:
            ModelFileError: a field too many or too few, or one of the wrong type or size.
        """
        names = {f.name for f in fields(cls)}
        if not isinstance(values, dict) or set(values) != names:
            raise ModelFileError(
                f"an architecture has exactly the fields {', '.join(sorted(names))}"
            )
        if values["kind"] not in KINDS:
            raise ModelFileError(f"unknown kind of network {values['kind']!r}")
        for name in names - {"kind"}:
            number = values[name]
            limit = 2**10 if name in ("blocks", "heads") else 2**24
            if type(number) is not int or not 1 <= number <= limit:
                raise ModelFileError(
                    f"{name} must be a whole number of sensible size, not {number!r}"
                )
        return cls(**values)


KINDS = ("book", "default", "rnn")


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Attributes:
        optimizer: `rmsprop` (the chapter's) or `muon`.
        learning_rate: the constant one of rmsprop, the peak of a warm-up and cosine for muon.
        batch: rows per step.
        tokens: the style of tokens.
        packed: every token of every text in full rows; else one text a row, cut or padded.
    """

    optimizer: str
    learning_rate: float
    batch: int
    tokens: str
    packed: bool


@dataclass(frozen=True)
class Preset:
    """A network and its recipe."""

    architecture: Architecture
    recipe: Recipe
    help: str


PRESETS = {
    "book": Preset(
        Architecture("book"),
        Recipe("rmsprop", 0.001, 256, "words", packed=False),
        "the chapter's network and recipe, 9.8 million weights",
    ),
    "default": Preset(
        Architecture("default", dense=1024, heads=4, blocks=3),
        Recipe("muon", 0.007, 64, "words+punctuation", packed=True),
        "pre-norm blocks, tied embeddings, Muon: better and faster",
    ),
    "rnn": Preset(
        Architecture("rnn", dense=512, heads=1),
        Recipe("rmsprop", 0.001, 64, "words", packed=False),
        "a recurrent network (GRU)",
    ),
}
