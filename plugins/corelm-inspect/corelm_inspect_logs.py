"""The scores in a log of Inspect, for `corelm study read`. Inspect need not be installed."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from corelm.errors import ModelFileError, UsageError
from corelm.runs import SafeFile, printable

LARGEST = 2**30
"""The largest log in bytes, and the largest uncompressed size."""


def read_log(path: Path) -> Iterator[tuple[str, str, int, Any, dict[str, Any]]]:
    """Yield the place, the question, the epoch, the metadata and the scores of each sample.

    Args:
        path: a log of Inspect, .eval or .json; a sample that failed has no score.

    Raises:
        ModelFileError, UsageError: a file that cannot be read, or is no such log.
    """
    for sample in _in_archive(path) if path.suffix == ".eval" else _in_json(path):
        place = f"sample {printable.shown(sample.get('id'))} of {path.name}"
        scores: dict[str, Any] = {}
        for scorer, score in (sample.get("scores") or {}).items():
            value = score.get("value") if isinstance(score, Mapping) else None
            if isinstance(value, Mapping):
                scores |= {f"{scorer}.{name}": each for name, each in value.items()}
            else:
                scores[str(scorer)] = value
        epoch = int(sample.get("epoch") or 1)
        yield place, str(sample.get("id")), epoch, sample.get("metadata"), scores


def _in_json(path: Path) -> Iterator[Mapping[str, Any]]:
    log = _object(SafeFile(path).text(LARGEST), path.name)
    samples = log.get("samples")
    if "eval" not in log or not isinstance(samples, list):
        raise UsageError(f"{str(path)!r} is no log of Inspect with samples")
    yield from samples


def _in_archive(path: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the samples in a compressed log, without unpacking it to disk."""
    # Inspect compresses by Zstandard, which Python's zipfile reads from 3.14 on; before, once this
    # package is imported, which Inspect itself depends on.
    with suppress(ImportError):
        import_module("zipfile_zstd")
    try:
        with zipfile.ZipFile(path) as archive:
            members = [each for each in archive.infolist() if each.filename.startswith("samples/")]
            if sum(each.file_size for each in members) > LARGEST:
                raise UsageError(f"the samples of {str(path)!r} are larger than {LARGEST:,} bytes")
            for each in members:
                text = archive.read(each).decode("utf-8", "replace")
                yield _object(text, f"{each.filename} of {path.name}")
    except NotImplementedError as error:
        raise UsageError(
            f"{str(path)!r} is compressed in a way that this Python cannot read ({error}): use "
            "Python 3.14, or pip install zipfile-zstd, or write it as JSON with `inspect log "
            "convert --to json --output-dir FOLDER LOG`"
        ) from None
    except (OSError, zipfile.BadZipFile) as error:
        raise ModelFileError(str(error)) from None


def _object(text: str, place: str) -> Mapping[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise UsageError(f"{place} is not JSON") from None
    if not isinstance(value, dict):
        raise UsageError(f"{place} is no JSON object")
    return value
