"""A report as the columns of a data frame, with a line for each sampler, text or token."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from corelm.errors import ReportError
from corelm.reports.document.lookup import HUMAN, Row, figures, rows
from corelm.reports.render import csv

Columns = dict[str, list[Any]]
Block = tuple[Mapping[str, Any], Mapping[str, list[Any]]]
"""Some lines of a data frame: the values that all of them share, and the columns of the others.

Without such columns it is one line.
"""


def columns(document: Row, level: str) -> Columns:
    """Return the columns of a data frame, each by its name.

    Args:
        document: the report.
        level: "figure", with the lines of the CSV; or "sampler", "text" or "token".

    Raises:
        ReportError: there is no such level, or the report has no figures of texts.
    """
    if level not in LEVELS:
        raise ReportError(f"level must be one of {', '.join(LEVELS)}, not {level!r}")
    return _joined(LEVELS[level](document))


def _of_figures(document: Row) -> Iterator[Block]:
    for name, f in csv.records(document):
        values = (name, f.view, f.metric, f.value, f.low, f.high, f.n)
        yield dict(zip(csv.HEADER, values, strict=True)), {}


def _of_samplers(document: Row) -> Iterator[Block]:
    for name, row in rows(document):
        known = {"sampler": name, "name": name} if name == HUMAN else _identity(document, row)
        values: dict[str, Any] = {}
        for f in figures(row):
            ends = {} if f.low is None else {"low": f.low, "high": f.high}
            values |= {f"{f.view}.{f.metric}": f.value}
            values |= {f"{f.view}.{f.metric}.{end}": value for end, value in ends.items()}
        yield known | values, {}


def _of_texts(document: Row) -> Iterator[Block]:
    for known, text in _texts(document):
        own = {"text": text["text"], "finish_reason": text["finish_reason"]}
        yield known | own | text["figures"], {}


def _of_tokens(document: Row) -> Iterator[Block]:
    for known, text in _texts(document):
        own = text["by_token"]
        yield known, {"position": list(range(len(own["token"]))), **own}


LEVELS: Mapping[str, Callable[[Row], Iterator[Block]]] = {
    "figure": _of_figures,
    "sampler": _of_samplers,
    "text": _of_texts,
    "token": _of_tokens,
}


def _texts(document: Row) -> Iterator[tuple[dict[str, Any], Row]]:
    """Yield the texts that the report keeps, each with what tells it from the others."""
    for row in document["samplers"]:
        known = _identity(document, row)
        for text in row["texts"]:
            if "by_token" not in text:
                raise ReportError("an earlier version of corelm made it, without figures of texts")
            own = {name: text[name] for name in ("prompt", "seed", "sample") if name in text}
            yield known | own, text


def _identity(document: Row, row: Row) -> dict[str, Any]:
    """The sampler of a row, every parameter of its stages, what it was matched to, the seed."""
    matched = row.get("matched") or {}
    return {
        "sampler": row["sampler"],
        "name": row["name"],
        **_parameters(row),
        "matched": matched.get("asked"),
        "target": matched.get("target"),
        "seed": document["header"]["seed"],
    }


def _parameters(row: Row) -> dict[str, Any]:
    """The parameters by stage and name, such as `top_p.p`; a second such stage is `top_p_2`."""
    found: dict[str, Any] = {}
    seen = Counter[str]()
    for stage in row.get("stages", ()):
        name = stage["name"]
        seen[name] += 1
        prefix = name if seen[name] == 1 else f"{name}_{seen[name]}"
        found |= {f"{prefix}.{key}": value for key, value in stage["params"].items()}
    return found


def _joined(blocks: Iterable[Block]) -> Columns:
    """Put blocks one after the other; a column that a block lacks is None there."""
    joined: Columns = {}
    order: list[str] = []
    lines = 0
    for shared, lists in blocks:
        count = max(map(len, lists.values()), default=1)
        block = {name: [value] * count for name, value in shared.items()}
        block.update(lists)
        before = -1
        for name in block:
            if name not in joined:
                joined[name] = [None] * lines
                order.insert(before + 1, name)  # next to the column that it is next to here
            before = order.index(name)
        for name, column in joined.items():
            column += block.get(name, [None] * count)
        lines += count
    return {name: joined[name] for name in order}
