"""The comparison of two reports in words, and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from corelm.reports.document.comparison import beyond
from corelm.reports.render.markdown import plain, table_row
from corelm.toolkit import one_line

TITLES = ("sampler", "figure", "before", "after", "difference", "its 95 % interval")
SHOWN = 60
"""Characters of a part of a header that are shown."""


def changed(compared: Mapping[str, Any]) -> list[tuple[str, ...]]:
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


def notes(compared: Mapping[str, Any]) -> Iterator[str]:
    """Yield sentences: how many figures differ, how to read that, what else differs."""
    figures = [each for row in compared["rows"] for each in row["figures"]]
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
            "The intervals are those of independent samples; of the figures of equal samplers, "
            f"about {0.05 * len(tested):.0f} would differ beyond theirs by chance."
        )
    for key, place in (("only_before", "first"), ("only_after", "second")):
        if compared[key]:
            yield f"Only in the {place} report: {', '.join(map(one_line, compared[key]))}."
    for each in compared["header"]:
        sides = [one_line(str(each[side])) for side in ("before", "after")]
        short = [text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}\u2026" for text in sides]
        yield f"{one_line(each['key'])}: {short[0]}, then {short[1]}."


def to_markdown(compared: Mapping[str, Any]) -> str:
    """Render a comparison as Markdown."""
    lines = [table_row(list(TITLES)), table_row(["---", "---", *["---:"] * 4])]
    lines += [table_row([plain(cell) for cell in line]) for line in changed(compared)]
    table = ["\n".join(lines)] if len(lines) > 2 else []
    return "\n\n".join([*table, *(plain(note) for note in notes(compared))]) + "\n"
