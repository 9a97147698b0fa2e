"""Files of blinded pairs, as one page or CSV, and of verdicts."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from corelm.errors import ModelFileError, UsageError
from corelm.runs import SafeFile, printable
from corelm_report.document.figure import visible
from corelm_report.json_lines import SUFFIXES, json_object, placed_lines
from corelm_report.judging.pairs import Pair

COLUMNS = ("pair", "prompt", "first", "second", "verdict", "judge")
LARGEST = 2**28
"""The largest file of verdicts, in bytes."""
VERDICTS = {"first": 1.0, "second": 0.0, "tie": 0.5}
"""The verdicts, and the share of a win that they give the text shown first."""
TEMPLATE, PAGES = "corelm_report.judging.template", "corelm.pages"


@dataclass(frozen=True)
class Verdict:
    """A judge's verdict on a pair.

    Attributes:
        pair: the identity of the pair.
        first: 1 if the text shown first is better, 0 if the second is, 0.5 for a tie.
        judge: the name of the judge, or empty.
    """

    pair: str
    first: float
    judge: str = ""


def pairs_as_csv(pairs: Sequence[Pair]) -> str:
    """Return the pairs as CSV, with empty columns for verdicts.

    A spreadsheet takes a cell that begins with "=" for a formula, so a "'" stands before it.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for pair in pairs:
        prompt = str(pair.sample[0])
        writer.writerow([pair.id, *map(_cell, (prompt, *pair.shown)), "", ""])
    return out.getvalue()


def _cell(text: str) -> str:
    written = visible(text)
    return f"'{written}" if written[:1] in ("=", "+", "-", "@", "\t", "\r") else written


def pairs_as_page(pairs: Sequence[Pair]) -> str:
    """Return the pairs as one page, which loads nothing and saves the verdicts as CSV."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FunctionLoader(lambda name: _file(TEMPLATE, name)),
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        finalize=lambda value: visible(value) if type(value) is str else value,
    )  # fmt: skip
    css = f"{_file(PAGES, 'shared.css')}\n{_file(TEMPLATE, 'judge.css')}"
    script = _file(TEMPLATE, "judge.js")
    page = environment.get_template("judge.html.jinja")
    return page.render(
        pairs=pairs, css=Markup(css), js=Markup(script),
        hashes={"css": _checksum(css), "js": _checksum(script)},
    )  # fmt: skip


def _file(package: str, name: str) -> str:
    return resources.files(package).joinpath(name).read_text("utf-8").strip()


def _checksum(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def read_verdicts(path: Path) -> list[Verdict]:
    """Read verdicts from CSV or JSON lines, with `pair`, `verdict` and perhaps `judge` in each.

    A line without a verdict is ignored: the judge skipped the pair.

    Raises:
        UsageError: a file that cannot be read, or an invalid line; the message has its number.
    """
    try:
        text = SafeFile(path).text(LARGEST)
    except ModelFileError as error:
        raise UsageError(f"cannot read the verdicts {str(path)!r}: {error}") from None
    lines = _of_json(text, path) if path.suffix in SUFFIXES else _of_csv(text, path)
    return [found for place, line in lines if (found := _verdict(line, place)) is not None]


def _of_csv(text: str, path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff")))
    missing = {"pair", "verdict"} - set(reader.fieldnames or ())
    if missing:
        raise UsageError(f"{str(path)!r} has no column {', '.join(sorted(missing))}")
    try:
        for line in reader:
            yield f"line {reader.line_num} of {path.name}", line
    except csv.Error as error:
        raise UsageError(f"line {reader.line_num} of {path.name}: {error}") from None


def _of_json(text: str, path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for place, line in placed_lines(text, path.name):
        yield place, json_object(line, place)


def _verdict(line: Mapping[str, Any], place: str) -> Verdict | None:
    said = line.get("verdict")
    if said is None or not str(said).strip():
        return None
    word = str(said).strip().lower()
    if word not in VERDICTS or not isinstance(line.get("pair"), str):
        raise UsageError(
            f"{place}: a verdict is one of {', '.join(VERDICTS)}, not {printable.shown(said)}"
        )
    return Verdict(str(line["pair"]).strip(), VERDICTS[word], str(line.get("judge") or ""))


def matched(
    verdicts: Iterable[Verdict], pairs: Iterable[Pair], where: str
) -> list[tuple[Pair, Verdict]]:
    """Return each verdict with its pair.

    Raises:
        UsageError: a verdict on a pair that the report does not have.
    """
    known = {pair.id: pair for pair in pairs}
    found = []
    for verdict in verdicts:
        if verdict.pair not in known:
            raise UsageError(
                f"{where} has a verdict on the pair {printable.shown(verdict.pair)}, which the "
                "results lack: they are of a different study, or were made again since"
            )
        found.append((known[verdict.pair], verdict))
    return found
