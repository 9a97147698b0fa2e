"""Measure, read or compare reports, write their files, and check conditions."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from corelm.commands import ExitCode, Output, messages, progress
from corelm.errors import ReportError, UsageError
from corelm.runs import SafeFile
from corelm_report.cli.terminal import comparison_as_markdown, report_table, show_comparison
from corelm_report.document.comparison import comparison, same
from corelm_report.document.content import Document
from corelm_report.document.gate import Condition, condition
from corelm_report.document.lookup import plugin_metrics
from corelm_report.document.parts import Json
from corelm_report.report import Report, document_of

if TYPE_CHECKING:
    from corelm.runs import scaling
    from corelm_report.measure.until import Until
    from corelm_report.plan.plan import Plan

STDOUT = "-"
FORMS: Mapping[str, Callable[[Report], str]] = {
    "json": Report.to_json,
    "csv": Report.to_csv,
    "markdown": Report.to_markdown,
    "html": Report.to_html,
    "latex": Report.to_latex,
    "p_values": lambda report: report.to_csv("test"),
    "bibtex": lambda report: report.bibtex,
}


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
            _probe_folder(Path(self.plots))

    @property
    def on_stdout(self) -> str | None:
        """The form that goes to standard output instead of the table."""
        return next((form for form, path in self.files.items() if path == STDOUT), None)

    def write(self, report: Report, document: Document, out: Output) -> list[str]:
        """Write every file completely or not at all, and return their paths.

        Args:
            report: the report.
            document: its document, from which plots are drawn.
            out: standard output.

        Raises:
            OSError: a full disk, or a file that can no longer be written.
        """
        written = self.write_forms(lambda form: FORMS[form](report), out)
        plots = [] if self.plots is None else _write_plots(document, Path(self.plots))
        return [*written, *plots]

    def write_forms(self, content_of: Callable[[str], str], out: Output) -> list[str]:
        """Write the content of each form to its file or standard output; return the paths."""
        for form, path in self.files.items():
            content = content_of(form)
            if path == STDOUT:
                out.document(content)
            else:
                SafeFile(path).write(content.encode("utf-8", "replace"))
        return [path for path in self.files.values() if path != STDOUT]


def _write_plots(document: Document, folder: Path) -> list[str]:
    from corelm_report.render.plots.files import plots

    folder.mkdir(parents=True, exist_ok=True)
    for name, content in plots(document).items():
        SafeFile(folder / name).write(content)
    return [str(folder)]


def _probe(place: Path) -> None:
    """Raise if no file can be created at a path; devices and pipes are written to directly."""
    if place.is_dir():
        raise ReportError(f"cannot write to {str(place)!r}: it is a folder; give a file in it")
    if not place.parent.is_dir():
        raise ReportError(f"cannot write to {str(place)!r}: {place.parent} is not a folder")
    if place.exists() and not place.is_file():
        if not os.access(place, os.W_OK):
            raise ReportError(f"cannot write to {str(place)!r}: it is read-only")
        return
    _try(place.parent, place)


def _probe_folder(folder: Path) -> None:
    """Raise if a folder cannot be created or written to."""
    path = folder.absolute()
    existing = next(part for part in (path, *path.parents) if part.exists())
    if not existing.is_dir():
        raise ReportError(f"cannot write to {str(folder)!r}: {existing} is not a folder")
    _try(existing, folder)


def _try(folder: Path, target: Path) -> None:
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ReportError(f"cannot write to {str(target)!r}: {error.strerror or error}") from error


@dataclass(frozen=True)
class ReportOutput:
    """The destination of a report, and the conditions under which the command fails.

    Attributes:
        files: the files to write.
        fail_if: the conditions, as typed.
        out: standard output.
    """

    files: ReportFiles
    fail_if: Sequence[str]
    out: Output

    def rewrite(self, path: str) -> int:
        """Write and check the report in a file; return the exit code.

        Raises:
            ReportError: the file holds no report.
            UsageError: a condition about a sampler or figure that the report lacks.
        """
        report = Report.read(path)
        document = document_of(report)
        samplers = [(entry.sampler, entry.name) for entry in document.samplers]
        conditions = self._conditions(samplers, plugin_metrics(document))
        return self._finish(report, document, conditions)

    def measure(
        self,
        plan: Plan,
        executor: AbstractContextManager[scaling.Executor],
        resume: bool,
        command: str,
        until: Until | None = None,
    ) -> int:
        """Measure, write and check a report; return the exit code.

        Args:
            plan: what to measure.
            executor: does the work.
            resume: continue an interrupted report.
            command: the command line, for the header.
            until: the condition at which the report stops growing.

        Raises:
            UsageError: a condition about something that is not measured, or nothing to resume.
            ModelOutputError: logits that no sampler can use.
        """
        # Late, as most of corelm_report measures: `--from` and `--diff` need none of it.
        from corelm_report.measure.journal import opened
        from corelm_report.measure.provenance import name_of
        from corelm_report.measure.run import ReportRun
        from corelm_report.measure.until import measured_until

        samplers = [(each.name, name_of(each.strategy)) for each in plan.candidates]
        offered = [metric.full_name for metric in plan.metrics]
        conditions = self._conditions(samplers, offered)
        for text in plan.warnings:
            messages.tell(f"note: {text}")
        if until is not None:
            with executor as workers, progress.stages("units") as bar:
                document = measured_until(plan, until, workers, bar)
            messages.note(document.header.until or "")
            return self._measured(document, plan, command, conditions)
        with opened(plan.as_json(), resume) as journal:
            try:
                with executor as workers, progress.stages("units") as bar:
                    document = ReportRun(plan, workers, journal, bar).document()
                return self._measured(document, plan, command, conditions)
            except KeyboardInterrupt:
                messages.note("the finished parts are kept; --resume continues the report")
                raise

    def _measured(
        self, document: Document, plan: Plan, command: str, conditions: Sequence[Condition]
    ) -> int:
        document.header.command = command
        for text in document.warnings[len(plan.warnings) :]:
            messages.warn(text)
        return self._finish(Report.of_document(document), document, conditions)

    def _conditions(
        self, samplers: Sequence[tuple[str, str]], offered: Iterable[str]
    ) -> list[Condition]:
        return [condition(text, samplers, offered) for text in self.fail_if]

    def _finish(self, report: Report, document: Document, conditions: Sequence[Condition]) -> int:
        """Write and check a report; return the exit code."""
        written = self.files.write(report, document, self.out)
        if self.files.on_stdout is None:
            self.out.show(*report_table(document, self.out.width, self.out.unicode))
        else:
            for name, reason in report.failed.items():
                messages.warn(f"{name} failed: {reason}")
        for path in written:
            messages.note(f"written to {path}")
        reasons = [reason for each in conditions if (reason := each.tripped(document))]
        for reason in reasons:
            messages.error(reason)
        if reasons:
            return ExitCode.FAILED
        return ExitCode.PARTLY_FAILED if report.failed else ExitCode.DONE


def compare_files(paths: tuple[str, str], files: Mapping[str, str], out: Output) -> int:
    """Compare two JSON reports, write the comparison, and return the exit code.

    Args:
        paths: the two reports.
        files: the path of each form, of `json` and `markdown`; `-` is standard output.
        out: standard output.

    Raises:
        ReportError: a file holds no report, or one cannot be written.
    """
    places = ReportFiles(files)
    before, after = (document_of(Report.read(path)) for path in paths)
    compared = comparison(before, after)
    forms = {"json": _comparison_as_json, "markdown": comparison_as_markdown}
    for path in places.write_forms(lambda form: forms[form](compared), out):
        messages.note(f"written to {path}")
    if places.on_stdout is None:
        show_comparison(compared, out)
    return ExitCode.DONE if same(compared) else ExitCode.FAILED


def _comparison_as_json(compared: Json) -> str:
    return json.dumps(compared, indent=2, allow_nan=False) + "\n"
