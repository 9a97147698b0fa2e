"""Export a model as a `.keras` file, which Keras reads and which carries its vocabulary."""

from __future__ import annotations

import os
import secrets
import zipfile
from contextlib import suppress
from pathlib import Path

from corelm.errors import ModelFileError, UsageError
from corelm.model import bundle, disk
from corelm.model.keras_file import TEXT, VOCABULARY, import_keras


def to_keras(
    model: bundle.Bundle, target: str | os.PathLike[str], *, overwrite: bool = False
) -> Path:
    """Write a bundle as a `.keras` file, whole or not at all.

    Args:
        model: what `bundle.read` returned.
        target: the file; its name ends with `.keras`.
        overwrite: whether an earlier file may be replaced.

    Returns:
        The path of the file.

    Raises:
        UsageError: a name without `.keras`, or a file that is there already.
        ModelFileError: a full disk, a read-only place.
        MissingDependencyError: Keras is not installed, or too old.
    """
    path = Path(target)
    if path.suffix != ".keras":
        raise UsageError(f"the name of a Keras file ends with .keras, unlike {str(path)!r}")
    if os.path.lexists(path) and not overwrite:
        raise UsageError(f"{str(path)!r} is there already; choose another name or overwrite it")
    import_keras()
    partial = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.keras")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _save(model, partial)
        os.replace(partial, path)
    except OSError as error:
        raise ModelFileError(
            f"the model could not be written to {str(path)!r}: {disk.reason(error)}"
        ) from error
    finally:
        with suppress(OSError):
            partial.unlink()
    return path


def _save(model: bundle.Bundle, path: Path) -> None:
    from corelm.model.architecture import build

    network = build(model.architecture)
    bundle.set_weights(network, model.weights)
    network.save(path)
    said = {"tokens": model.vocabulary.style, "context_length": model.architecture.context_length}
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(TEXT, disk.dumped(said))
        archive.writestr(VOCABULARY, model.vocabulary.dumps())
