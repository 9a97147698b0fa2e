"""The scores in a log of lm-evaluation-harness, for `corelm study read`.

The harness need not be installed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from corelm.errors import UsageError
from corelm.runs import SafeFile, json_object, numbered_lines

LARGEST = 2**30
"""The largest log, in bytes."""
ASKED = ("doc", "doc_hash", "target")
"""The keys of a sample that are the question, and its answer."""
NO_METRICS = (
    "doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics",
    "doc_hash", "prompt_hash", "target_hash",
)  # fmt: skip
"""The keys of a sample that aren't metrics, for early versions, which don't list the metrics."""


def read_log(path: Path) -> Iterator[tuple[str, str, Any, int, Any, dict[str, Any]]]:
    """Yield place, document's number, question, repeat, document and scores of each sample.

    Args:
        path: a log of the harness, samples_*.jsonl.

    Raises:
        ModelFileError, UsageError: a file that cannot be read, or is no such log.
    """
    for place, line in numbered_lines(SafeFile(path).text(LARGEST), path.name):
        yield place, *_scores(_sample(line, place))


def _sample(line: str, place: str) -> dict[str, Any]:
    sample = json_object(line, place)
    if "doc_id" not in sample:
        raise UsageError(f"{place} has no doc_id")
    names = sample.get("metrics") or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UsageError(f"{place} has no list of metrics")
    return sample


def _scores(sample: dict[str, Any]) -> tuple[str, Any, int, Any, dict[str, Any]]:
    names = sample.get("metrics") or [key for key in sample if key not in NO_METRICS]
    kind = sample.get("filter", "none")
    end = "" if kind in ("none", None) else f",{kind}"
    scores = {f"{name}{end}": sample.get(name) for name in names}
    asked = [sample.get(key) for key in ASKED]
    return str(sample["doc_id"]), asked, 0, sample.get("doc"), scores
