"""Measure or read reports, show them in the terminal, write their files, and check conditions."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import RenderableType

from corelm.commands import ExitCode, Output, blocks, messages
from corelm.errors import ReportError, UsageError
from corelm.runs import SafeFile, printable
from corelm_pages.evidence import evidence
from corelm_pages.overview import (
    BARS,
    NOTHING,
    OverviewColumn,
    failures,
    legend,
    method,
    overview,
    overview_columns,
)
from corelm_pages.report import FORMS, Report, document_of, write_plots
from corelm_pages.verdict import verdict
from corelm_report.document.content import Document, Entry
from corelm_report.document.figures import TEACHER_FORCED
from corelm_report.document.lookup import estimate

if TYPE_CHECKING:
    from corelm.runs import scaling
    from corelm_report.document.gate import Condition
    from corelm_report.measure.until import Until
    from corelm_report.plan.plan import Plan


STDOUT = "-"


@dataclass(frozen=True)
class ReportFiles:
    """The files that a report is written to.

    Attributes:
        files: the path of each form, or `-` for standard output.
        plots: the folder of the plots.
    """

    files: Mapping[str, str]
    plots: str | None = None

    def __post_init__(self) -> None:
        """Check that the files can be written.

        Raises:
            UsageError: one path for two files.
            ReportError: a path where no file can be created.
        """
        places = [os.path.realpath(path) for path in self.files.values() if path != STDOUT]
        if len(set(places)) < len(places) or list(self.files.values()).count(STDOUT) > 1:
            raise UsageError("two forms of the report cannot go to one file")
        for place in places:
            _probe(Path(place))
        if self.plots is not None:
            _probe(Path(self.plots), as_folder=True)

    @property
    def on_stdout(self) -> str | None:
        """The form that goes to standard output instead of the table."""
        return next((form for form, path in self.files.items() if path == STDOUT), None)

    def write(self, report: Report, out: Output) -> list[str]:
        """Write every file completely or not at all, and return their paths.

        Args:
            report: the report.
            out: standard output.

        Raises:
            OSError: a full disk, or a file that can no longer be written.
        """
        written = self.write_forms(lambda form: FORMS[form][1](report), out)
        if self.plots is not None:
            write_plots(report, Path(self.plots))
            written.append(self.plots)
        return written

    def write_forms(self, content_of: Callable[[str], str], out: Output) -> list[str]:
        """Write the content of each form to its file or standard output; return the paths."""
        for form, path in self.files.items():
            content = content_of(form)
            if path == STDOUT:
                out.document(content)
            else:
                SafeFile(path).write(content.encode("utf-8", "replace"))
        return [path for path in self.files.values() if path != STDOUT]


def _probe(path: Path, as_folder: bool = False) -> None:
    """Raise if a file or folder cannot be created; devices and pipes are written to directly."""
    place = path.absolute()
    existing = next(part for part in (place, *place.parents) if part.exists())
    is_device = existing == place and not (place.is_file() or place.is_dir())
    if as_folder:
        fault = "" if existing.is_dir() else f"{existing} is not a folder"
    elif place.is_dir():
        fault = "it is a folder; give a file in it"
    elif not place.parent.is_dir():
        fault = f"{place.parent} is not a folder"
    else:
        fault = "it is read-only" if is_device and not os.access(place, os.W_OK) else ""
    if not fault and not is_device:
        try:
            tempfile.TemporaryFile(dir=existing if existing.is_dir() else place.parent).close()
        except OSError as error:
            fault = error.strerror or str(error)
    if fault:
        raise ReportError(f"cannot write to {str(path)!r}: {fault}")


@dataclass(frozen=True)
class ReportOutput:
    """The destination of a report, and the conditions under which the command fails.

    Attributes:
        files: the files to write.
        fail_if: the conditions, as typed.
        out: standard output.
        details: write the evidence and the method to the terminal too.
    """

    files: ReportFiles
    fail_if: Sequence[str]
    out: Output
    details: bool = False

    def rewrite(self, path: str) -> int:
        """Write and check the report in a file; return the exit code.

        Raises:
            ReportError: the file holds no report.
            UsageError: a condition about a sampler or figure that the report lacks.
        """
        report = Report.read(path)
        if not self.fail_if:
            return self._finish(report, ())
        from corelm_report.document.gate import conditions_of

        return self._finish(report, conditions_of(self.fail_if, document_of(report)))

    def measure(
        self,
        plan: Plan,
        executor: scaling.Executor,
        resume: bool,
        command: str,
        until: Until | None = None,
    ) -> int:
        """Measure, write and check a report; return the exit code.

        Args:
            plan: what to measure.
            executor: where the work is done.
            resume: continue an interrupted report.
            command: the command line, for the header.
            until: the condition at which the report stops growing.

        Raises:
            UsageError: a condition about something that is not measured, or nothing to resume.
            ModelOutputError: logits that no sampler can use.
        """
        # Late, as most of corelm_report measures: `--from` and `--diff` need none of it.
        from corelm_report.measure.journal import opened
        from corelm_report.measure.run import ReportRun

        conditions = self._conditions(plan) if self.fail_if else []
        for text in plan.warnings:
            messages.tell(f"note: {text}")
        if until is not None:
            from corelm_report.measure.until import measured_until

            with plan.opened(executor) as run, messages.stages("units") as bar:
                document = measured_until(plan, until, run, bar)
            messages.tell(document.header.until or "", "note")
            return self._measured(document, plan, command, conditions)
        with opened(plan.as_json(), resume) as journal:
            try:
                with plan.opened(executor) as run, messages.stages("units") as bar:
                    document = ReportRun(plan, run, journal, bar).document()
                return self._measured(document, plan, command, conditions)
            except KeyboardInterrupt:
                messages.tell("the finished parts are kept; --resume continues the report", "note")
                raise

    def _conditions(self, plan: Plan) -> list[Condition]:
        """Read the conditions on the samplers and figures of a plan."""
        from corelm_report.document.gate import condition
        from corelm_report.measure.provenance import name_of

        samplers = [(each.name, name_of(each.strategy)) for each in plan.candidates]
        offered = [metric.full_name for metric in plan.metrics]
        return [condition(text, samplers, offered) for text in self.fail_if]

    def _measured(
        self, document: Document, plan: Plan, command: str, conditions: Sequence[Condition]
    ) -> int:
        document.header.command = command
        for text in document.warnings[len(plan.warnings) :]:
            messages.tell(text, "warning")
        return self._finish(Report.of_document(document), conditions)

    def _finish(self, report: Report, conditions: Sequence[Condition]) -> int:
        """Write and check a report; return the exit code."""
        written, failed = self.files.write(report, self.out), report.failed
        document = document_of(report)
        if self.files.on_stdout is None:
            self.out.show(*report_table(document, self.out.width, self.out.unicode, self.details))
        else:
            for name, reason in failed.items():
                messages.tell(f"{name} failed: {reason}", "warning")
        for path in written:
            messages.tell(f"written to {path}", "note")
        return exit_code([(document, conditions)], bool(failed))


def exit_code(reports: Iterable[tuple[Document, Iterable[Condition]]], failed: bool) -> int:
    """Say which conditions hold, and return the exit code, 1 also if every sampler failed.

    Args:
        reports: each report with its conditions.
        failed: True if a sampler or a metric failed.
    """
    reports = list(reports)
    tripped = [each.tripped(document) for document, own in reports for each in own]
    for reason in filter(None, tripped):
        messages.tell(reason, "error")
    none = failed and all(each.error for document, _ in reports for each in document.samplers)
    if none or any(tripped):
        return ExitCode.FAILED
    return ExitCode.PARTLY_FAILED if failed else ExitCode.DONE


NARROW = 60
"""Columns below which the figures of a sampler are written under it instead of in a table."""
NAME, BAR, GAP = 26, 10, 2
"""The largest width of a name, the width of a full bar, and of the gap between columns."""


def report_table(
    document: Document, width: int, unicode: bool = True, details: bool = False
) -> Iterator[RenderableType]:
    """Yield the verdict, the table and the failures.

    Args:
        document: the report.
        width: the number of characters in a line.
        unicode: draw with block characters.
        details: yield the evidence and the method too.
    """
    yield blocks.line(verdict(document), "bold")
    yield blocks.line("")
    entries = document.entries
    columns = overview_columns(document)
    if entries and width < NARROW:
        for name, cells in overview(document):
            named = zip(columns, cells, strict=True)
            facts = [f"{column.title} {cell}" for column, cell in named if cell != NOTHING]
            yield from blocks.entry(name, (), ", ".join(facts))
        yield blocks.line("")
    elif entries:
        chosen = _chosen(document, width, unicode)
        columns = [column.of for column in chosen if column.of]
        names = ["", *(printable.one_line(entry.label) for entry in entries)]
        titles, *lines = zip(names, *(column.cells for column in chosen), strict=True)
        yield blocks.figures(titles, lines, widest=_longest(document, width))
        yield blocks.line("")
    for name, reason in failures(document):
        yield blocks.line(f"{name} failed: {reason}", "red")
    if not details:
        yield blocks.line("--details: how certain this is, and how it was measured", "dim")
        return
    for text in (evidence(document), method(document, columns), legend(columns)):
        yield blocks.line(text, "dim")
        yield blocks.line("")


@dataclass(frozen=True)
class _TableColumn:
    """A column of the terminal's table: its priority, its cells with the title first.

    `of` is the overview's column that it shows; None for the bars.
    """

    priority: int
    cells: list[str]
    of: OverviewColumn | None = None

    @property
    def width(self) -> int:
        return max(map(cell_len, self.cells))


def _chosen(document: Document, width: int, unicode: bool) -> list[_TableColumn]:
    """Choose the columns that fit: all with intervals if possible, or the most important ones."""
    for intervals in (True, False):
        columns, chosen = _columns(document, unicode, intervals), list[_TableColumn]()
        room = width - _longest(document, width)
        for column in sorted(columns, key=lambda column: column.priority):
            room -= GAP + column.width
            if room < 0:
                break
            chosen.append(column)
        if len(chosen) == len(columns):
            break
    return [column for column in columns if column in chosen]


def _longest(document: Document, width: int) -> int:
    names = [printable.one_line(entry.label) for entry in document.entries]
    return min(max(map(cell_len, names)), max(NAME, width // 3))


def _columns(document: Document, unicode: bool, intervals: bool) -> list[_TableColumn]:
    """Return all columns, with the bars after the entropy."""
    most = document.bounds.max
    bars = [f"of {most:.2f}", *(_bar(each, most, unicode) for each in document.entries)]
    rows = (cells for _, cells in overview(document, intervals))
    cells = zip(*rows, strict=True)
    columns = [
        _TableColumn(column.priority, [column.title, *texts], column)
        for column, texts in zip(overview_columns(document), cells, strict=True)
    ]
    before = 1 + next((at for at, each in enumerate(columns) if each.cells[0] == "entropy"), -1)
    # There is no entropy if all samplers failed.
    strips = [_TableColumn(BARS, bars)] if before else []
    return [*columns[:before], *strips, *columns[before:]]


def _bar(entry: Entry, most: float, unicode: bool) -> str:
    """Draw the entropy as a bar that is full at the upper bound; a decoder has none."""
    entropy = estimate(entry, "entropy", TEACHER_FORCED)
    if entropy is None:
        return ""
    share = entropy.value / most if most > 0 else 0.0
    full = round(min(max(share, 0.0), 1.0) * BAR)
    return ("█" if unicode else "#") * full + ("░" if unicode else ".") * (BAR - full)
