"""The forms of a report, as files: the whole of it, a table, a page, what to cite, the plots."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from corelm.runs import SafeFile
from corelm_report.report import Report, document_of

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
    for name, content in plots(document_of(report)).items():
        if kinds is None or name.rpartition(".")[2] in kinds:
            SafeFile(folder / name).write(content)
