"""Measures or reads a report, writes it, and checks its conditions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from corelm.cli.exit_codes import DONE, FAILED, PARTLY_FAILED
from corelm.cli.output import messages
from corelm.cli.output.product import Output
from corelm.cli.output.progress import stages
from corelm.reports.cli.report_files import ReportFiles
from corelm.reports.cli.report_table import report_table
from corelm.reports.document.content import Document
from corelm.reports.document.gate import Condition, condition
from corelm.reports.document.lookup import plugin_metrics
from corelm.reports.measure.journal import opened
from corelm.reports.measure.plan import Plan
from corelm.reports.measure.provenance import name_of
from corelm.reports.measure.run import ReportRun
from corelm.reports.report import Report
from corelm.scaling.executor import Executor


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
        document = Document.from_dict(report.to_dict())
        samplers = [(entry.sampler, entry.name) for entry in document.samplers]
        return self._finish(report, self._conditions(samplers, plugin_metrics(document)))

    def measure(
        self,
        plan: Plan,
        executor: AbstractContextManager[Executor],
        resume: bool,
        command: str,
    ) -> int:
        """Measure, write and check a report; return the exit code.

        Args:
            plan: what to measure.
            executor: does the work.
            resume: continue an interrupted report.
            command: the command line, for the header.

        Raises:
            UsageError: a condition about something that is not measured, or nothing to resume.
            ModelOutputError: logits that no sampler can use.
        """
        samplers = [(each.name, name_of(each.strategy)) for each in plan.candidates]
        offered = [metric.full_name for metric in plan.metrics]
        conditions = self._conditions(samplers, offered)
        for text in plan.warnings:
            messages.tell(f"note: {text}")
        with opened(plan.as_json(), resume) as journal:
            try:
                with executor as workers, stages("units") as progress:
                    document = ReportRun(plan, workers, journal, progress).document()
                document.header.command = command
                for text in document.warnings[len(plan.warnings) :]:
                    messages.warn(text)
                return self._finish(Report.of_run(document.to_dict()), conditions)
            except KeyboardInterrupt:
                messages.note("the finished parts are kept; --resume continues the report")
                raise

    def _conditions(
        self, samplers: Sequence[tuple[str, str]], offered: Iterable[str]
    ) -> list[Condition]:
        return [condition(text, samplers, offered) for text in self.fail_if]

    def _finish(self, report: Report, conditions: Sequence[Condition]) -> int:
        document = Document.from_dict(report.to_dict())
        written = self.files.write(report, self.out)
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
            return FAILED
        return PARTLY_FAILED if report.failed else DONE
