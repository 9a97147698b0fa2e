"""`corelm.compare`, the `Report` that it returns, and the forms of a report as files."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack
from uuid import uuid4

from corelm.errors import MissingDependencyError, ModelFileError, ReportError
from corelm.runs import NamedModel, SafeFile, markup, printable
from corelm_report.document.content import Document
from corelm_report.document.evidence import evidence
from corelm_report.document.schema import check
from corelm_report.document.verdict import verdict
from corelm_report.render.canvas import check_extra
from corelm_report.render.overview import failures
from corelm_report.settings import ReportSettings, with_settings

if TYPE_CHECKING:
    from corelm import Decoder, Sampler, StatelessModel
    from corelm_report.measure.journal import Progress


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
        from corelm_report.render.bibtex import to_bibtex

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
        from corelm_report.render.frames import to_csv

        return to_csv(self._document, level)

    def to_markdown(self) -> str:
        """Return the summary, the table and the method."""
        from corelm_report.render.markdown import to_markdown

        return to_markdown(self._document)

    def to_latex(self, label: str | None = None) -> str:
        """Return the table for a paper, with intervals; it needs the LaTeX package booktabs.

        Args:
            label: its label; by default one that tables of other models or samplers do not have.
        """
        from corelm_report.render.latex import to_latex

        return to_latex(self._document, label)

    def to_html(self) -> str:
        """Return the whole page, in one file that loads nothing."""
        from corelm_report.render.page import page

        return page(self._document)

    def to_pandas(self, level: str = "figure") -> Any:
        """Return a data frame.

        Args:
            level: what a line is. "figure": one figure of a sampler with its interval and its
                difference, or of one of several seeds. "difference": one difference from the entry
                compared with, paired by text. "test": such a difference with the p-value of a
                paired permutation test, Holm's correction over all lines, and whether it is
                significant beside the other statements of the report; it needs all texts.
                "sampler": a sampler with all its figures, or human text. "seed": a sampler with the
                figures of one seed, if there are several. "text" and "token": one that the report
                keeps, which are all with `texts="all"`. Except for "figure", the parameters of the
                samplers, the target of matching, the seed, the prompt and the index of the sample
                are columns of their own.

        Raises:
            MissingDependencyError: pandas is not installed.
            ReportError: there is no such level, an earlier version made the report without
                figures of texts, or it has not kept the texts that tests need.

        Example:
            >>> import corelm
            >>> from corelm.testing import ToyModel
            >>> report = corelm.compare(ToyModel(), ["top_k(k=2)"], prompts="the", n=2, length=3)
            >>> frame = report.to_pandas("token")
            >>> frame[["top_k.k", "sample", "text", "entropy"]].round(3).values.tolist()[:2]
            [[2, 0, ' cat', 0.687], [2, 0, ' sat', 0.643]]
        """
        from corelm_report.render.frames import columns

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
        from corelm_report.render.markdown import to_notebook

        return to_notebook(self._document)

    def _repr_text_(self) -> str:
        """Return the summary and the table, for a terminal."""
        from corelm_report.render.markdown import to_text

        return to_text(self._document)


@with_settings
def compare(
    model: StatelessModel | str | os.PathLike[str],
    samplers: Iterable[str | Sampler | Decoder] | None = None,
    *,
    progress: Progress | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    until: str | None = None,
    **settings: Unpack[ReportSettings],
) -> Report:
    """Compare samplers on one model.

    Every sampler is measured twice: exactly, on the model's distributions at the same positions,
    and on texts of its own, which all samplers draw with the same random numbers. A sampler that
    fails has an entry with the reason.

    Args:
        model: the language model, or the name of one.
        samplers: samplers, registered names or expressions, which may sweep over parameters as in
            `temperature(t=0.1..2.0/20)` or `top_p(p=0.5,0.8,0.9)`. By default, a set that shows
            the range from greedy to uniform.
        prompts: the beginning of the texts, several beginnings, or a mapping from each to its
            cluster, such as its document: then the clusters are the independent units. By default
            each text has a beginning of its own: the first tokens of a human text, or else tokens
            drawn from the model. Human text is then at the same places.
        n: texts of each sampler for each prompt; without prompts, of all prompts together.
        length: tokens to draw for each text, at most; by default beginnings are part of it.
        seed: the random seed of all texts; by default 1.
        seeds: several seeds instead, such as `[1, 2, 3]` or "1..3". Every sampler writes its n
            texts for each of them, and `by_seed` has the figures of each.
        reference: human texts to compare with, or the path of a file or a folder of them. By
            default, the IMDB reviews that the model has not seen, provided that they were fetched
            and the model is one of IMDB reviews; otherwise the model's own texts are the contexts.
        prompts_from_reference: the number of tokens at the beginning of each human text that are a
            prompt, instead of `prompts`; human text is their continuations, so differences from it
            are paired by prompt. There are at most `contexts` prompts, and at least 8.
        contexts: texts on whose positions the samplers are compared, at most.
        match: a target such as "entropy=3", "mass_kept=0.9", "human_recall=0.95" or
            "surprisal=human", or several. A sampler that leaves one parameter open, such as
            `top_p`, gets the value at which the figure on the same contexts is this one, in an
            entry for each target. "human" is the surprisal of human words; if the contexts are not
            human text, it is scaled to these: model entropy here x (human surprisal / model entropy
            on human text).
        against: the sampler that every other one is compared with, one of `samplers`, or "human".
            By default human text if there is any, otherwise the first sampler. Texts at other
            places than human text are compared with it only if it is named here.
        metrics: metrics that plugins offer, to measure on the texts too: names, or names with
            parameters, such as `mattr(window=30)`.
        texts: the number of texts of each prompt that the report keeps, or "all".
        scorer: a second language model, or the name of one, under which the surprisal of the texts
            is measured too. Bits per byte compare models with different vocabularies.
        progress: called with a stage, its finished units of work and its total.
        workers: the number of workers of a Dask cluster to start on this machine. The report is the
            same. Workers load the models themselves, by the names that `corelm.load` was given.
        scheduler: the address of the scheduler of a Dask cluster. Without workers and scheduler,
            the work is done in this process.
        until: a condition such as "width(surprisal) < 0.1" or "width(surprisal.difference) < 0.1",
            at which the report stops growing. It begins with 16 texts of each prompt, or with 16
            prompts if there are 8 or more, and doubles them; `n` and `prompts` are the most. Its
            intervals stay valid however often one looks, and are wider for it.

    Raises:
        UsageError: the report cannot be made as asked, or the condition cannot be read.
        ExecutorError: workers that die, that cannot be reached, or that have other versions.
        UnknownNameError, AmbiguousNameError: no such sampler or metric, or several.
        DataError: the reference cannot be read.
        ModelOutputError: the model returned logits that no sampler can use.

    Example:
        >>> import corelm
        >>> from corelm.testing import ToyModel
        >>> report = corelm.compare(
        ...     ToyModel(), ["greedy", "temperature(t=0.5)"], prompts="the", n=4, length=8
        ... )
        >>> [entry["sampler"] for entry in report.to_dict()["samplers"]]
        ['greedy', 'temperature(t=0.5)']
    """
    # Late, as most of corelm_report measures: a report that is read needs none of it.
    from corelm.runs import scaling
    from corelm_report.measure.journal import Journal
    from corelm_report.measure.run import ReportRun
    from corelm_report.measure.until import Until, measured_until
    from corelm_report.plan.plan import plan

    check_extra("a report")
    own, options = NamedModel.of(model), dict[str, Any](settings)
    scorer = options.pop("scorer", None)
    second = None if scorer is None else NamedModel.of(scorer)
    condition = None if until is None else Until.read(until)
    asked = plan(own.model, own.name, samplers, second, **options)
    with asked.opened(scaling.Executor.of(workers, scheduler)) as run:
        report_progress = progress or (lambda *_: None)
        if condition is not None:
            return Report.of_document(measured_until(asked, condition, run, report_progress))
        return Report.of_document(ReportRun(asked, run, Journal(), report_progress).document())


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
    from corelm_report.render.charts import plots

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
