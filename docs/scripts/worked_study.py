"""Write the tables of docs/how-to/min-p-against-top-p.md from the results of its study.

corelm study run docs/studies/min-p.toml
python docs/scripts/worked_study.py docs/studies/results
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import corelm

PAGE = Path(__file__).resolve().parents[1] / "how-to" / "min-p-against-top-p.md"
TARGETS = "expected_surprisal=2.5", "expected_surprisal=3", "expected_surprisal=3.5"
Row = dict[str, Any]


def settings(rows: list[Row]) -> Iterator[list[str]]:
    """Yield a line for each setting, in the order of the targets."""
    yield ["surprisal", "sampler", "entropy", "own texts: surprisal", "distinct-2", "rep-4"]
    yield ["---:", "---", "---:", "---:", "---:", "---:"]
    for target in TARGETS:
        for row in (row for row in rows if row["matched"]["asked"] == target):
            exact, own = row["teacher_forced"]["entropy"], row["generated_texts"]
            yield [
                target.partition("=")[2],
                f"`{row['sampler']}`",
                _with_interval(exact["mean"], exact["ci95"], 2),
                _with_interval(own["surprisal"], own["ci95"]["surprisal"], 2),
                _with_interval(100 * own["distinct_2"], own["ci95"]["distinct_2"], 1, 100),
                _with_interval(100 * own["rep_4"], own["ci95"]["rep_4"], 2, 100),
            ]


def differences(report: corelm.Report) -> Iterator[list[str]]:
    """Yield a line for each paired difference at the surprisal of the entry compared with."""
    tests = report.to_pandas("test").set_index(["sampler", "metric"])
    yield ["sampler", "figure of a text", "difference", "p", "p, Holm"]
    yield ["---", "---", "---:", "---:", "---:"]
    for row in report.to_dict()["samplers"]:
        if row["differences"] is None or row["matched"]["asked"] != TARGETS[1]:
            continue
        for figure in ("surprisal", "rep_4", "diversity"):
            difference = row["differences"]["generated_texts"][figure]
            test = tests.loc[row["sampler"], figure]
            yield [
                f"`{row['sampler']}`",
                figure.replace("_", "-"),
                _with_interval(difference["value"], difference["ci95"], 4),
                f"{test.p:.2g}",
                f"{test.p_holm:.2g}",
            ]


def _with_interval(value: float, ends: list[float] | None, digits: int, by: float = 1) -> str:
    inside = "" if ends is None else f" ({by * ends[0]:.{digits}f} to {by * ends[1]:.{digits}f})"
    return f"{value:.{digits}f}{inside}"


def written(page: str, name: str, lines: Iterator[list[str]]) -> str:
    """Return the page with a table between its comments."""
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    pattern = rf"(<!-- table: {name} -->\n).*?(\n<!-- end table -->)"
    return re.sub(pattern, lambda at: f"{at[1]}\n{table}\n{at[2]}", page, flags=re.DOTALL)


def main() -> None:
    """Write both tables."""
    report = corelm.Report.read(Path(sys.argv[1]) / "imdb" / "report.json")
    page = PAGE.read_text(encoding="utf-8")
    page = written(page, "settings", settings(report.to_dict()["samplers"]))
    PAGE.write_text(written(page, "differences", differences(report)), encoding="utf-8")


if __name__ == "__main__":
    main()
