"""Compares two reports in the terminal, as Markdown and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from corelm.cli.exit_codes import DONE, FAILED
from corelm.cli.output import blocks, messages
from corelm.cli.output.product import Output
from corelm.models import atomic_files
from corelm.reports.cli.report_files import ReportFiles
from corelm.reports.document.comparison import comparison, same
from corelm.reports.render.comparison import TITLES, changed, notes, to_markdown
from corelm.reports.report import Report


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
    before, after = (Report.read(path).to_dict() for path in paths)
    compared = comparison(before, after)
    forms = {"json": _to_json, "markdown": to_markdown}
    for path in places.write_forms(lambda form: forms[form](compared), out):
        messages.note(f"written to {path}")
    if places.on_stdout is None:
        lines = changed(compared)
        if lines:
            titles = [*TITLES[:4], "difference, 95 %"]  # its interval says enough
            table = [[*line[:4], line[5]] for line in lines]
            out.show(blocks.figures(titles, table), blocks.line(""))
        out.show(*(blocks.line(note) for note in notes(compared)))
    return DONE if same(compared) else FAILED


def _to_json(compared: dict[str, Any]) -> str:
    return atomic_files.dump_json(compared).decode()
