"""A model on disk: a folder that is written whole or not at all, and checked before use.

    config.json         the architecture and the style of the tokens
    vocabulary.txt      one token a line
    model.safetensors   the weights, by name
    manifest.json       size and sha256 of each file, the training, held-out figures

Nothing in it can execute: text, JSON, and arrays of numbers.
"""

from __future__ import annotations

import math
import os
import stat
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from corelm import atomic_files
from corelm.errors import ModelFileError
from corelm.machine import MANIFEST, backup_path
from corelm.models.contents import (
    TOKENS,
    StoredVocabulary,
    check,
    parse_weights,
    read_vocabulary,
    shapes,
)
from corelm.models.networks.base import Architecture
from corelm.text.lines import JSON_LIMIT, decode_text, dump_json, parse_json

FORMAT = 1
CONFIG = "config.json"
VOCABULARY, WEIGHTS = "vocabulary.txt", "model.safetensors"
PROMPT = "prompt"
"""The optional field of the manifest for the model's default prompt."""

VOCABULARY_LIMIT = 2**26
"""The largest vocabulary, in bytes; a larger file is refused unread, as is JSON above
`JSON_LIMIT`."""

StrPath = str | os.PathLike[str]
T = TypeVar("T")


class Description(NamedTuple):
    """A model without its vocabulary and weights.

    Attributes:
        architecture: the shape of the network.
        tokens: the style of its tokens.
        manifest: its fields `training` and `figures`, among others.
    """

    architecture: Architecture
    tokens: str
    manifest: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Bundle:
    """The content of a model's folder; the weights are float16 or float32 arrays by name."""

    TOKENS: ClassVar[Mapping[str, str]] = TOKENS
    """The styles of tokens that a vocabulary may have, with a description of each."""

    architecture: Architecture
    vocabulary: StoredVocabulary
    weights: dict[str, NDArray[Any]]
    manifest: dict[str, Any]

    @property
    def default_prompt(self) -> str | None:
        """The prompt of the manifest, if it has one."""
        prompt = self.manifest.get(PROMPT)
        return prompt if isinstance(prompt, str) else None

    read_vocabulary: ClassVar[Callable[[str, str], StoredVocabulary]] = staticmethod(
        read_vocabulary
    )

    @classmethod
    def read(cls, path: StrPath) -> Bundle:
        """Read a model from a folder after checking sizes, checksums, names, shapes and numbers.

        Raises:
            ModelFileError: a model that is missing, damaged, foreign or of a later format; the
                message has the file and the reason.
        """
        folder = _folder(path)
        described = cls.describe(folder)
        a, files = described.architecture, described.manifest["files"]
        # The checksum of the weights takes longer than everything else, and releases the
        # interpreter lock.
        most = 8 + JSON_LIMIT + 4 * sum(math.prod(shape) for shape in shapes(a).values())  # float32
        verified = _in_background(partial(_verified, folder / WEIGHTS, files, most))
        with _naming(folder / VOCABULARY) as file:
            words = decode_text(bytes(_verified(file, files, VOCABULARY_LIMIT)))
            vocabulary = read_vocabulary(words, described.tokens)
        with _naming(folder / WEIGHTS):
            weights = parse_weights(verified(), a)
            check(a, vocabulary, weights)
        return cls(a, vocabulary, weights, described.manifest)

    def export(self, to: str, target: StrPath) -> Path:
        """Write the model in the format of another engine, as `corelm models export` does."""
        from corelm.models.export import export

        return export(self, to, target)

    @staticmethod
    def describe(path: StrPath) -> Description:
        """Read a model without its vocabulary and weights.

        Raises:
            ModelFileError: as `read`.
        """
        folder = _folder(path)
        with _naming(folder / MANIFEST) as file:
            manifest = _checked_manifest(atomic_files.SafeFile(file).read(JSON_LIMIT))
        with _naming(folder / CONFIG) as file:
            config = parse_json(bytes(_verified(file, manifest["files"], JSON_LIMIT)))
            _refuse_format(config)
            if config.keys() != {"format", "architecture", "tokens"}:
                raise ModelFileError("it holds other fields than format, architecture and tokens")
            architecture = Architecture.from_dict(config["architecture"])
        return Description(architecture, str(config["tokens"]), manifest)

    @staticmethod
    def write(
        path: StrPath,
        architecture: Architecture,
        vocabulary: StoredVocabulary,
        weights: Mapping[str, NDArray[Any]],
        training: Mapping[str, Any],
        figures: Mapping[str, Any],
        dtype: str = "float16",
        prompt: str | None = None,
    ) -> None:
        """Write a model whole or not at all; an earlier one stays until the new one is complete.

        Args:
            path: the folder; an existing one is replaced if it has only a model's files.
            architecture: the shape of the network.
            vocabulary: its tokens.
            weights: arrays by name, as `weights.shapes` lists them.
            training: a record of the training, for JSON.
            figures: the measurements, for JSON.
            dtype: the number format in the file, `float16` or `float32`.
            prompt: the model's default prompt.

        Raises:
            ModelFileError: weights that do not fit, figures that JSON cannot hold, a folder with
                other things in it, a full disk, a read-only place.
        """
        check(architecture, vocabulary, weights)
        try:
            rounded = _rounded(weights, dtype)
            contents = _contents(architecture, vocabulary, rounded, training, figures, prompt)
            target = Path(os.path.realpath(path))
            _refuse_to_replace(target)
            atomic_files.write_folder(contents, target)
        except (OSError, ValueError, TypeError) as error:
            earlier = "; the earlier model is unchanged" if os.path.lexists(path) else ""
            reason = atomic_files.error_reason(error)
            raise ModelFileError(
                f"the model could not be written to {str(path)!r}: {reason}{earlier}"
            ) from error

    @staticmethod
    def check_target(path: StrPath) -> None:
        """Raise if `write` could not write to a place, before hours of training are lost.

        Raises:
            ModelFileError: a file, a folder with other things in it, a read-only place.
        """
        try:
            target = Path(os.path.realpath(path))
            _refuse_to_replace(target)
            atomic_files.check_writable(target.parent)
        except (OSError, ValueError) as error:
            raise ModelFileError(
                f"a model cannot be written to {str(path)!r}: {atomic_files.error_reason(error)}"
            ) from error


