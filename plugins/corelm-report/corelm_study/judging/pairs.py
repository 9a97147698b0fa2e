"""Blinded pairs of texts and their files: only the report tells which sampler wrote which text.

The identity of a pair is a digest of the pair in its report, and so is the order of its texts. So a
file of pairs names no sampler, and no key has to be kept: the verdicts are matched by the report.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corelm.commands import messages
from corelm.errors import ModelFileError, UsageError
from corelm.runs import SafeFile, json_object, numbered_lines, printable
from corelm_pages.formats import as_csv, visible
from corelm_report.document.content import Document, SamplerEntry
from corelm_report.document.lookup import against
from corelm_report.document.parts import KeptText
from corelm_stats.estimates import MANY
from corelm_stats.inference import Sample


@dataclass(frozen=True)
class Pair:
    """Two texts of one prompt, seed and sample, by two samplers.

    Attributes:
        id: the identity of the pair, which names no sampler.
        sampler: the sampler whose win rate is measured.
        against: the other sampler.
        model: the name of the model.
        sample: the prompt, seed and sample of both texts.
        texts: the texts of the sampler and of the other one.
        swapped: True if the text of the other sampler is shown first.
    """

    id: str
    sampler: str
    against: str
    model: str
    sample: Sample
    texts: tuple[str, str]
    swapped: bool

    @property
    def shown(self) -> tuple[str, str]:
        """Both texts in the order in which they are shown."""
        return self.texts[::-1] if self.swapped else self.texts


def pairs_of(document: Document, model: str) -> Iterator[Pair]:
    """Yield every pair of texts that a report keeps.

    Raises:
        UsageError: the samplers are compared with human text, which has no pairs.
    """
    name = against(document)
    other = next((each for each in document.samplers if each.label == name), None)
    if other is None:
        raise UsageError(
            "pairs are of two samplers, and the report compares with human text: name a sampler, "
            'such as against = "temperature(t=1.0)"'
        )
    theirs = {_sample(text): text for text in other.texts}
    for entry in document.samplers:
        if entry is not other and entry.error is None:
            yield from _pairs(entry, other, theirs, model)


def _pairs(
    entry: SamplerEntry, other: SamplerEntry, theirs: dict[Sample, KeptText], model: str
) -> Iterator[Pair]:
    for text in entry.texts:
        sample = _sample(text)
        if sample not in theirs:
            continue
        texts = text.text, theirs[sample].text
        content = "\0".join([model, entry.label, other.label, *map(str, sample), *texts])
        digest = hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()
        yield Pair(
            digest[:16],
            entry.label,
            other.label,
            model,
            sample,
            texts,
            int(digest[16], 16) % 2 == 1,
        )


def _sample(text: KeptText) -> Sample:
    return text.prompt, text.seed or 0, text.sample


def chosen(pairs: Sequence[Pair], count: int) -> list[Pair]:
    """Return at most `count` pairs per sampler, from as many prompts as possible, in blind order.

    They are sorted by identity, so the order says nothing about the samplers, and neighbours may
    have different ones.
    """
    turns, ranked = Counter[object](), dict[tuple[str, str], list[tuple[int, str, Pair]]]()
    for pair in sorted(pairs, key=lambda each: each.id):
        sampler = pair.model, pair.sampler
        ranked.setdefault(sampler, []).append((turns[sampler, pair.sample[0]], pair.id, pair))
        turns[sampler, pair.sample[0]] += 1
    # The first pair of every prompt, then the second: with many prompts, these are the units.
    drawn = [pair for own in ranked.values() for _, _, pair in sorted(own)[:count]]
    return sorted(drawn, key=lambda each: each.id)


COLUMNS = ("pair", "prompt", "first", "second", "verdict", "judge")
LARGEST = 2**28
"""The largest file of verdicts, in bytes."""
VERDICTS = {"first": 1.0, "second": 0.0, "tie": 0.5}
"""The verdicts, and the share of a win that they give the text shown first."""
FILES = {"css": ("shared.css", "judge.css"), "js": ("judge.js",)}
"""The files of the page's style sheet and its script."""


def pairs_as_csv(pairs: Sequence[Pair]) -> str:
    """Return the pairs as CSV, with empty columns for verdicts."""
    rows = ([pair.id, pair.sample[0], *pair.shown, "", ""] for pair in pairs)
    return as_csv(COLUMNS, rows, visible)


def pairs_as_page(pairs: Sequence[Pair]) -> str:
    """Return the pairs as one page, which loads nothing and saves the verdicts as CSV."""
    from corelm_pages.page import rendered  # late, as verdicts are read without it

    return rendered("judge.html.jinja", "corelm_study.judging", FILES, pairs=pairs)


