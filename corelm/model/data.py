"""Text to train on: the IMDB reviews, a folder of text files, one file, a tf.data data set.

Everything ends as rows of token ids, one longer than the context: inputs are a row without its
last token, targets the row without its first.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corelm.errors import DataError
from corelm.model.vocabulary import END, MARKED, DASH, PADDING, UNKNOWN, WordVocabulary
from corelm.model.home import home

logger = logging.getLogger("corelm")

Rows = NDArray[np.uint16] | NDArray[np.uint32]

LINE_BREAK = "<br />"


@dataclass(frozen=True)
class Corpus:
    """Texts to learn from and texts held out to measure on, never shown to training."""

    train: Sequence[str]
    held_out: Sequence[str]
    name: str


def corpus(data: Any, held_out: float = 0.05) -> Corpus:
    """The texts of a data set, split.

    Args:
        data: `imdb`; a folder or a file; or an iterable of texts, such as the data set that
            `keras.utils.text_dataset_from_directory(..., label_mode=None)` returns.
        held_out: the share of the texts to hold out, where the data set has no test half.

    Raises:
        DataError: nothing there, nothing to read, or too little to hold any out.
    """
    if data == "imdb":
        return _imdb(home() / "data" / "aclImdb")
    if not isinstance(data, (str, os.PathLike)):
        return _split(list(_texts_of(data)), held_out, type(data).__name__)
    path = Path(data)
    if (path / "train").is_dir() and (path / "test").is_dir():
        return _imdb(path)
    return _split(read_texts(path), held_out, path.name)


def _imdb(folder: Path) -> Corpus:
    if not folder.is_dir():
        raise DataError("the IMDB reviews are not here yet; fetch them with: corelm data imdb")
    return Corpus(read_texts(folder / "train"), read_texts(folder / "test"), "imdb")


def _split(texts: list[str], held_out: float, name: str) -> Corpus:
    """Hold out texts drawn with a fixed seed; a single text is cut instead."""
    if len(texts) == 1:
        cut = int(len(texts[0]) * (1 - held_out))
        return Corpus([texts[0][:cut]], [texts[0][cut:]], name)
    order = np.random.default_rng(0).permutation(len(texts))
    count = max(round(len(texts) * held_out), 1)
    chosen = set(order[:count].tolist())
    train = [text for i, text in enumerate(texts) if i not in chosen]
    return Corpus(train, [texts[i] for i in sorted(chosen)], name)


def read_texts(path: Path) -> list[str]:
    """The texts below a folder, one a `.txt` file, or those in one file.

    In a single file texts are separated by empty lines, or by line ends where there are none.

    Raises:
        DataError: nothing there, or nothing that can be read as UTF-8 text.
    """
    if not path.exists():
        raise DataError(f"there is nothing at {str(path)!r}")
    texts = list(_texts_in_folder(path)) if path.is_dir() else _texts_in_file(path)
    texts = [text for text in texts if text.strip()]
    if not texts:
        raise DataError(f"no text in {str(path)!r}; a folder needs .txt files in UTF-8")
    return texts


def _texts_in_folder(folder: Path) -> Iterator[str]:
    for directory, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            file = Path(directory) / name
            if name.startswith("urls_") or file.suffix != ".txt":
                continue
            try:
                yield _read(file)
            except DataError as error:
                logger.warning("left out: %s", error)


def _texts_in_file(file: Path) -> list[str]:
    text = _read(file)
    return text.split("\n\n") if "\n\n" in text.strip() else text.split("\n")


def _read(file: Path) -> str:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {str(file)!r}: {error.strerror}") from error
    if b"\0" in content:
        raise DataError(f"{str(file)!r} is not a text file")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{str(file)!r} is not UTF-8: {error.reason} at byte {error.start}") from error
    return text.replace("\r\n", "\n").replace(LINE_BREAK, " ")


def _texts_of(dataset: Iterable[Any]) -> Iterator[str]:
    """The texts of an iterable of strings, bytes, or batches of them."""
    for item in dataset:
        item = item.numpy() if hasattr(item, "numpy") else item
        for text in item.ravel() if isinstance(item, np.ndarray) else [item]:
            decoded = text.decode() if isinstance(text, bytes) else str(text)
            yield decoded.replace(LINE_BREAK, " ")


def text_vectorization(style: str, max_tokens: int, words: Sequence[str] | None = None) -> Any:
    """Keras's TextVectorization with the rules of a style of tokens.

    Args:
        style: a key of `corelm.model.vocabulary.STYLES`.
        max_tokens: the most tokens, padding and unknown among them.
        words: a vocabulary to use; none means it is still to adapt.
    """
    import keras
    import tensorflow as tf

    def marked(text: Any) -> Any:
        text = tf.strings.regex_replace(tf.strings.lower(text), DASH, " -- ")
        return tf.strings.regex_replace(text, MARKED, r" \0 ")

    standardize = {"words": "lower_and_strip_punctuation", "words+punctuation": marked}.get(style)
    return keras.layers.TextVectorization(
        max_tokens=max_tokens,
        standardize=standardize,
        split="character" if style == "characters" else "whitespace",
        vocabulary=list(words) if words is not None else None,
    )


def learn_vocabulary(
    texts: Sequence[str], style: str, size: int, end: bool = True
) -> WordVocabulary:
    """The most frequent tokens of the texts, at most `size` with the special ones."""
    layer = text_vectorization(style, size - end)
    layer.adapt(list(texts), batch_size=1024)
    learned = [str(word) for word in layer.get_vocabulary()[2:]]
    words = [word for word in learned if word != END]
    return WordVocabulary([PADDING, UNKNOWN, *([END] if end else []), *words], style)


def padded_rows(texts: Iterable[str], vocabulary: WordVocabulary, context_length: int) -> Rows:
    """The chapter's rows: one text a row, cut or filled with padding. (texts, context + 1)."""
    width = context_length + 1
    rows = [vocabulary.encode(text)[:width] for text in texts]
    result = np.zeros((len(rows), width), dtype=_dtype(vocabulary))
    for i, row in enumerate(rows):
        result[i, : len(row)] = row
    return result


