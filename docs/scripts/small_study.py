"""Draw the figure of `docs/how-to/a-small-study.md` from its report, and print its tables.

    python docs/scripts/small_study.py study.json

The page has the command that makes the report.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot

import corelm

IMAGE = Path(__file__).resolve().parents[1] / "images" / "a-small-study.svg"
COLUMNS = ("human_recall", "mass_kept", "human_surprisal", "tokens_kept")
TITLES = (
    "sampler", "entropy", "human recall", "mass kept", "human surprisal", "tokens kept",
    "own texts: surprisal",
)  # fmt: skip
DIFFERENCES = {
    "human surprisal": ("teacher_forced", "human_surprisal"),
    "entropy": ("teacher_forced", "entropy.mean"),
    "own texts: surprisal": ("generated_texts", "surprisal"),
}
TEAL = "#00796b"
Row = Mapping[str, Any]


def draw(rows: list[Row]) -> None:
    """Draw the surprisal of human words under each sampler, with its interval."""
    with pyplot.rc_context({"svg.hashsalt": "corelm", "svg.fonttype": "none", "font.size": 10}):
        figure, axes = pyplot.subplots(figsize=(7, 3), layout="constrained")
        for at, row in enumerate(reversed(rows)):
            own = row["teacher_forced"]
            axes.plot(own["ci95"]["human_surprisal"], [at, at], color=TEAL)
            axes.plot(own["human_surprisal"], at, "o", color=TEAL)
        axes.set_yticks(range(len(rows)), [row["sampler"] for row in reversed(rows)])
        axes.set_xlabel("surprisal of people's words that can be drawn (nats), 95 % interval")
        axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(IMAGE, metadata={"Date": None})


def table(rows: list[Row]) -> str:
    """Return the figures of the rows as a Markdown table."""
    lines = [f"| {' | '.join(TITLES)} |", f"| --- |{' ---: |' * (len(TITLES) - 1)}"]
    for row in rows:
        own, texts = row["teacher_forced"], row["generated_texts"]
        recall, mass, nats, tokens = (own[name] for name in COLUMNS)
        low, high = own["ci95"]["human_surprisal"]
        lines.append(
            f"| `{row['sampler']}` | {own['entropy']['mean']:.2f} | {recall:.1%} | {mass:.1%} "
            f"| {nats:.3f} ({low:.3f} to {high:.3f}) | {tokens:,.0f} | {texts['surprisal']:.2f} |"
        )
    return "\n".join(lines)


def differences(rows: list[Row]) -> str:
    """Return the paired differences of the rows from the chosen one as a Markdown table."""
    lines = [f"| difference from the chosen row | {' | '.join(DIFFERENCES)} |"]
    lines.append(f"| --- |{' ---: |' * len(DIFFERENCES)}")
    for row in rows:
        if row["differences"]:
            each = [row["differences"][view][name] for view, name in DIFFERENCES.values()]
            cells = [
                f"{d['value']:+.3f} ({d['ci95'][0]:+.3f} to {d['ci95'][1]:+.3f})" for d in each
            ]
            lines.append(f"| `{row['sampler']}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Draw and print."""
    rows = corelm.Report.read(sys.argv[1]).to_dict()["samplers"]
    draw(rows)
    print(table(rows), differences(rows), sep="\n\n")


if __name__ == "__main__":
    main()
