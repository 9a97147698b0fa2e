"""Every form can be made of any valid report: none raises, none passes markup on."""

from __future__ import annotations

import csv
import io
import random
import re
from functools import reduce
from operator import getitem
from typing import Any

import pytest
from documents import tripped, typed
from jsonschema import ValidationError
from rich.console import Console

import corelm
from corelm_report.document.schema import _validator
from corelm_study.cli.finish_report import report_table

NUMBERS = [None, 0, -1, -0.0, 1e-300, 0.5, 1.0, 1e6, -1e308, 1e308, 10**300]
TEXTS = ["", "a | b", "`", "<script>x</script>", "=1+1", "\x1b]0;x\x07", "a\nb\r\n", "\ud800", "🎬"]


def shortened(value: Any) -> Any:
    """A copy with no list longer than two."""
    if isinstance(value, dict):
        return {key: shortened(part) for key, part in value.items()}
    return [shortened(part) for part in value[:2]] if isinstance(value, list) else value


def places(value: Any, path: str = ""):
    """Yield the container, the key and the path of every number and text of a document.

    The elements of a list share one path, since they share one schema.
    """
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, part in list(items):
        inner = f"{path}/{key if isinstance(value, dict) else ''}"
        if isinstance(part, (dict, list)):
            yield from places(part, inner)
        else:
            yield value, key, inner


def allowed(document: Any) -> dict[Any, list[Any]]:
    """The other values that the schema allows in each place, by its path and whether it is a text.

    A value is put in all of them at once, and the errors say where it is refused: to check the
    document for each value of each place took 15 s.
    """
    first: dict[Any, Any] = {}
    for holder, key, path in places(document):
        first.setdefault((path, isinstance(holder[key], str)), (holder, key, holder[key]))
    values: dict[Any, list[Any]] = {place: [] for place in first}
    for is_text, candidates in ((True, TEXTS), (False, NUMBERS)):
        tried = {place: found for place, found in first.items() if place[1] is is_text}
        for value in candidates:
            for holder, key, _ in tried.values():
                holder[key] = value
            refused = {place_of(document, error) for error in _validator("").iter_errors(document)}
            assert refused <= {(id(holder), key) for holder, key, _ in tried.values()}
            for place, (holder, key, _) in tried.items():
                values[place] += [] if (id(holder), key) in refused else [value]
        for holder, key, before in tried.values():
            holder[key] = before
    return values


def place_of(document: Any, error: ValidationError) -> tuple[int, Any]:
    """The container, by its identity, and the key of the value that an error is about."""
    *path, key = error.absolute_path
    return id(reduce(getitem, path, document)), key


def forms(document: dict[str, Any]) -> str:
    """Every light form of a report, one after the other."""
    report = corelm.Report.of_document(typed(document))
    fails = [row["sampler"] for row in document["samplers"]][:1] == ["greedy"]
    console = Console(file=io.StringIO(), width=80, markup=False)
    console.print(*report_table(typed(document), 80))
    console.print(*report_table(typed(document), 30, unicode=False))
    table = list(csv.reader(io.StringIO(report.to_csv())))
    assert len({len(line) for line in table}) == 1
    lines = report.to_markdown().splitlines()
    cells = [len(re.findall(r"(?<!\\)\|", line)) for line in lines if line.startswith("|")]
    assert len(set(cells)) == 1
    shown = report._repr_html_()
    assert "<script" not in shown
    said = tripped(document, "greedy.loops > 0.5") if fails else ""
    return "".join([report.summary, said, console.file.getvalue(), *lines])


@pytest.mark.slow
def test_any_number_and_any_text(document):
    """All at once, in ten mixtures."""
    document = shortened({**document, "samplers": document["samplers"][::4]})
    for text in document["samplers"][0]["texts"]:  # what only data frames have
        del text["figures"], text["by_token"]
    values_at = allowed(document)
    choices = [
        (holder, key, values_at[path, isinstance(holder[key], str)])
        for holder, key, path in places(document)
    ]
    rng = random.Random(0)
    for _ in range(10):
        for holder, key, values in choices:
            if values and rng.random() < 0.5:
                holder[key] = rng.choice(values)
        assert _validator("").is_valid(document)
        forms(document)
    assert sum(len(values) > 5 for _, _, values in choices) > 100


@pytest.mark.parametrize("left", [0, 1, 2])
def test_any_set_of_samplers(document, left):
    document["samplers"] = document["samplers"][-left:] if left else []
    for reference in (document["reference"], None):
        document["reference"] = reference
        assert forms(document)
