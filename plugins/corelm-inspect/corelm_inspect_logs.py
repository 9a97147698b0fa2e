"""The scores in a log of Inspect, for `corelm study read`. Inspect need not be installed."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from corelm.errors import ModelFileError, UsageError
from corelm.runs import SafeFile, json_object, printable

LARGEST = 2**30
"""The largest log in bytes, and the largest uncompressed size."""
LARGEST_SAMPLE = 2**26
"""The largest uncompressed sample, in bytes: a few kilobytes may unpack to gigabytes."""
MOST_VALUES = 2**22
"""The most commas in a sample: the value before each may take 70 bytes of memory."""
ASKED = ("input", "choices", "target")
"""The keys of a sample that are the question, and its answer."""


def read_log(path: Path) -> Iterator[tuple[str, str, Any, int, Any, dict[str, Any]]]:
    """Yield place, id, question, epoch, metadata and scores of each sample.

    Args:
        path: a log of Inspect, .eval or .json; a sample that failed has no score.

    Raises:
        ModelFileError, UsageError: a file that cannot be read, or is no such log.
    """
    for sample in _in_archive(path) if path.suffix == ".eval" else _in_json(path):
        place = f"sample {printable.shown(sample.get('id'))} of {path.name}"
        scores: dict[str, Any] = {}
        of_scorers, epoch = sample.get("scores") or {}, sample.get("epoch") or 1
        if not isinstance(of_scorers, Mapping) or type(epoch) is not int:
            raise UsageError(f"{place} is no sample of Inspect: its scores or epoch are unreadable")
        for scorer, score in of_scorers.items():
            value = score.get("value") if isinstance(score, Mapping) else None
            if isinstance(value, Mapping):
                scores |= {f"{scorer}.{name}": each for name, each in value.items()}
            else:
                scores[str(scorer)] = value
        asked = [_without_ids(sample.get(key)) for key in ASKED]
        yield place, str(sample.get("id")), asked, epoch, sample.get("metadata"), scores


def _without_ids(asked: Any) -> Any:
    """Return a question; without the ids of its messages, which are new in each run."""
    if not isinstance(asked, list):
        return asked
    return [
        {**each, "id": None} if isinstance(each, dict) and "role" in each else each
        for each in asked
    ]


def _in_json(path: Path) -> Iterator[Mapping[str, Any]]:
    log = json_object(SafeFile(path).text(LARGEST), path.name)
    samples = log.get("samples")
    if "eval" not in log or not isinstance(samples, list):
        raise UsageError(f"{str(path)!r} is no log of Inspect with samples")
    for number, sample in enumerate(samples):
        if not isinstance(sample, Mapping):
            raise UsageError(f"sample {number} of {str(path)!r} is no JSON object")
        yield sample


def _in_archive(path: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the samples in a compressed log, without unpacking it to disk."""
    # Inspect compresses by Zstandard, which Python's zipfile reads from 3.14 on; before, once this
    # package is imported, which Inspect itself depends on.
    with suppress(ImportError):
        import_module("zipfile_zstd")
    if not path.is_file():  # opening a pipe may wait for ever
        raise ModelFileError("it isn't a regular file")
    try:
        with zipfile.ZipFile(path) as archive:
            members = [each for each in archive.infolist() if each.filename.startswith("samples/")]
            if sum(each.file_size for each in members) > LARGEST:
                raise UsageError(f"the samples of {str(path)!r} are larger than {LARGEST:,} bytes")
            for each in members:
                if each.file_size > LARGEST_SAMPLE:
                    raise UsageError(f"{each.filename} of {path.name} has {each.file_size:,} bytes")
                content, place = archive.read(each), f"{each.filename} of {path.name}"
                if content.count(b",") > MOST_VALUES:
                    raise UsageError(f"{place} has more than {MOST_VALUES:,} values")
                yield json_object(content.decode("utf-8", "replace"), place)
    except NotImplementedError as error:
        raise UsageError(
            f"{str(path)!r} is compressed in a way that this Python cannot read ({error}): use "
            "Python 3.14, or pip install zipfile-zstd, or write it as JSON with `inspect log "
            "convert --to json --output-dir FOLDER LOG`"
        ) from None
    except (OSError, ValueError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise ModelFileError(str(error)) from None
