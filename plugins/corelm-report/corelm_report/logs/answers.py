"""The scores in a log of lm-evaluation-harness or of Inspect, question by question."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from corelm.errors import ModelFileError, UsageError
from corelm.runs import SafeFile, printable
from corelm_report.json_lines import json_object, placed_lines

LARGEST = 2**30
"""The largest log in bytes, and the largest uncompressed size."""
WORDS = {
    "c": 1.0, "correct": 1.0, "yes": 1.0, "true": 1.0, "p": 0.5, "partial": 0.5,
    "i": 0.0, "incorrect": 0.0, "n": 0.0, "noanswer": 0.0, "no": 0.0, "false": 0.0,
}  # fmt: skip
"""The numbers for the words that Inspect's scorers return."""
OF_SAMPLES = (
    "doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics",
    "doc_hash", "prompt_hash", "target_hash",
)  # fmt: skip
"""The keys of lm-evaluation-harness that aren't metrics."""


@dataclass(frozen=True)
class Answer:
    """The score of one answer.

    Attributes:
        metric: the name of the score.
        question: the question; answers of two logs to the same question are paired.
        repeat: the index of the answer among the answers to its question.
        value: the score.
        cluster: the cluster of the question, such as a passage that several questions share, or
            None.
    """

    metric: str
    question: str
    repeat: int
    value: float
    cluster: str | None = None


def read_answers(path: Path, cluster: str | None = None) -> list[Answer]:
    """Read a log: samples_*.jsonl of lm-evaluation-harness, .eval or .json of Inspect.

    Args:
        path: the log.
        cluster: the key of the cluster in a question's document or a sample's metadata.

    Raises:
        UsageError: a file that cannot be read, or is no such log.
    """
    try:
        if path.suffix == ".eval":
            found = list(_of_samples(_in_archive(path), path, cluster))
        elif path.suffix == ".json":
            found = list(_of_samples(_in_json(path), path, cluster))
        else:
            found = list(_of_lines(path, cluster))
    except ModelFileError as error:
        raise UsageError(f"cannot read the log {str(path)!r}: {error}") from None
    if not found:
        raise UsageError(f"{str(path)!r} has no scores: expected samples_*.jsonl, .eval or .json")
    return found


def _of_lines(path: Path, cluster: str | None) -> Iterator[Answer]:
    """Yield the answers in the samples of lm-evaluation-harness."""
    text = SafeFile(path).text(LARGEST)
    for place, line in placed_lines(text, path.name):
        sample = json_object(line, place)
        if "doc_id" not in sample:
            raise UsageError(f"{place} has no doc_id")
        yield from _of_document(sample, place, cluster)


def _of_document(sample: Mapping[str, Any], place: str, cluster: str | None) -> Iterator[Answer]:
    # The hash tells documents of different data apart; early versions have none.
    question = f"{sample['doc_id']} {sample.get('doc_hash', '')}".strip()
    names = sample.get("metrics") or [key for key in sample if key not in OF_SAMPLES]
    filtered = sample.get("filter", "none")
    common = _cluster(sample.get("doc"), cluster, place)
    for name in names:
        value = _number(sample.get(name))
        if value is not None:
            metric = name if filtered in ("none", None) else f"{name},{filtered}"
            yield Answer(str(metric), question, 0, value, common)


def _of_samples(
    samples: Iterable[Mapping[str, Any]], path: Path, cluster: str | None
) -> Iterator[Answer]:
    """Yield the answers in the samples of Inspect; a sample that failed has no score."""
    for sample in samples:
        question, place = (
            str(sample.get("id")),
            f"sample {printable.shown(sample.get('id'))} of {path.name}",
        )
        common = _cluster(sample.get("metadata"), cluster, place)
        for scorer, score in (sample.get("scores") or {}).items():
            value = score.get("value") if isinstance(score, Mapping) else None
            several = value if isinstance(value, Mapping) else {"": value}
            for name, each in several.items():
                number = _number(each)
                if number is not None:
                    metric = f"{scorer}.{name}" if name else str(scorer)
                    yield Answer(metric, question, int(sample.get("epoch") or 1), number, common)


def _in_json(path: Path) -> Iterator[Mapping[str, Any]]:
    log = json_object(SafeFile(path).text(LARGEST), path.name)
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
            names = [each for each in archive.infolist() if each.filename.startswith("samples/")]
            if sum(each.file_size for each in names) > LARGEST:
                raise UsageError(f"the samples of {str(path)!r} are larger than {LARGEST:,} bytes")
            for each in names:
                content = archive.read(each).decode("utf-8", "replace")
                yield json_object(content, f"{each.filename} of {path.name}")
    except NotImplementedError as error:
        raise UsageError(
            f"{str(path)!r} is compressed in a way that this Python cannot read ({error}): use "
            "Python 3.14, or pip install zipfile-zstd, or write it as JSON with `inspect log "
            "convert --to json --output-dir FOLDER LOG`"
        ) from None
    except (OSError, zipfile.BadZipFile) as error:
        raise UsageError(f"cannot read the log {str(path)!r}: {error}") from None


def _cluster(content: Any, key: str | None, place: str) -> str | None:
    if key is None:
        return None
    found = content.get(key) if isinstance(content, Mapping) else None
    if found is None:
        raise UsageError(f"{place} has no {printable.shown(key)}, by which questions are clustered")
    return str(found)


def _number(value: Any) -> float | None:
    """Convert a score to a number; None for a list, or for a word that isn't a score."""
    if isinstance(value, str):
        word = value.strip().lower()
        if word in WORDS:
            return WORDS[word]
        try:
            value = float(word)
        except ValueError:
            return None
    if not isinstance(value, (bool, int, float)) or not math.isfinite(value):
        return None
    return float(value)