def _rounded(weights: Mapping[str, NDArray[Any]], dtype: str) -> dict[str, NDArray[Any]]:
    if dtype not in ("float16", "float32"):
        raise ValueError(f"weights are written as float16 or float32, not {dtype}")
    # Numbers that overflow become infinite, and are reported below.
    with np.errstate(over="ignore"):
        rounded = {name: np.ascontiguousarray(w, dtype=dtype) for name, w in weights.items()}
    for name, weight in rounded.items():
        if not np.isfinite(weight).all():
            raise ValueError(f"the weights {name!r} are too large for {dtype}")
    return rounded


def _contents(
    architecture: Architecture,
    vocabulary: StoredVocabulary,
    weights: dict[str, NDArray[Any]],
    training: Mapping[str, Any],
    figures: Mapping[str, Any],
    prompt: str | None,
) -> dict[str, bytes]:
    """Return the files by name in the order of writing, the manifest last."""
    from safetensors import numpy as safetensors

    config = {"format": FORMAT, "architecture": architecture.to_dict(), "tokens": vocabulary.style}
    files = {
        CONFIG: dump_json(config),
        VOCABULARY: vocabulary.dumps().encode(),
        WEIGHTS: safetensors.save(weights),
    }
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "files": {n: {"size": len(c), "sha256": atomic_files.sha256(c)} for n, c in files.items()},
        "training": dict(training),
        "figures": dict(figures),
    }
    if prompt is not None:
        manifest[PROMPT] = prompt
    manifest["checksum"] = atomic_files.sha256(dump_json(manifest))
    return {**files, MANIFEST: dump_json(manifest)}


