"""corelm's own networks in NumPy and the kernels; `Architecture` is the shape of one."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from corelm.errors import ModelFileError


@dataclass(frozen=True)
class Architecture:
    """The shape of a network.

    Attributes:
        kind: `book` (the chapter's decoder), `default` (pre-norm, tied embeddings), `gpt2`
            or `rnn`.
        vocabulary_size: tokens, including the special ones.
        context_length: the largest number of tokens that the network sees.
        width: size of the embedding.
        dense: size of the hidden dense layer, or of the recurrent state.
        heads: the number of attention heads.
        blocks: the number of blocks, one after the other.
    """

    kind: str
    vocabulary_size: int = 15_000
    context_length: int = 100
    width: int = 256
    dense: int = 2048
    heads: int = 2
    blocks: int = 1

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers and words, for `config.json`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Architecture:
        """Read what `to_dict` wrote.

        Raises:
            ModelFileError: a missing or extra field, or one of the wrong type or size.
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
            # Bounds before anything is allocated: the numbers come from a file.
            limit = 2**10 if name in ("blocks", "heads") else 2**24
            # Not `isinstance`: JSON's true would pass as a whole number.
            if type(number) is not int or not 1 <= number <= limit:
                raise ModelFileError(
                    f"{name} must be a whole number of sensible size, not {number!r}"
                )
        return cls(**values)


KINDS = ("book", "default", "gpt2", "rnn")
