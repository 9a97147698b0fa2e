"""Read texts to train on: the IMDB reviews, a folder, a file, or a tf.data data set."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from corelm.errors import DataError
from corelm.machine import home, open_input

logger: logging.Logger = logging.getLogger("corelm")

Item = TypeVar("Item")

LARGEST_FILE = 2**30
"""The largest file of texts that is read, in bytes."""

LINE_BREAKS = re.compile("(?:<br /> *)+")
EMPTY_LINES = re.compile(r"\n(?:[ \t]*\n)+")
NO_TEXTS = {"urls_pos.txt", "urls_neg.txt", "urls_unsup.txt"}
"""Files among the IMDB reviews with URLs instead of texts."""


@dataclass(frozen=True)
class Corpus:
    """Texts to learn from, and texts held out to measure on."""

    train: Sequence[str]
    held_out: Sequence[str]
    name: str

    @classmethod
    def of(cls, data: Any, held_out: float = 0.05) -> Corpus:
        """Read the texts of a data set and split them.

        Args:
            data: `imdb`; a folder or a file; or an iterable of texts, such as the data set that
                `keras.utils.text_dataset_from_directory(..., label_mode=None)` returns.
            held_out: the share of the texts to hold out, if the data set has no test half.

        Raises:
            DataError: no data set, no readable text, or too little to hold any out.
        """
        if not isinstance(data, (str, os.PathLike)):
            texts = [text for text in _texts_of(data) if text.strip()]
            return _split(texts, held_out, type(data).__name__)
        path = home() / "data" / "aclImdb" if data == "imdb" else Path(data)
        if data == "imdb" and not path.is_dir():
            raise DataError("the IMDB reviews are missing; fetch them with: corelm data imdb")
        if data == "imdb" or ((path / "train").is_dir() and (path / "test").is_dir()):
            train, test = (cls.texts_in(path / half) for half in ("train", "test"))
            return cls(train, test, "imdb" if path.name == "aclImdb" else path.name)
        return _split(cls.texts_in(path), held_out, path.name)

    @staticmethod
    def texts_in(path: Path, count: int | None = None) -> list[str]:
        """Read the texts below a folder, one a `.txt` file, or the texts in one file.

        In a single file texts are separated by empty lines, or by line ends if it has none.

        Args:
            path: the folder or the file.
            count: the most texts to draw, with a fixed seed; a smaller count gives the first texts
                of a larger one. Only these files of a folder are read. None reads all in order.

        Raises:
            DataError: no such path, or no text in UTF-8 there.
        """
        if not os.path.exists(path):
            raise DataError(f"{str(path)!r} does not exist")
        if path.is_dir():
            texts = [text for text in _texts_in_folder(path, count) if text.strip()]
        else:
            text = _read(path)
            paragraphs = EMPTY_LINES.split(text.strip())
            parts = paragraphs if len(paragraphs) > 1 else text.split("\n")
            texts = _some(filter(str.strip, parts), count)
        if not texts:
            raise DataError(f"no text in {str(path)!r}; a folder needs .txt files in UTF-8")
        return texts

    @staticmethod
    def digest(texts: Sequence[str]) -> str:
        """Return the checksum of several texts, by which texts that a model has seen are known."""
        whole = hashlib.sha256()
        for text in texts:
            whole.update(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
        return whole.hexdigest()


def _split(texts: list[str], held_out: float, name: str) -> Corpus:
    """Hold out texts drawn with a fixed seed; cut a single text in two."""
    if len(texts) == 1:
        cut = int(len(texts[0]) * (1 - held_out))
        train, rest = [texts[0][:cut]], [texts[0][cut:]]
    else:
        # A fixed seed: every model of a data set is then measured on the same texts.
        order = np.random.default_rng(0).permutation(len(texts))
        drawn = set(order[: max(round(len(texts) * held_out), 1)].tolist())
        train = [text for i, text in enumerate(texts) if i not in drawn]
        rest = [texts[i] for i in sorted(drawn)]
    if not any(map(str.strip, train)) or not any(map(str.strip, rest)):
        raise DataError(f"{name!r} has too little text to hold out {held_out:.0%} of it")
    return Corpus(train, rest, name)


def _some(items: Iterable[Item], count: int | None) -> list[Item]:
    """Return at most `count` items, drawn with a fixed seed; None returns all."""
    listed = list(items)
    if count is None:
        return listed
    order = np.random.default_rng(0).permutation(len(listed))
    return [listed[i] for i in order[:count].tolist()]


def _texts_in_folder(folder: Path, count: int | None) -> list[str]:
    """Read all readable texts, and warn once about the other files."""
    texts: list[str] = []
    left_out: list[Exception] = []
    files: Iterable[Path] = _text_files(folder, left_out.append)
    for file in files if count is None else _some(files, count):
        try:
            texts.append(_read(file))
        except DataError as error:
            left_out.append(error)
    if left_out:
        logger.warning(
            "left out %d of the files in %r: %s", len(left_out), str(folder), left_out[0]
        )
    return texts


def _text_files(folder: Path, on_error: Callable[[Exception], None]) -> Iterator[Path]:
    for directory, folders, names in os.walk(folder, onerror=on_error):
        folders.sort()
        for name in sorted(names):
            file = Path(directory) / name
            if file.suffix.lower() != ".txt" or name in NO_TEXTS:
                continue
            if file.is_fifo() or file.is_socket():  # reading a device may never end
                on_error(DataError(f"{str(file)!r} is not a file"))
            else:
                yield file


def _read(file: Path) -> str:
    try:
        status = file.stat()
        if stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):  # /dev/zero never ends
            raise DataError(f"{str(file)!r} is a device; give a file or a folder of texts")
        size = status.st_size
        if size <= LARGEST_FILE:
            with open_input(file) as opened:
                content = opened.read(LARGEST_FILE + 1)
            size = len(content)  # a pipe has no size before it is read
    except OSError as error:
        raise DataError(f"cannot read {str(file)!r}: {error.strerror}") from error
    except MemoryError as error:
        raise DataError(f"{str(file)!r} does not fit into memory; give a part of it") from error
    if size > LARGEST_FILE:
        raise DataError(f"{str(file)!r} has more than {LARGEST_FILE} bytes; give a part of it")
    return _decoded(content, repr(str(file)))


def _decoded(content: bytes, what: str) -> str:
    if b"\0" in content:  # valid UTF-8, but in practice a sign of binary data or UTF-16
        raise DataError(f"{what} is not a text in UTF-8: it has a zero byte")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{what} is not a text in UTF-8: {error.reason} at byte {error.start}"
        ) from error
    return LINE_BREAKS.sub(" ", text.replace("\r\n", "\n"))


def _texts_of(dataset: Iterable[Any]) -> Iterator[str]:
    """Yield texts from strings, bytes, or batches of either."""
    number = 0
    for item in dataset:
        item = item.numpy() if hasattr(item, "numpy") else item
        for text in item.ravel() if isinstance(item, np.ndarray) else [item]:
            number += 1
            yield _text(text, number)


def _text(item: Any, number: int) -> str:
    if isinstance(item, str):
        item = item.encode(errors="surrogatepass")
    if not isinstance(item, bytes):
        raise DataError(
            f"a data set must give texts, not {type(item).__name__}; "
            "text_dataset_from_directory gives them with label_mode=None"
        )
    return _decoded(item, f"text {number} of the data set")
