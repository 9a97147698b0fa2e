"""The scores in a log of another program, question by question.

A package reads the logs of one program. Its entry points belong to the group `corelm.logs`; each is
named after the suffix of a log, without its dot, and is a function from the path of a log to its
`Scores`. The program itself need not be installed.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, NamedTuple

from corelm.commands import messages
from corelm.errors import MissingDependencyError, ModelFileError, UsageError
from corelm.runs import printable

GROUP = "corelm.logs"
PACKAGES = {
    ".jsonl": "corelm-lm-eval",
    ".eval": "corelm-inspect",
    ".json": "corelm-inspect",
}
"""The package that reads each kind of log."""
WORDS = {
    "c": 1.0, "correct": 1.0, "yes": 1.0, "true": 1.0, "p": 0.5, "partial": 0.5,
    "i": 0.0, "incorrect": 0.0, "n": 0.0, "noanswer": 0.0, "no": 0.0, "false": 0.0,
}  # fmt: skip
"""The numbers for the words that scorers return."""

Scores = Iterable[tuple[str, str, Any, int, Any, Mapping[str, Any]]]
"""For each answer: its place in the log, for messages; the name of the question; what was asked and
expected, as JSON has it; the index of the answer among those to the question; the mapping in which
`--cluster` is looked up; the scores by name."""


class Answer(NamedTuple):
    """The score of one answer.

    Attributes:
        metric: the name of the score.
        question: the name of the question; answers of two logs to the same question are paired.
        repeat: the index of the answer among the answers to its question.
        value: the score.
        cluster: the cluster of the question, such as a passage that several questions share, or
            None.
        content: the digest of what was asked and expected.
    """

    metric: str
    question: str
    repeat: int
    value: float
    cluster: str | None = None
    content: str = ""


def read_answers(path: Path, cluster: str | None = None) -> list[Answer]:
    """Read a log: samples_*.jsonl of lm-evaluation-harness, .eval or .json of Inspect.

    Args:
        path: the log.
        cluster: the key of the cluster in a question's document or a sample's metadata.

    Raises:
        MissingDependencyError: the package that reads such logs is not installed.
        UsageError: a file that cannot be read, or is no such log.
    """
    read, answers = _reader(path), dict[tuple[str, str, int], Answer]()
    unscored = 0
    try:
        for place, question, asked, repeat, about, scores in read(path):
            common = _cluster(about, cluster, place)
            text = json.dumps(asked, sort_keys=True, default=str)
            content = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
            values = {metric: _number(score) for metric, score in scores.items()}
            unscored += all(value is None for value in values.values())
            for metric, value in values.items():
                if value is None:
                    continue
                if not any(part not in (None, {}, []) for part in asked):
                    raise UsageError(f"{place} has no question, by which answers are compared")
                answer = Answer(metric, question, repeat, value, common, content)
                # An answer that is listed twice counts once.
                if answers.setdefault(answer[:3], answer) != answer:
                    raise UsageError(f"{place} contradicts an earlier line about the same answer")
    except ModelFileError as error:
        raise UsageError(f"cannot read the log {str(path)!r}: {error}") from None
    if not answers:
        raise UsageError(f"{str(path)!r} has no scores: expected samples_*.jsonl, .eval or .json")
    if unscored:
        count = printable.counted(unscored, "answer")
        messages.tell(f"left out of {path.name}: {count} without a score", "note")
    return [*answers.values()]


def _reader(path: Path) -> Callable[[Path], Scores]:
    suffix = path.suffix if path.suffix in PACKAGES else ".jsonl"
    for point in entry_points(group=GROUP, name=suffix[1:]):
        reader: Callable[[Path], Scores] = point.load()
        return reader
    package = PACKAGES[suffix]
    raise MissingDependencyError(
        f"the package that reads {suffix} logs is not installed: pip install {package}"
    )


def _cluster(content: Any, key: str | None, place: str) -> str | None:
    if key is None:
        return None
    cluster = content.get(key) if isinstance(content, Mapping) else None
    if cluster is None:
        raise UsageError(f"{place} has no {printable.shown(key)}, by which questions are clustered")
    return str(cluster)


def _number(value: Any) -> float | None:
    """Convert a score to a number; None for a list, or for a word that isn't a score."""
    if isinstance(value, str):
        value = WORDS.get(value.strip().lower(), value)
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