def read_judges(files: Sequence[Path], pairs: Mapping[str, Pair]) -> list[dict[Pair, float]]:
    """Return the verdicts of each judge: the share of a win for the text shown first.

    A judge is a name in the column `judge`, or else a file. Several verdicts of a judge on one pair
    are one, their mean, and a copy of a file adds nothing. Notes say where this was so.

    Args:
        files: the files, of CSV or JSON lines; each line has `pair` and `verdict`.
        pairs: the pairs of the report, by identity.

    Raises:
        UsageError: a file that cannot be read, an invalid line, or a pair that the report doesn't
            have; the message has its number.
    """
    judges: dict[str, dict[Pair, list[float]]] = {}
    seen = dict[str, Path]()  # by their digest
    for path in files:
        text = _text(path)
        digest = hashlib.sha256(text.encode()).hexdigest()
        if digest in seen:
            _note(f"{str(path)!r} is a copy of {str(seen[digest])!r} and adds nothing")
            continue
        seen[digest] = path
        for judge, pair, share in _verdicts(text, path, pairs):
            judges.setdefault(judge, {}).setdefault(pair, []).append(share)
    repeated = sum(len(each) > 1 for own in judges.values() for each in own.values())
    if repeated:
        pairs_twice = printable.counted(repeated, "pair")
        _note(f"{pairs_twice} judged more than once by the same judge: the mean verdict counts")
    means = {
        judge: {pair: math.fsum(each) / len(each) for pair, each in own.items()}
        for judge, own in judges.items()
    }
    _name_alike(means)
    return [*means.values()]


def _name_alike(judges: Mapping[str, Mapping[Pair, float]]) -> None:
    """Note which judges gave the same verdicts: two persons, or one under two names."""
    first: dict[frozenset[tuple[Pair, float]], str] = {}
    for judge, own in judges.items():
        other = first.setdefault(frozenset(own.items()), judge)
        if other != judge and len(own) >= MANY:
            same = f"the same verdict on each of {len(own):,} pairs: they count as two judges"
            _note(f"{printable.shown(judge)} and {printable.shown(other)} gave {same}")


def _note(text: str) -> None:
    messages.tell(text, "note")


def _text(path: Path) -> str:
    try:
        return SafeFile(path).text(LARGEST).removeprefix("\ufeff")
    except ModelFileError as error:
        raise UsageError(f"cannot read the verdicts {str(path)!r}: {error}") from None


def _verdicts(
    text: str, path: Path, pairs: Mapping[str, Pair]
) -> Iterator[tuple[str, Pair, float]]:
    """Yield the judge, the pair and the share of a win for the text shown first, of each verdict.

    A line without a verdict is ignored: the judge skipped the pair.
    """
    lines = _of_csv(text, path)
    if path.suffix in (".jsonl", ".ndjson"):
        numbered = numbered_lines(text, path.name)
        lines = ((place, json_object(line, place)) for place, line in numbered)
    for place, line in lines:
        if (verdict := _verdict(line, place)) is not None:
            judge = " ".join(str(line.get("judge") or "").split()).casefold()
            yield judge or str(path), _shown_pair(verdict[0], line, pairs, place), verdict[1]


def _of_csv(text: str, path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text, newline=None))
    try:
        columns = Counter(reader.fieldnames or ())
        if missing := {"pair", "verdict"} - columns.keys():
            raise UsageError(f"{str(path)!r} has no column {', '.join(sorted(missing))}")
        if twice := [name for name in COLUMNS if columns[name] > 1]:
            raise UsageError(f"{str(path)!r} has the column {twice[0]} more than once")
        for line in reader:
            yield f"line {reader.line_num} of {path.name}", line
    except csv.Error as error:
        raise UsageError(f"line {reader.line_num} of {path.name}: {error}") from None


def _verdict(line: Mapping[str, Any], place: str) -> tuple[str, float] | None:
    said = line.get("verdict")
    if said is None or not str(said).strip():
        return None
    word = str(said).strip().lower()
    if word not in VERDICTS:
        raise UsageError(
            f"{place}: a verdict is one of {', '.join(VERDICTS)}, not {printable.shown(said)}"
        )
    if not isinstance(line.get("pair"), str):
        raise UsageError(f"{place}: pair must be a name, not {printable.shown(line.get('pair'))}")
    return line["pair"].strip(), VERDICTS[word]


def _shown_pair(name: str, line: Mapping[str, Any], pairs: Mapping[str, Pair], place: str) -> Pair:
    """Return the pair of a line, whose texts, if it has them, are still the ones to judge."""
    if name not in pairs:
        raise UsageError(
            f"{place} has a verdict on the pair {printable.shown(name)}, which the results lack: "
            "they are of a different study, or were made again since"
        )
    pair = pairs[name]
    for column, text in zip(("first", "second"), pair.shown, strict=True):
        if isinstance(line.get(column), str) and _words(line[column]) != _words(text):
            raise UsageError(f"{place}: the {column} text isn't the one of the pair {name}")
    return pair


def _words(text: str) -> list[str]:
    """Return what a spreadsheet leaves of a text: without white space and the mark of a formula."""
    return visible(text).lstrip("'").split()
