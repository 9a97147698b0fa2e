"""A report as tidy CSV, and as the columns of a data frame."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

from corelm.errors import ReportError
from corelm_pages.formats import as_csv
from corelm_pages.permutation_tests import permutation_tests
from corelm_report.document.content import Document, SamplerEntry
from corelm_report.document.figures import GENERATED, VIEWS
from corelm_report.document.lookup import OF_SETS, difference, estimates
from corelm_report.document.parts import Json, KeptText

Columns = dict[str, list[Any]]
Block = tuple[Mapping[str, Any], Mapping[str, list[Any]]]
"""Some lines of a data frame: the values that all of them share, and the columns of the others.

Without such columns it is one line.
"""


def columns(document: Document, level: str) -> Columns:
    """Return the columns of a data frame, each by its name.

    Args:
        document: the report.
        level: a key of `LEVELS`; "figure" has the lines of the CSV.

    Raises:
        ReportError: there is no such level, or tests need texts that the report has not kept.
    """
    if level not in LEVELS:
        raise ReportError(f"level must be one of {', '.join(LEVELS)}, not {level!r}")
    empty: Columns = {name: [] for name in HEADER} if level == "figure" else {}
    return _joined(LEVELS[level](document)) or empty


def _of_figures(document: Document) -> Iterator[Block]:
    """Yield a line for every figure of an entry, then one for each seed's texts."""
    empty = dict.fromkeys(HEADER)
    for entry in document.entries:
        for each in estimates(entry):
            line = {"sampler": entry.label, "view": each.view, "metric": each.figure}
            own: Json = {"value": each.value, "low": each.low, "high": each.high, "n": each.n}
            # `n` may be larger than the sets behind a figure that depends on their size.
            if each.view == GENERATED and each.figure in OF_SETS and entry.generated_texts:
                own["set_size"] = entry.generated_texts.set_size
            if entry.differences and (apart := difference(entry, each.figure, each.view)):
                own |= {"against": entry.differences.against, "difference": apart.value}
                own |= {"difference_low": apart.low, "difference_high": apart.high}
            yield {**empty, **line, **own}, {}
            texts = entry.generated_texts if each.view == GENERATED else None
            if texts and texts.by_seed and each.figure in texts.by_seed:
                # A deterministic decoder has only the first seed.
                values = texts.by_seed[each.figure].values
                for seed, value in zip(document.header.seeds, values, strict=False):
                    yield {**empty, **line, "value": value, "seed": seed}, {}


def _of_differences(document: Document) -> Iterator[Block]:
    for entry in document.samplers:
        if entry.error is None and entry.differences is not None:
            identity = {**_identity(document, entry), "against": entry.differences.against}
            for view in VIEWS:
                for figure, each in entry.differences.of(view).items():
                    low, high = each.ci95 or (None, None)
                    own = {"value": each.value, "low": low, "high": high}
                    yield {**identity, "view": view, "metric": figure, **own}, {}


def _of_tests(document: Document) -> Iterator[Block]:
    by_name = {entry.label: entry for entry in document.samplers}
    for test in permutation_tests(document):
        yield {**_identity(document, by_name[test.sampler]), **asdict(test)}, {}


def _of_seeds(document: Document) -> Iterator[Block]:
    several = document.header.seeds or [document.header.seed]
    for entry in document.samplers:
        texts = entry.generated_texts
        by_seed = (texts and texts.by_seed) or {}
        for at, seed in enumerate(several if by_seed else []):
            figures = {name: each.values[at] for name, each in by_seed.items()}
            yield {**_identity(document, entry), "seed": seed, **figures}, {}


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
    for identity, text in _texts(document):
        own = {"text": text.text, "finish_reason": text.finish_reason}
        yield identity | own | (text.figures or {}), {}


def _of_tokens(document: Document) -> Iterator[Block]:
    for identity, text in _texts(document):
        by_token = text.by_token or {}
        yield identity, {"position": list(range(len(by_token.get("token", ())))), **by_token}


LEVELS: Mapping[str, Callable[[Document], Iterator[Block]]] = {
    "figure": _of_figures,
    "difference": _of_differences,
    "test": _of_tests,
    "sampler": _of_samplers,
    "seed": _of_seeds,
    "text": _of_texts,
    "token": _of_tokens,
}


def _texts(document: Document) -> Iterator[tuple[Json, KeptText]]:
    """Yield the report's texts, each with its identity."""
    for entry in document.samplers:
        identity = _identity(document, entry)
        for text in entry.texts:
            own = {"prompt": text.prompt, "seed": text.seed, "sample": text.sample}
            own = {key: each for key, each in own.items() if each is not None}
            yield identity | own, text


def _identity(document: Document, entry: SamplerEntry) -> Json:
    """Return the sampler, its stages' parameters, its target and, if there is one, the seed.

    Figures of several seeds together have none.
    """
    matched = entry.matched
    return {
        "sampler": entry.sampler,
        "name": entry.name,
        **_parameters(entry),
        "matched": matched and matched.asked,
        "target": matched and matched.target,
        "seed": document.header.seed if len(document.header.seeds) <= 1 else None,
    }


def _parameters(entry: SamplerEntry) -> Json:
    """Return the parameters by stage and name, such as `top_p.p`, or `top_p_2.p` for a second."""
    parameters: Json = {}
    seen = Counter[str]()
    for stage in entry.stages:
        seen[stage.name] += 1
        prefix = stage.name if seen[stage.name] == 1 else f"{stage.name}_{seen[stage.name]}"
        parameters |= {f"{prefix}.{key}": value for key, value in stage.params.items()}
    return parameters


def _joined(blocks: Iterable[Block]) -> Columns:
    """Concatenate blocks; a column that a block lacks is None there."""
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
                order.insert(before + 1, name)  # next to its neighbour in this block
            before = order.index(name)
        for name, column in joined.items():
            column += block.get(name, [None] * count)
        lines += count
    return {name: joined[name] for name in order}


HEADER = (
    "sampler", "view", "metric", "value", "low", "high", "n", "set_size", "seed", "against",
    "difference", "difference_low", "difference_high",
)  # fmt: skip
"""The columns of the level "figure". A line with a seed is the figure of its texts alone."""


def to_csv(document: Document, level: str = "figure") -> str:
    """Render a level of a report as CSV: by default every figure with its interval and its n."""
    named = columns(document, level)
    return as_csv(named, zip(*named.values(), strict=True))
