"""What `corelm report` does: measure or read a report, write it, and judge it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from corelm.cli.exit_codes import DONE, FAILED, PARTLY_FAILED
from corelm.cli.output import messages
from corelm.cli.output.product import Output
from corelm.cli.output.progress import stages
from corelm.cli.output.report_files import Outputs
from corelm.cli.output.report_table import report_table
from corelm.report.document.gate import Condition, condition
from corelm.report.document.provenance import name_of
from corelm.report.measure.journal import opened
from corelm.report.measure.run import ReportRun
from corelm.report.measure.settings import Settings
from corelm.report.report import Report


@dataclass(frozen=True)
class Ending:
    """What happens to a report in the end.

    Attributes:
        outputs: where it is written to.
        fail_if: the conditions under which it fails, as they were given.
        out: standard output.
    """

    outputs: Outputs
    fail_if: Sequence[str]
    out: Output

    def of_earlier(self, path: str) -> int:
        """Write and judge the report in a file; returns the exit code.

        Raises:
            ReportError: the file holds none.
            UsageError: a condition about what is not in it.
        """
        report = Report.read(path)
        rows = [(row["sampler"], row["name"]) for row in report.to_dict()["samplers"]]
        return self._of(report, self._conditions(rows))

    def of_measuring(self, asked: Settings, resume: bool, command: str) -> int:
        """Measure, write and judge a report; returns the exit code.

        Args:
            asked: what to measure.
            resume: whether to go on from where an interrupted report left off.
            command: the command line, for the header.

        Raises:
            UsageError: a condition about what is not measured, or nothing to resume.
            ModelOutputError: logits that no sampler could use.
        """
        conditions = self._conditions([(c.row, name_of(c.sampler)) for c in asked.candidates])
        for text in asked.warnings:
            messages.tell(f"note: {text}")
        with opened(asked.as_json(), resume) as journal:
            try:
                with stages("units") as progress:
                    document = ReportRun(asked, journal, progress).document()
            except KeyboardInterrupt:
                messages.note("what is finished is kept; --resume goes on from it")
                raise
            document["header"]["command"] = command
            return self._of(Report(document), conditions)

    def _conditions(self, rows: Sequence[tuple[str, str]]) -> list[Condition]:
        return [condition(text, rows) for text in self.fail_if]

    def _of(self, report: Report, conditions: Sequence[Condition]) -> int:
        document = report.to_dict()
        written = self.outputs.write(report, self.out)
        if self.outputs.on_stdout is None:
            self.out.show(*report_table(document, self.out.width, self.out.unicode))
        else:
            for name, reason in report.failed.items():
                messages.warn(f"{name} failed: {reason}")
        for path in written:
            messages.note(f"written to {path}")
        tripped = [why for each in conditions if (why := each.tripped(document))]
        for why in tripped:
            messages.complain(why)
        if tripped:
            return FAILED
        return PARTLY_FAILED if report.failed else DONE
