"""The contents of a model's files: its vocabulary, and its weights with their names and shapes.

The names of the weights are those of Keras.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from corelm.contracts.language_model import Vocabulary
from corelm.errors import ModelFileError
from corelm.models.byte_pairs import BYTE_PAIRS, BYTE_PAIRS_HELP, BytePairVocabulary
from corelm.models.networks.base import Architecture
from corelm.models.networks.kinds import WEIGHT_SHAPES, Shapes
from corelm.models.word_vocabulary import STYLES, WordVocabulary
from corelm.numerics.distributions import Array
from corelm.text.lines import JSON_LIMIT, parse_json

DTYPES: dict[str, np.dtype[Any]] = {"F16": np.dtype("<f2"), "F32": np.dtype("<f4")}

INFINITE = np.uint16(0x7C00)
"""The exponent of infinity and nan in half precision."""

CHUNK = 2**16


TOKENS = {name: style.help for name, style in STYLES.items()} | {BYTE_PAIRS: BYTE_PAIRS_HELP}
"""The styles of tokens, with a description of each."""


class StoredVocabulary(Vocabulary, Protocol):
    """A vocabulary that is stored as a text in a model's folder."""

    @property
    def padding(self) -> int:
        """The id that pads short rows: 0. The ids that are never drawn come first."""

    @property
    def style(self) -> str:
        """The style of its tokens, a key of `TOKENS`."""

    def dumps(self) -> str:
        """Return the text that `read_vocabulary` reads."""


def read_vocabulary(text: str, style: str) -> StoredVocabulary:
    """Read the text of a vocabulary with tokens of this style.

    Raises:
        ModelFileError: an unknown style, or a text that is not such a vocabulary.
    """
    if style not in TOKENS:
        raise ModelFileError(f"there are no tokens {style!r}; there are {', '.join(TOKENS)}")
    if style == BYTE_PAIRS:
        return BytePairVocabulary.loads(text)
    return WordVocabulary.loads(text, style)


def check(a: Architecture, vocabulary: StoredVocabulary, weights: Mapping[str, Array]) -> None:
    """Raise if weights or a vocabulary do not fit an architecture, or weights are not finite.

    Raises:
        ModelFileError: as `check_fit`, or a weight that is not finite.
    """
    check_fit(a, vocabulary, weights)
    for name, weight in weights.items():
        if not _is_finite(weight):
            raise ModelFileError(f"the weights {name!r} hold numbers that are not finite")


def check_fit(a: Architecture, vocabulary: StoredVocabulary, weights: Mapping[str, Array]) -> None:
    """Raise if weights or a vocabulary do not fit an architecture.

    Raises:
        ModelFileError: a missing, extra or misshapen weight, or a vocabulary of the wrong size.
    """
    if len(vocabulary) != a.vocabulary_size:
        raise ModelFileError(
            f"the vocabulary has {len(vocabulary)} tokens, the network {a.vocabulary_size}"
        )
    if a.kind in ("default", "gpt2") and a.width % a.heads:
        raise ModelFileError(f"{a.heads} heads cannot share a width of {a.width}")
    check_shapes(a, {name: weight.shape for name, weight in weights.items()})


def _is_finite(weight: Array) -> bool:
    if weight.dtype != np.float16:
        return bool(np.isfinite(weight).all())
    # Ten times as fast as NumPy's isfinite in half precision; in chunks that stay in the cache.
    exponents = weight.view(np.uint16).ravel()
    chunks = (exponents[i : i + CHUNK] & INFINITE for i in range(0, exponents.size, CHUNK))
    return all(chunk.max() < INFINITE for chunk in chunks)


def check_shapes(a: Architecture, stored: Mapping[str, tuple[int, ...]]) -> None:
    """Raise if the names and shapes of weights are not exactly an architecture's."""
    expected = shapes(a)
    for name, shape in expected.items():
        if name not in stored:
            raise ModelFileError(f"the weights {name!r} are missing")
        if tuple(stored[name]) != shape:
            raise ModelFileError(f"the weights {name!r} are {stored[name]} instead of {shape}")
    foreign = sorted(stored.keys() - expected.keys())
    if foreign:
        raise ModelFileError(f"a {a.kind} network has no weights {foreign[0]!r}")


def shapes(a: Architecture) -> Shapes:
    """Return the shape of every weight of an architecture, by name.

    Example:
        >>> shapes(Architecture("rnn", vocabulary_size=9, width=4))["embedding/embeddings"]
        (9, 4)
    """
    return WEIGHT_SHAPES[a.kind](a)


def parse_weights(content: memoryview, a: Architecture) -> dict[str, NDArray[Any]]:
    """Return the weights in the content of a file by name, read-only and as they are stored.

    The format is safetensors: the length of a header, the header in JSON, and the arrays one after
    the other. The returned arrays are views of the file's bytes.

    Args:
        content: the file.
        a: the architecture that they have to fit.

    Raises:
        ModelFileError: a file that is malformed, or has other weights than the architecture.
    """
    length = int.from_bytes(content[:8], "little")
    if not 0 < length <= min(JSON_LIMIT, len(content) - 8):
        raise ModelFileError(f"its header claims {length} bytes of {len(content)}")
    header = parse_json(bytes(content[8 : 8 + length]))
    header.pop("__metadata__", None)
    # First check the shapes: the header's offsets may be forged.
    check_shapes(a, {name: _shape(name, entry) for name, entry in header.items()})
    return _arrays(content, 8 + length, header, shapes(a))


def _shape(name: str, entry: Any) -> tuple[Any, ...]:
    if not isinstance(entry, dict) or entry.get("dtype") not in ("F16", "F32"):
        raise ModelFileError(f"the weights {name!r} are neither float16 nor float32")
    if not isinstance(entry.get("shape"), list):
        raise ModelFileError(f"the weights {name!r} have no shape")
    return tuple(entry["shape"])


def _arrays(
    content: memoryview, start: int, header: dict[str, Any], shapes: dict[str, tuple[int, ...]]
) -> dict[str, NDArray[Any]]:
    """Return the arrays of the file, which must fill it from `start` on without gaps."""
    arrays = {}
    end = 0
    for name in sorted(header, key=lambda name: _begin(name, header[name])):
        dtype, count = DTYPES[header[name]["dtype"]], math.prod(shapes[name])
        begin, end = end, end + count * dtype.itemsize
        if header[name]["data_offsets"] != [begin, end] or start + end > len(content):
            raise _misplaced(name)
        array = np.frombuffer(content, dtype, count, start + begin).reshape(shapes[name])
        # A header of odd length moves the arrays off their alignment; only then is there a copy.
        arrays[name] = np.require(array, requirements=("ALIGNED",))
    if start + end != len(content):
        raise ModelFileError("it isn't a safetensors file: there are bytes after the last weights")
    return arrays


def _begin(name: str, entry: dict[str, Any]) -> int:
    match entry.get("data_offsets"):
        case [int(begin), int()]:
            return begin
    raise _misplaced(name)


def _misplaced(name: str) -> ModelFileError:
    return ModelFileError(f"it isn't a safetensors file: the weights {name!r} are misplaced")
