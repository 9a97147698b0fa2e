"""A finished report: its document, and every form that can be made of it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from corelm.errors import MissingDependencyError, ModelFileError, ReportError
from corelm.model import disk
from corelm.report import tables
from corelm.report.checking import check
from corelm.report.findings import sentence

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
            self._json = disk.dumped(dict(document)).decode()
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
            return cls(disk.parsed(disk.read_file(Path(path), LARGEST)))
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
        from corelm.report.page import page

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
