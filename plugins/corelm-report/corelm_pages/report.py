"""`corelm.Report`, which `corelm.compare` returns, and the forms of a report as files."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Collection, Mapping
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

from corelm.errors import MissingDependencyError, ModelFileError, ReportError
from corelm.runs import SafeFile, markup, printable
from corelm_pages.evidence import evidence
from corelm_pages.overview import failures
from corelm_pages.verdict import verdict
from corelm_report.document.content import Document
from corelm_report.document.schema import check

LARGEST = 2**28
"""The size in bytes of the largest report that is read."""


class Report(markup.Displayable):
    """An entropy comparison report.

    Every form of it is made from one document, which follows the schema `corelm.report/4`.

    Args:
        document: the content, as `to_dict` returns it.

    Raises:
        ReportError: the document does not follow the schema.

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
            self._json = _as_json(document)
        except (TypeError, ValueError, RecursionError) as error:
            raise ReportError(f"it holds a value that JSON cannot: {error}") from error
        self._document = Document.from_dict(self.to_dict())  # of a copy

    @classmethod
    def of_document(cls, document: Document) -> Report:
        """Return the report of a document that a run has just created, or that is already checked.

        Such a document follows the schema; checking that again would take half a second.
        """
        report = cls.__new__(cls)
        report._document = document
        return report

    _content: Mapping[str, Any] | None = None

    @cached_property
    def _json(self) -> str:
        """The document as JSON, which few forms need."""
        return _as_json(self._content or self._document.to_dict())

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Report:
        """Read a report from a JSON file, as `to_json` writes it.

        Raises:
            ReportError: the file is missing, damaged or something else; the message says which.
        """
        try:
            content = SafeFile(path).json(LARGEST)
            check(content)
        except (ModelFileError, ReportError) as error:
            raise ReportError(f"{str(path)!r} is not a report: {error}") from error
        report = cls.of_document(Document.from_dict(content))
        report._content = content  # with the keys of a later version
        return report

    @property
    def summary(self) -> str:
        """The verdict in short sentences: what is closest to human text, too random, repetitive."""
        return verdict(self._document)

    @property
    def evidence(self) -> str:
        """The figures behind the verdict, with their intervals."""
        return evidence(self._document)

    @property
    def failed(self) -> dict[str, str]:
        """The samplers and metrics that failed, each with the reason."""
        return dict(failures(self._document))

    @property
    def bibtex(self) -> str:
        """The methods of the report as BibTeX: corelm, its samplers, its figures."""
        from corelm_pages.bibtex import to_bibtex

        return to_bibtex(self._document)

    def to_dict(self) -> dict[str, Any]:
        """Return the document: dicts, lists, strings, numbers and None."""
        document: dict[str, Any] = json.loads(self._json)
        return document

    def to_json(self) -> str:
        """Return the document as strict JSON."""
        return self._json

    def to_csv(self, level: str = "figure") -> str:
        """Return a level of `to_pandas` as CSV; by default every figure with its difference."""
        from corelm_pages.frames import to_csv

        return to_csv(self._document, level)

    def to_markdown(self) -> str:
        """Return the summary, the table and the method."""
        from corelm_pages.markdown import to_markdown

        return to_markdown(self._document)

    def to_latex(self, label: str | None = None) -> str:
        """Return the table for a paper, with intervals; it needs the LaTeX package booktabs.

        Args:
            label: its label; by default one that tables of other models or samplers do not have.
        """
        from corelm_pages.latex import to_latex

        return to_latex(self._document, label)

    def to_html(self) -> str:
        """Return the whole page, in one file that loads nothing."""
        from corelm_pages.page import page

        return page(self._document)

    def to_pandas(self, level: str = "figure") -> Any:
        """Return a data frame.

        Args:
            level: what a line is. "figure": one figure of a sampler with its interval and its
                difference, or of one of several seeds. "difference": one difference from the entry
                compared with, paired by text. "test": such a difference with the p-value of a
                paired permutation test, Holm's correction over all lines, and whether it is
                significant among all statements of the report; it needs all texts.
                "sampler": a sampler with all its figures, or human text. "seed": a sampler with the
                figures of one seed, if there are several. "text" and "token": one that the report
                keeps, which are all with `texts="all"`. Except for "figure", the parameters of the
                samplers, the target of matching, the seed, the prompt and the index of the sample
                are columns of their own.

        Raises:
            MissingDependencyError: pandas is not installed.
            ReportError: there is no such level, or it has not kept the texts that tests need.

        Example:
            >>> import corelm
            >>> from corelm.testing import ToyModel
            >>> report = corelm.compare(ToyModel(), ["top_k(k=2)"], prompts="the", n=2, length=3)
            >>> frame = report.to_pandas("token")
            >>> frame[["top_k.k", "sample", "text", "entropy"]].round(3).values.tolist()[:2]
            [[2, 0, ' cat', 0.687], [2, 0, ' sat', 0.643]]
        """
        from corelm_pages.frames import columns

        try:
            import pandas
        except ImportError as error:
            raise MissingDependencyError(
                f"to_pandas needs pandas ({error}); install it with: pip install pandas"
            ) from error
        return pandas.DataFrame(columns(self._document, level))

    def __repr__(self) -> str:
        samplers = printable.counted(len(self._document.samplers), "sampler")
        return f"<corelm report of {samplers}: {self.summary}>"

    def _repr_html_(self) -> str:
        """Return the summary and the table, for a notebook."""
        from corelm_pages.markdown import to_notebook

        return to_notebook(self._document)

    def _repr_text_(self) -> str:
        """Return the summary and the table, for a terminal."""
        from corelm_pages.markdown import to_text

        return to_text(self._document)


