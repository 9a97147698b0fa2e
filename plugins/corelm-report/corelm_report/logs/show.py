"""`corelm study read`: the paired differences between logs of other programs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from corelm.commands import ExitCode, Output, blocks
from corelm.errors import UsageError
from corelm.runs import printable
from corelm_report.logs.answers import read_answers
from corelm_report.logs.differences import LogDifference, paired_differences
from corelm_report.metrics.estimates import FEWEST

HEADER = ("log", "score", "mean", "difference", "95 % interval", "p (Holm)", "questions", "units")


def show_logs(
    paths: Sequence[Path], metrics: Sequence[str], cluster: str | None, out: Output
) -> int:
    """Show the differences of every log from the first one.

    Raises:
        UsageError: fewer than two logs, or logs without a common score or question.
    """
    if len(paths) < 2:
        raise UsageError("give two logs or more: the others are compared with the first")
    names = _names(paths)
    logs = {name: read_answers(path, cluster) for name, path in zip(names, paths, strict=True)}
    found = paired_differences(logs, metrics)
    out.rows(HEADER, [_row(each) for each in found])
    out.show(blocks.line(f"Differences are from {names[0]}, paired by question."))
    left_out = max(each.left_out for each in found)
    if left_out:
        out.show(
            blocks.line(f"{printable.counted(left_out, 'question')} of one log alone are left out.")
        )
    if min(each.units for each in found) < FEWEST:
        out.show(blocks.line(f"Fewer than {FEWEST} independent units have no interval."))
    return ExitCode.DONE


def _names(paths: Sequence[Path]) -> list[str]:
    """Return the shortest distinct names of files."""
    for parts in range(1, max(len(path.parts) for path in paths) + 1):
        names = ["/".join(path.parts[-parts:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    raise UsageError("the same log is given twice")


def _row(found: LogDifference) -> tuple[str, ...]:
    ends = "none" if found.ends is None else f"{found.ends[0]:+.4f} to {found.ends[1]:+.4f}"
    p = "none" if found.p_holm is None else f"{found.p_holm:.2g}"
    return (
        found.log, found.metric, f"{found.values[0]:.4f}", f"{found.difference:+.4f}", ends, p,
        f"{found.questions:,}", f"{found.units:,}",
    )  # fmt: skip
