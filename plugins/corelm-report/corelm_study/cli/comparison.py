"""Compare two reports, and write the comparison to the terminal and to files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from corelm.commands import ExitCode, Output, blocks, messages
from corelm.runs import printable
from corelm_pages.evidence import named
from corelm_pages.formats import NARROW, Rounding, number, with_interval
from corelm_pages.markdown import plain, table_row
from corelm_pages.report import Report, document_of
from corelm_report.document.comparison import SIDES, beyond, comparison, same
from corelm_report.document.figures import FIGURES
from corelm_report.document.lookup import share
from corelm_report.document.parts import Json
from corelm_study.cli.finish_report import ReportFiles

TITLES = ("sampler", "figure", "before", "after", "difference", "its 95% interval")
PERCENT = {figure.name for figure in FIGURES if figure.form == "share"}
"""The figures that are written in percent."""
SHOWN = 60
"""The longest part of a header that is shown in full, in characters."""


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

    def content_of(form: str) -> str:
        if form == "markdown":
            return comparison_as_markdown(compared)
        return json.dumps(compared, indent=2, allow_nan=False) + "\n"

    for path in places.write_forms(content_of, out):
        messages.tell(f"written to {path}", "note")
    if places.on_stdout is None:
        show_comparison(compared, out)
    return ExitCode.DONE if same(compared) else ExitCode.FAILED


def show_comparison(compared: Json, out: Output) -> None:
    """Write the figures that differ as a table, and sentences on how to read it."""
    lines = changed_figures(compared)
    if lines:
        titles = [*TITLES[:4], "difference, 95%"]  # its interval is enough
        table = [[*line[:4], line[5]] for line in lines]
        out.show(blocks.figures(titles, table), blocks.line(""))
    out.show(*(blocks.line(note) for note in comparison_notes(compared)))


def changed_figures(compared: Json) -> list[tuple[str, ...]]:
    """Return a line for each figure that differs beyond its interval, as `TITLES` has it."""
    lines = []
    for name, each in beyond(compared):
        form = share if each["metric"] in PERCENT else number
        apart, ends = each["difference"], each["ci95"]
        rounding = Rounding.by_interval(form, apart, ends[0], ends[1], apart_from=(0.0,))
        names = [printable.one_line(text) for text in (name, each["metric"])]
        sides = [rounding.text(each[side]) for side in ("before", "after")]
        text, interval = with_interval(form, apart, ends, difference=True)
        lines.append((*names, *sides, text, interval or NARROW))
    return lines


def comparison_notes(compared: Json) -> Iterator[str]:
    """Yield sentences: the number of figures that differ, how to read it, other differences."""
    of_both = (each for entry in compared["rows"] for each in entry["figures"])
    figures = [each for each in of_both if each["difference"] is not None]
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
    yield from _without_counterpart(compared)
    for each in compared["header"]:
        sides = [printable.one_line(str(each[side])) for side in ("before", "after")]
        short = [text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}\u2026" for text in sides]
        yield f"{printable.one_line(each['key'])}: {short[0]}, then {short[1]}."


def _without_counterpart(compared: Json) -> Iterator[str]:
    """Yield sentences on what one report lacks, and on figures that can't be tested."""
    named_figures = [
        (f"{each['metric']} of {entry['sampler']}", each)
        for entry in compared["rows"]
        for each in entry["figures"]
    ]
    for side, place in zip(SIDES, ("first", "second"), strict=True):
        for some, what in (
            (compared[f"failed_{side}"], f"Failed in the {place} report"),
            (compared[f"only_{side}"], f"Only in the {place} report"),
            (
                [name for name, each in named_figures if each[side] is None],
                f"Not in the {place} report",
            ),
        ):
            if some:
                yield f"{what}: {printable.one_line(named(some))}."
    untested = [
        name for name, each in named_figures if each["difference"] and each["beyond"] is None
    ]
    if untested:
        verb = "differs" if len(untested) == 1 else "differ"
        yield f"Not tested, without an interval: {printable.one_line(named(untested, 3))} {verb}."


def comparison_as_markdown(compared: Json) -> str:
    """Render a comparison as Markdown."""
    lines = [table_row(list(TITLES)), table_row(["---", "---", *["---:"] * 4])]
    lines += [table_row([plain(cell) for cell in line]) for line in changed_figures(compared)]
    table = ["\n".join(lines)] if len(lines) > 2 else []
    return "\n\n".join([*table, *(plain(note) for note in comparison_notes(compared))]) + "\n"
