"""A report as tidy CSV, and as the columns of a data frame."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from corelm.errors import ReportError
from corelm.reports.document.content import Document, KeptText, SamplerEntry
from corelm.reports.document.lookup import Estimate, estimates
from corelm.reports.document.parts import Json
from corelm.toolkit import one_line

Columns = dict[str, list[Any]]
Block = tuple[Mapping[str, Any], Mapping[str, list[Any]]]
"""Some lines of a data frame: the values that all of them share, and the columns of the others.

Without such columns it is one line.
"""


def columns(document: Document, level: str) -> Columns:
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


def _of_figures(document: Document) -> Iterator[Block]:
    for name, each in records(document):
        values = (name, each.view, each.figure, each.value, each.low, each.high, each.n)
        yield dict(zip(HEADER, values, strict=True)), {}


def _of_samplers(document: Document) -> Iterator[Block]:
    for entry in document.entries:
        values: Json = {"sampler": entry.label, "name": entry.label}
        if isinstance(entry, SamplerEntry):
            values = _identity(document, entry)
        for each in estimates(entry):
            values[f"{each.view}.{each.figure}"] = each.value
            if each.low is not None:
                ends = {"low": each.low, "high": each.high}
                values |= {f"{each.view}.{each.figure}.{end}": at for end, at in ends.items()}
        yield values, {}


def _of_texts(document: Document) -> Iterator[Block]:
    for known, text, _ in _texts(document):
        own = {"text": text.text, "finish_reason": text.finish_reason}
        yield known | own | (text.figures or {}), {}


def _of_tokens(document: Document) -> Iterator[Block]:
    for known, _, by_token in _texts(document):
        yield known, {"position": list(range(len(by_token["token"]))), **by_token}


LEVELS: Mapping[str, Callable[[Document], Iterator[Block]]] = {
    "figure": _of_figures,
    "sampler": _of_samplers,
    "text": _of_texts,
    "token": _of_tokens,
}


def _texts(document: Document) -> Iterator[tuple[Json, KeptText, dict[str, list[Any]]]]:
    """Yield the texts that the report keeps, each with its identity and its lists by token."""
    for entry in document.samplers:
        known = _identity(document, entry)
        for text in entry.texts:
            if text.by_token is None:
                raise ReportError("an earlier version of corelm made it, without figures of texts")
            own = {"prompt": text.prompt, "seed": text.seed, "sample": text.sample}
            own = {key: each for key, each in own.items() if each is not None}
            yield known | own, text, text.by_token


def _identity(document: Document, entry: SamplerEntry) -> Json:
    """Return the sampler, every parameter of its stages, its target and the seed."""
    matched = entry.matched
    return {
        "sampler": entry.sampler,
        "name": entry.name,
        **_parameters(entry),
        "matched": matched and matched.asked,
        "target": matched and matched.target,
        "seed": document.header.seed,
    }


def _parameters(entry: SamplerEntry) -> Json:
    """Return the parameters by stage and name, such as `top_p.p`, or `top_p_2.p` for a second."""
    found: Json = {}
    seen = Counter[str]()
    for stage in entry.stages:
        seen[stage.name] += 1
        prefix = stage.name if seen[stage.name] == 1 else f"{stage.name}_{seen[stage.name]}"
        found |= {f"{prefix}.{key}": value for key, value in stage.params.items()}
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


HEADER = ("sampler", "view", "metric", "value", "low", "high", "n")
FORMULA = ("=", "+", "-", "@")
"""The characters that a spreadsheet takes for the start of a formula."""


def to_csv(document: Document) -> str:
    """Render every figure of a report, each with its interval and its n."""
    written = io.StringIO()
    table = csv.writer(written, lineterminator="\n")
    table.writerow(HEADER)
    for name, found in records(document):
        texts = (_harmless(name), found.view, _harmless(found.figure))
        table.writerow([*texts, found.value, found.low, found.high, found.n])
    return written.getvalue()


def records(document: Document) -> Iterator[tuple[str, Estimate]]:
    """Yield every measured figure with the name of its entry."""
    for entry in document.entries:
        yield from ((entry.label, found) for found in estimates(entry))


def _harmless(name: str) -> str:
    """Put a name on one line that no spreadsheet runs as a formula."""
    line = one_line(name)
    return f"'{line}" if line.startswith(FORMULA) else line
