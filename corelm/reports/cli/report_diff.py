"""Compares two reports in the terminal, as Markdown and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from corelm.cli.exit_codes import DONE, FAILED
from corelm.cli.output import blocks, messages
from corelm.cli.output.product import Output
from corelm.models import atomic_files
from corelm.reports.cli.finish_report import ReportFiles
from corelm.reports.document.comparison import beyond, comparison, same
from corelm.reports.document.content import Document
from corelm.reports.document.parts import Json
from corelm.reports.render.markdown import plain, table_row
from corelm.reports.report import Report
from corelm.toolkit import one_line

TITLES = ("sampler", "figure", "before", "after", "difference", "its 95 % interval")
SHOWN = 60
"""Characters of a part of a header that are shown."""


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
    before, after = (Document.from_dict(Report.read(path).to_dict()) for path in paths)
    compared = comparison(before, after)
    forms = {"json": _to_json, "markdown": to_markdown}
    for path in places.write_forms(lambda form: forms[form](compared), out):
        messages.note(f"written to {path}")
    if places.on_stdout is None:
        show_comparison(compared, out)
    return DONE if same(compared) else FAILED


def show_comparison(compared: Json, out: Output) -> None:
    """Write the figures that differ as a table, and sentences on how to read it."""
    lines = changed(compared)
    if lines:
        titles = [*TITLES[:4], "difference, 95 %"]  # its interval says enough
        table = [[*line[:4], line[5]] for line in lines]
        out.show(blocks.figures(titles, table), blocks.line(""))
    out.show(*(blocks.line(note) for note in notes(compared)))


def _to_json(compared: Json) -> str:
    return atomic_files.dump_json(compared).decode()


def changed(compared: Json) -> list[tuple[str, ...]]:
    """Return a line for each figure that differs beyond its interval, as `TITLES` has it."""
    return [
        (
            one_line(name),
            one_line(each["metric"]),
            f"{each['before']:.4g}",
            f"{each['after']:.4g}",
            f"{each['difference']:+.4g}",
            f"{each['ci95'][0]:+.3g} to {each['ci95'][1]:+.3g}",
        )
        for name, each in beyond(compared)
    ]


def notes(compared: Json) -> Iterator[str]:
    """Yield sentences: how many figures differ, how to read that, what else differs."""
    figures = [each for entry in compared["rows"] for each in entry["figures"]]
    tested = [each for each in figures if each["ci95"] is not None]
    count, equal = len(beyond(compared)), sum(each["difference"] == 0 for each in figures)
    yield (
        f"{len(figures):,} figures compared: {equal:,} equal, {count:,} of {len(tested):,} with an "
        "interval differ beyond it."
    )
    if compared["shared_draws"]:
        yield (
            "The reports share model, seed, prompts and contexts, so the intervals, which are for "
            "independent samples, are wide: a difference within one may be real too."
        )
    else:
        yield (
            "The intervals are for independent samples; of the figures of equal samplers, "
            f"about {0.05 * len(tested):.0f} would differ beyond their interval by chance."
        )
    for key, place in (("only_before", "first"), ("only_after", "second")):
        if compared[key]:
            yield f"Only in the {place} report: {', '.join(map(one_line, compared[key]))}."
    for each in compared["header"]:
        sides = [one_line(str(each[side])) for side in ("before", "after")]
        short = [text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}\u2026" for text in sides]
        yield f"{one_line(each['key'])}: {short[0]}, then {short[1]}."


def to_markdown(compared: Json) -> str:
    """Render a comparison as Markdown."""
    lines = [table_row(list(TITLES)), table_row(["---", "---", *["---:"] * 4])]
    lines += [table_row([plain(cell) for cell in line]) for line in changed(compared)]
    table = ["\n".join(lines)] if len(lines) > 2 else []
    return "\n\n".join([*table, *(plain(note) for note in notes(compared))]) + "\n"
