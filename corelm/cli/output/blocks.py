"""Blocks of text and tables, safe for strings from plugins and models."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from rich.console import Console, Group, RenderableType
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from corelm.text.printable import ENDLESS, aligned, one_line, strip_controls

__all__ = ["entry", "figures", "line"]

INDENT = (0, 0, 0, 2)


def line(text: str, style: str = "") -> Text:
    """Return text that wraps where it does not fit."""
    return Text(one_line(text), style=style)


def heading(text: str) -> Text:
    """Return a bold line."""
    return line(text, "bold")


def paragraphs(text: str) -> Iterable[RenderableType]:
    """Yield paragraphs with their lines joined; indented lines stay as they are."""
    for part in strip_controls(text).split("\n\n"):
        yield Text(part if "\n " in part else " ".join(part.split()))
        yield Text("")


def section(title: str, *content: RenderableType) -> Iterable[RenderableType]:
    """Yield blocks under a heading, and an empty line."""
    yield heading(title)
    yield Padding(several(content), INDENT)
    yield Text("")


def pairs(items: Iterable[tuple[str, str]]) -> Table:
    """Return a table of names and their descriptions."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="cyan", overflow="fold")
    table.add_column(overflow="fold")
    for name, text in items:
        table.add_row(one_line(name), one_line(text))
    return table


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Return a table without rules."""
    block = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for at, header in enumerate(headers):
        block.add_column(header, style="cyan" if at == 0 else "", overflow="fold")
    for row in rows:
        block.add_row(*map(one_line, row))
    return block


def figures(
    headers: Sequence[str],
    rows: Iterable[Sequence[str]],
    faint: Collection[int] = (),
    widest: int | None = None,
    stacked: bool = False,
) -> RenderableType:
    """Return a table of numbers with aligned decimals, each row with a name first.

    Args:
        headers: the headers of the columns, the names' first.
        rows: the name and the numbers of each row.
        faint: the indices of dim rows.
        widest: the largest width of a name.
        stacked: write the cells of a row below each other, for a narrow terminal.
    """
    if stacked:
        return below_each_other(headers, rows)
    block = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    names, *columns = zip(headers, *rows, strict=True)
    titles, *lines = zip(*(aligned([*map(one_line, each)]) for each in columns), strict=True)
    block.add_column(names[0], style="cyan", overflow="fold", max_width=widest)
    for title in titles:
        block.add_column(title, no_wrap=True)
    for at, (name, cells) in enumerate(zip(names[1:], lines, strict=True)):
        block.add_row(one_line(name), *cells, style="dim" if at in faint else None)
    return block


def several(parts: Iterable[RenderableType]) -> RenderableType:
    """Return blocks below each other."""
    return Group(*parts)


def width(console: Console, block: RenderableType) -> int:
    """Return the width that a block would take without a limit."""
    endless = console.options.update(width=ENDLESS)  # or the block would shrink to the terminal
    return Measurement.get(console, endless, block).maximum


def entry(name: str, facts: Iterable[str], *texts: str) -> Iterable[RenderableType]:
    """Yield a name with a few facts on one line, and texts below it."""
    yield line(name, "cyan").append("".join(f"  {one_line(fact)}" for fact in facts if fact), "dim")
    yield Padding(several(map(line, texts)), INDENT)


def below_each_other(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> RenderableType:
    """Return a table for a narrow terminal: cells below each other, without empty ones."""
    blocks: list[RenderableType] = []
    for first, *others in rows:
        named = zip(headers[1:], others, strict=True)
        blocks.append(line(first, "cyan"))
        blocks.append(Padding(pairs((h, text) for h, text in named if text), INDENT))
    return several(blocks)