def document_of(report: Report) -> Document:
    """Return the document of a report, for other modules of this package to read."""
    return report._document


FORMS: Mapping[str, tuple[str, Callable[[Report], str]]] = {
    "json": ("report.json", Report.to_json),
    "html": ("report.html", Report.to_html),
    "csv": ("figures.csv", Report.to_csv),
    "markdown": ("table.md", Report.to_markdown),
    "latex": ("table.tex", Report.to_latex),
    "p_values": ("p_values.csv", lambda report: report.to_csv("test")),
    "bibtex": ("references.bib", lambda report: report.bibtex),
}
"""The name of each form's file in a study, and the function that renders it."""


def write_plots(report: Report, folder: Path, kinds: Collection[str] | None = None) -> None:
    """Write the plots of a report into a folder, which is created if necessary.

    Args:
        report: the report.
        folder: the folder.
        kinds: the suffixes of the files to write; by default all.
    """
    from corelm_pages.charts import plots

    folder.mkdir(parents=True, exist_ok=True)
    for name, content in plots(report._document).items():
        if kinds is None or name.rpartition(".")[2] in kinds:
            SafeFile(folder / name).write(content)


def _as_json(document: Mapping[str, Any]) -> str:
    """Format the document as JSON, with each text on one line.

    With one number per line, it would be more than twice as long.
    """
    mark, texts = uuid4().hex, list[str]()

    def held(text: Any) -> str:
        texts.append(json.dumps(text, allow_nan=False))
        return f"{mark}{len(texts) - 1}"

    samplers = document["samplers"]
    entries = [each | {"texts": [held(text) for text in each["texts"]]} for each in samplers]
    whole = json.dumps({**document, "samplers": entries}, indent=2, allow_nan=False) + "\n"
    return re.sub(rf'"{mark}(\d+)"', lambda match: texts[int(match[1])], whole)


LIBRARIES = ("jinja2", "jsonschema", "matplotlib")
"""The libraries of the extra `report`."""


def check_extra(purpose: str) -> None:
    """Raise if a library of the extra is missing; nothing is imported.

    Args:
        purpose: the subject of the message, such as "a report".

    Raises:
        MissingDependencyError: the message has the names and the command that installs them.

    Example:
        >>> check_extra("a report")
    """
    missing = [name for name in LIBRARIES if find_spec(name) is None]
    if missing:
        raise MissingDependencyError(
            f"{purpose} needs {' and '.join(missing)}; "
            'install what is missing with: pip install "corelm[report]"'
        )