def _refuse_to_replace(target: Path) -> None:
    """Raise if a folder has files that are not a model's."""
    if not os.path.lexists(target):
        return
    if not target.is_dir():
        raise ValueError("a file has that name")
    names = {file.name for file in target.iterdir() if not file.name.startswith(".")}
    foreign = sorted(names - {MANIFEST, CONFIG, VOCABULARY, WEIGHTS})
    if foreign:
        raise ValueError(f"the folder also holds {foreign[0]!r}; choose another folder")


def _folder(path: StrPath) -> Path:
    """Return the folder at a path, or its backup if a replacement was interrupted."""
    try:
        real = Path(os.path.realpath(path))
        folder = Path(path) if os.path.lexists(real) else backup_path(real)
        mode = folder.stat().st_mode
    except FileNotFoundError:
        raise ModelFileError(f"there is no model at {str(path)!r}") from None
    except (OSError, ValueError) as error:
        raise ModelFileError(
            f"{str(path)!r} cannot be read: {atomic_files.error_reason(error)}"
        ) from error
    if not stat.S_ISDIR(mode):
        raise ModelFileError(f"{str(path)!r} isn't a folder; a model is a folder with {MANIFEST}")
    return folder


@contextmanager
def _naming(file: Path) -> Iterator[Path]:
    """Prefix an error with the name of the file."""
    try:
        yield file
    except ModelFileError as error:
        raise ModelFileError(f"{str(file)!r}: {error}") from error


def _in_background(work: Callable[[], T]) -> Callable[[], T]:
    """Start work in another thread; return a function that waits for the result."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # raised again by the returned function
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()

    def result() -> T:
        thread.join()
        if errors:
            raise errors[0]
        return results[0]

    return result


def _verified(file: Path, files: dict[str, dict[str, Any]], limit: int) -> memoryview:
    """Return the content of a file if its size and checksum match the manifest."""
    content, entry = atomic_files.read_buffer(file, limit), files[file.name]
    if len(content) != entry["size"]:
        raise ModelFileError(f"it has {len(content)} bytes, the manifest says {entry['size']}")
    if atomic_files.sha256(content) != entry["sha256"]:
        raise ModelFileError("it is damaged: its checksum is not the one in the manifest")
    return content


def _checked_manifest(content: bytes) -> dict[str, Any]:
    manifest = parse_json(content)
    _refuse_format(manifest)
    rest = {key: value for key, value in manifest.items() if key != "checksum"}
    # The checksum covers the manifest without its last field, which is the checksum.
    last = b',\n  "checksum": "%s"\n}\n' % str(manifest.get("checksum")).encode()
    dumped = content.removesuffix(last) + b"\n}\n"
    if not content.endswith(last) or atomic_files.sha256(dumped) != manifest["checksum"]:
        raise ModelFileError("it is damaged, or was changed by hand: its checksum does not fit")
    if not isinstance(rest.pop(PROMPT, ""), str):
        raise ModelFileError("its prompt is not a text")
    files = rest.get("files")
    if (
        rest.keys() != {"format", "files", "training", "figures"}
        or not isinstance(rest["training"], dict)
        or not isinstance(rest["figures"], dict)
        or not isinstance(files, dict)
        or files.keys() != {CONFIG, VOCABULARY, WEIGHTS}
        or any(not isinstance(e, dict) or e.keys() != {"size", "sha256"} for e in files.values())
    ):
        raise ModelFileError("it does not list exactly the files of a model")
    return manifest


def _refuse_format(value: dict[str, Any]) -> None:
    number = value.get("format")
    if type(number) is int and number > FORMAT:
        raise ModelFileError(
            f"a later corelm wrote it, in format {number}; this one reads format {FORMAT}: "
            "update corelm"
        )
    if type(number) is not int or number != FORMAT:
        raise ModelFileError(f"it does not say format {FORMAT}: corelm did not write it")
