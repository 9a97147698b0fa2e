"""A finished report: its document, and every form that can be made of it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from corelm.errors import MissingDependencyError, ModelFileError, ReportError
from corelm.language_model import LanguageModel
from corelm.model import atomic_files
from corelm.model.load import label, load
from corelm.report.document.schema import check
from corelm.report.document.summary import sentence
from corelm.report.measure.defaults import LENGTH, PROMPT, SEED, N
from corelm.report.measure.journal import Journal
from corelm.report.measure.run import Progress, ReportRun
from corelm.report.measure.settings import Match, settings
from corelm.report.render import tables
from corelm.sampler import Sampler

LARGEST = 2**28
"""Bytes of a report that is read at most."""


class Report:
    """An entropy comparison report.

    Everything in it comes from one document, which follows the schema `corelm.report/1`.

    Args:
        document: what `to_dict` returns.

    Raises:
        ReportError: a document that does not follow the schema.

    Example:
        >>> import corelm
        >>> from corelm.testing import ToyModel
        >>> report = corelm.compare(ToyModel(), ["greedy", "uniform"], prompts="the", n=2, length=4)
        >>> corelm.Report(report.to_dict()).to_csv() == report.to_csv()
        True
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        check(document)
        try:
            self._json = atomic_files.dump_json(dict(document)).decode()
        except (TypeError, ValueError, RecursionError) as error:
            raise ReportError(f"it holds what JSON cannot: {error}") from error
        self._document = self.to_dict()

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Report:
        """The report in a JSON file, as `to_json` writes it.

        Raises:
            ReportError: a file that is missing, damaged or foreign; says what is wrong with it.
        """
        try:
            return cls(atomic_files.parse_json(atomic_files.read_file(Path(path), LARGEST)))
        except (ModelFileError, ReportError) as error:
            raise ReportError(f"{str(path)!r} is no report: {error}") from error

    @property
    def finding(self) -> str:
        """One sentence that answers: what is nearest to people's text, what loops, what strays."""
        return sentence(self._document)

    @property
    def failed(self) -> dict[str, str]:
        """The samplers that failed, each with its reason."""
        return dict(tables.failures(self._document))

    def to_dict(self) -> dict[str, Any]:
        """The document: dicts, lists, strings, numbers and None."""
        document: dict[str, Any] = json.loads(self._json)
        return document

    def to_json(self) -> str:
        """The document as strict JSON."""
        return self._json

    def to_csv(self) -> str:
        """Every figure on a line: sampler, view, metric, value, low, high, n."""
        return tables.to_csv(self._document)

    def to_markdown(self) -> str:
        """The finding, the table and how it was measured."""
        return tables.to_markdown(self._document)

    def to_html(self) -> str:
        """The whole page, in one file that loads nothing."""
        from corelm.report.render.html.page import page

        return page(self._document)

    def to_pandas(self) -> Any:
        """A data frame with the lines of `to_csv`.

        Raises:
            MissingDependencyError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise MissingDependencyError(
                f"to_pandas needs pandas ({error}); install it with: pip install pandas"
            ) from error
        rows = [
            (name, f.view, f.metric, f.value, f.low, f.high, f.n)
            for name, f in tables.records(self._document)
        ]
        return pandas.DataFrame(rows, columns=list(tables.CSV_HEADER))

    def __repr__(self) -> str:
        return f"<corelm report of {len(self._document['samplers'])} samplers: {self.finding}>"

    def _repr_html_(self) -> str:
        """The finding and the table, for a notebook."""
        head = _html_row("th", ["sampler", *(c.title for c in tables.columns(self._document))])
        rows = [_html_row("td", [name, *cells]) for name, cells in tables.overview(self._document)]
        failed = [f"{name} failed: {reason}" for name, reason in self.failed.items()]
        notes = "".join(f"<p>{escape(text)}</p>" for text in (*failed, self._settings))
        table = f"<table><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table>"
        return f"<p>{escape(self.finding)}</p>{table}{notes}"

    @property
    def _settings(self) -> str:
        return tables.settings(self._document)


def _html_row(tag: str, cells: list[str]) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"


def compare(
    model: LanguageModel | str,
    samplers: Iterable[str | Sampler] | None = None,
    *,
    prompts: str | Sequence[str] = PROMPT,
    n: int = N,
    length: int = LENGTH,
    seed: int = SEED,
    reference: str | Path | Sequence[str] | None = None,
    match_entropy: Match = None,
    progress: Progress | None = None,
) -> Report:
    """Measure what samplers do to a model's distributions, and what they write.

    Every sampler is measured on the model's distributions at the same positions, exactly, and on
    texts of its own, drawn with the same luck. One that fails becomes a row that says why.

    Args:
        model: the language model, or the name of one.
        samplers: samplers, registered names or expressions; a set that shows the range from
            greedy to uniform when left out.
        prompts: what the texts go on from: one, or several.
        n: how many texts of each sampler for each prompt.
        length: tokens to draw at most for each text.
        seed: decides all luck.
        reference: human texts to compare with, or the path of a folder or a file of them. When
            left out, the IMDB reviews that the model has not seen, where they were fetched and
            the model is one of IMDB reviews; else texts drawn from the model are the contexts.
        match_entropy: nats, or "human": a sampler that leaves one parameter open, such as
            `top_p`, gets the value with which its mean entropy on the same contexts is this.
            "human" is the same share of the model's own entropy there as people's surprisal is
            of the model's entropy on human text.
        progress: is told the stage, how many of its units of work are done, and how many there
            are.

    Raises:
        UsageError: what was asked for cannot be done.
        DataError: a reference that cannot be read.
        ModelOutputError: logits that no sampler could use.

    Example:
        >>> import corelm
        >>> from corelm.testing import ToyModel
        >>> report = corelm.compare(
        ...     ToyModel(), ["greedy", "temperature(t=0.5)"], prompts="the", n=4, length=8
        ... )
        >>> [row["sampler"] for row in report.to_dict()["samplers"]]
        ['greedy', 'temperature(t=0.5)']
    """
    name = label(model) if isinstance(model, str) else type(model).__name__
    loaded = load(model) if isinstance(model, str) else model
    asked = settings(
        loaded, name, samplers, prompts=prompts, n=n, length=length, seed=seed,
        reference=reference, match=match_entropy,
    )  # fmt: skip
    return Report(ReportRun(asked, Journal(), progress or _silent).document())


def _silent(stage: str, done: int, total: int) -> Any:
    """Tell nobody."""