def packed_rows(texts: Iterable[str], vocabulary: WordVocabulary, context_length: int) -> Rows:
    """All of every text, nothing padded: (rows, context + 1).

    A text begins and ends with the end token. It is cut into rows from its beginning, each
    row sharing one token with the next; what is left over is joined and cut likewise.
    """
    width, end = context_length + 1, vocabulary.end
    rows, rest = [], [np.empty(0, dtype=_dtype(vocabulary))]
    for text in texts:
        ids = np.array([end, *vocabulary.encode(text), end], dtype=_dtype(vocabulary))
        whole = max(len(ids) - 1, 0) // context_length
        rows.extend(ids[i * context_length : i * context_length + width] for i in range(whole))
        rest.append(ids[whole * context_length :])
    joined = np.concatenate(rest)
    whole = max(len(joined) - 1, 0) // context_length
    rows.extend(joined[i * context_length : i * context_length + width] for i in range(whole))
    return np.array(rows, dtype=_dtype(vocabulary)).reshape(-1, width)


def opening_rows(texts: Iterable[str], vocabulary: WordVocabulary, context_length: int) -> Rows:
    """The beginning of each text as a model of this vocabulary meets it: (texts, context + 1).

    The first `context_length` tokens, after the end token where the vocabulary has one.
    """
    start = [] if vocabulary.end is None else [vocabulary.end]
    rows = padded_rows(texts, vocabulary, context_length)[:, : context_length + 1 - len(start)]
    before = np.full((len(rows), len(start)), start, dtype=rows.dtype)
    return np.concatenate([before, rows], axis=1)


def _dtype(vocabulary: WordVocabulary) -> Any:
    return np.uint16 if len(vocabulary) <= 2**16 else np.uint32
