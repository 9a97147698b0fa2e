"""What the charts of recorded reports are drawn of stays the same: lines, bands, colours, scales.

`python pages/test_recorded_charts.py` with `PYTHONPATH=.`, in the folder of these tests, records it
again, for a change that is meant. The places of labels are left out, since they depend on the
widths of letters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from documents import TEXTS, carrier, compare
from matplotlib.colors import to_hex
from pictures import axes_of, chart_of, names_of

RECORDED = Path(__file__).with_name("recorded_charts.txt")
NUMBER = re.compile(r"(?<![\w#])-?\d+(?:\.\d+)?(?:e-?\d+)?")
REPORTS = {
    "with human text": {
        "samplers": ["greedy", "temperature(t=0.5)", "top_k(k=3)", "uniform"],
        "reference": TEXTS * 2,
    },
    "swept": {"samplers": ["temperature(t=0.2..20/4)", "top_k(k=1..3)"], "reference": TEXTS * 2},
    "matched": {
        "samplers": ["temperature", "quadratic(curve=1.0)"],
        "match": "entropy=0.9",
        "reference": TEXTS * 2,
    },
    "alone": {"samplers": ["temperature(t=0.7)"]},
}


def described() -> Iterator[str]:
    """Yield a line for each part of each chart."""
    for name, asked in REPORTS.items():
        document = compare(model=carrier(), n=4, **asked)
        for chart in names_of(document):
            yield f"{name}: {chart}: {chart_of(document, chart).title}"
            for axes in axes_of(document, chart):
                yield from map("  ".__add__, _parts(axes))


def _parts(axes: Any) -> Iterator[str]:
    yield f"axes {axes.get_xlabel()!r} {axes.get_xscale()}, {axes.get_ylabel()!r}"
    for line in axes.lines:
        points = [_point(line.get_xdata()[i], line.get_ydata()[i]) for i in (0, -1)]
        yield (
            f"line {to_hex(line.get_color())} {line.get_linestyle()} {line.get_marker()} "
            f"{line.get_linewidth():g} order {line.get_zorder():g}, {len(line.get_xdata())} points "
            f"from {points[0]} to {points[1]}"
        )
    for patch in [*axes.patches, *axes.collections]:
        path = patch.get_paths()[0] if hasattr(patch, "get_paths") else patch.get_path()
        box = path.get_extents(patch.get_transform() - axes.transData)
        colour, alpha = np.atleast_2d(patch.get_facecolor())[0], patch.get_alpha()
        yield (
            f"area {to_hex(colour)} {'opaque' if alpha is None else f'{alpha:g}'} "
            f"order {patch.get_zorder():g} from {_point(*box.min)} to {_point(*box.max)}"
        )
    # Near its mark or in the margin, a label is the same.
    labels = {f"label {to_hex(text.get_color())} {text.get_text()!r}" for text in axes.texts}
    yield from sorted(labels)


def _point(x: float, y: float) -> str:
    return f"({x:.4g}, {y:.4g})"


@pytest.fixture(scope="module")
def lines() -> list[str]:
    return list(described())


@pytest.mark.slow
def test_charts_are_drawn_as_recorded(lines: list[str]) -> None:
    recorded = RECORDED.read_text(encoding="utf-8").splitlines()
    assert [NUMBER.sub("0", line) for line in lines] == [NUMBER.sub("0", line) for line in recorded]
    for line, expected in zip(lines, recorded, strict=True):
        numbers, wanted = ([float(n) for n in NUMBER.findall(each)] for each in (line, expected))
        assert numbers == pytest.approx(wanted, rel=2e-3, abs=1e-6), line


if __name__ == "__main__":
    RECORDED.write_text("\n".join(described()) + "\n", encoding="utf-8")
