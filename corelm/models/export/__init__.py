"""Write corelm's models in the formats of other engines; each format has a module here.

A format fits a network only if its library has the same architecture: so far GPT-2's, with byte
pairs as its tokens.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from corelm import atomic_files
from corelm.errors import ModelFileError, UsageError
from corelm.models.byte_pairs import BytePairVocabulary

if TYPE_CHECKING:
    from corelm.models.bundle import Bundle


StrPath = str | os.PathLike[str]


def export(model: Bundle, to: str, target: StrPath, *, overwrite: bool = False) -> Path:
    """Write a model in the format of another engine, whole or not at all.

    Args:
        model: a bundle from `Bundle.read`, with the network `gpt2`.
        to: `transformers`, `keras_hub` or `gguf`.
        target: the folder to write; for `gguf` the file.
        overwrite: replace an existing file, or a folder with an earlier export alone.

    Returns:
        The path that was written.

    Raises:
        UsageError: an unknown format, a network without a counterpart, or a target that exists.
        ModelFileError: a full disk, a read-only place.
        MissingDependencyError: the library of the format is not installed.

    Example:
        >>> import tempfile
        >>> from corelm.models.bundle import Bundle
        >>> from corelm.interop.testing import tiny_gpt2
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     tiny = Bundle.read(tiny_gpt2(f"{folder}/tiny"))
        ...     path = export(tiny, "transformers", f"{folder}/out")
        ...     print((path / "config.json").is_file())
        True
    """
    if to not in FORMATS:
        raise UsageError(f"there is no format {to!r}; there are {', '.join(FORMATS)}")
    vocabulary = _exportable(model)
    module = import_module(FORMATS[to].module)
    return write_files(lambda: module.files(model, vocabulary), target, overwrite=overwrite)


def write_files(make: Callable[[], Files], target: StrPath, *, overwrite: bool) -> Path:
    """Write the files of an export, whole or not at all.

    Args:
        make: returns the files; called once the target is known to be free.
        target: the folder to write, or the file.
        overwrite: replace an existing file, or a folder with an earlier export alone.

    Raises:
        UsageError: a target that exists.
        ModelFileError: a full disk, a read-only place.
    """
    path = Path(target)
    atomic_files.SafeFile(path).check_free(overwrite)
    # All in memory before the first byte is written, so that a failure leaves nothing behind.
    files = make()
    try:
        if isinstance(files, bytes):
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic_files.SafeFile(path).write(files)
        else:
            _refuse_to_replace(path, set(files))
            atomic_files.write_folder(files, Path(os.path.realpath(path)))
    except OSError as error:
        raise ModelFileError(
            f"the export could not be written to {str(path)!r}: {atomic_files.error_reason(error)}"
        ) from error
    return path


def _exportable(model: Bundle) -> BytePairVocabulary:
    """Return the vocabulary of a model that other engines can run."""
    kind, vocabulary = model.architecture.kind, model.vocabulary
    if kind == "gpt2" and isinstance(vocabulary, BytePairVocabulary):
        return vocabulary
    raise UsageError(
        f"this model has the network {kind} and the tokens {vocabulary.style}; only gpt2 with "
        f"byte-pairs can be exported to {', '.join(FORMATS)}, every network to a .keras file"
    )


def _refuse_to_replace(folder: Path, names: set[str]) -> None:
    """Raise if a path is a file, or a folder with files that are not an export's."""
    if not os.path.lexists(folder):
        return
    if not folder.is_dir():
        raise UsageError(f"{str(folder)!r} is a file; this format needs a folder")
    files = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    foreign = sorted(files - names)
    if foreign:
        raise UsageError(f"{str(folder)!r} also holds {foreign[0]!r}; choose another folder")


Files = Mapping[str, bytes] | bytes
"""The files of a folder by name, or the content of a single file."""


@dataclass(frozen=True)
class Format:
    """A format to export to.

    Attributes:
        name: its name.
        module: the module with a function `files`, which may need a library.
        suffix: the end of the name of a single file; empty for a folder.
        help: the format in a few words.
    """

    name: str
    module: str
    suffix: str
    help: str


FORMATS = {
    format.name: format
    for format in (
        Format("transformers", f"{__name__}.transformers", "", "a folder for transformers"),
        Format("keras_hub", "corelm_train.keras_hub_export", "", "a preset folder for KerasHub"),
        Format("gguf", f"{__name__}.gguf", ".gguf", "a file for llama.cpp"),
    )
}
