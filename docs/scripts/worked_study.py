"""Write the tables of the pages with worked studies from the results in docs/studies/results.

corelm study run docs/studies/min-p.toml                        # min-p-against-top-p.md
corelm study run docs/studies/smollm2/completion.toml           # tune-a-real-model.md
python docs/scripts/worked_study.py docs/studies/results

tune-a-real-model.md has three more studies, in the same folder. A page whose results are missing
stays as it is.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import corelm

PAGES = Path(__file__).resolve().parents[1] / "how-to"
TARGETS = "expected_surprisal=2.5", "expected_surprisal=3", "expected_surprisal=3.5"
STUDIES = {
    "imdb, reviews": "smollm2-imdb/imdb",
    "completion": "smollm2-completion/smollm2",
    "question": "smollm2-question/smollm2",
    "instruction": "smollm2-instruction/smollm2",
}
"""The columns of the page on a real model, and the folders of their reports."""
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


def people(reports: dict[str, Row]) -> Iterator[list[str]]:
    """Yield the surprisal and the maximum-likelihood temperature of the human texts."""
    yield ["human texts", "their surprisal", "entropy of the model there", "temperature"]
    yield ["---", "---:", "---:", "---:"]
    for name, report in reports.items():
        human = report["reference"]
        entropy, best = human["teacher_forced"]["model_entropy"], human["temperature"]
        yield [
            name,
            _with_interval(human["teacher_forced"]["surprisal"], _ends(human["teacher_forced"]), 2),
            _with_interval(entropy["mean"], entropy["ci95"], 2),
            _with_interval(best["t"], best["t_ci95"], 2),
        ]


def surprisals(reports: dict[str, Row]) -> Iterator[list[str]]:
    """Yield how far each sampler's surprisal is from human text, in each study."""
    yield ["sampler", *reports]
    yield ["---", *["---:"] * len(reports)]
    for rows in zip(*(report["samplers"] for report in reports.values()), strict=True):
        apart = [row["differences"]["generated_texts"]["surprisal"] for row in rows]
        cells = [_with_interval(each["value"], each["ci95"], 2) for each in apart]
        yield [_name(rows[0]), *cells]


def recalls(reports: dict[str, Row]) -> Iterator[list[str]]:
    """Yield the mass that each filter keeps, and the human tokens that it lets pass."""
    some = {
        name: each for name, each in reports.items() if each["header"]["model"]["name"] != "imdb"
    }
    yield ["sampler", *(f"{name}: mass, human tokens" for name in some)]
    yield ["---", *["---:"] * len(some)]
    for rows in zip(*(report["samplers"] for report in some.values()), strict=True):
        exact = [row["teacher_forced"] for row in rows]
        if all(each["mass_kept"] < 0.9999 for each in exact):
            cells = [
                f"{100 * e['mass_kept']:.0f} %, {100 * e['human_recall']:.0f} %" for e in exact
            ]
            yield [_name(rows[0]), *cells]


def _name(row: Row) -> str:
    """Return a sampler's expression without the parameters that have their defaults."""
    short = re.sub(
        r", (eta|threshold|special|base|allowed_length)=.*?(?=\)$|\) \|)", "", row["sampler"]
    )
    return f"`{short}`".replace("|", "\\|")


def _ends(figures: Row) -> list[float] | None:
    ends: list[float] | None = figures["ci95"]["surprisal"]
    return ends


def _with_interval(value: float, ends: list[float] | None, digits: int, by: float = 1) -> str:
    inside = "" if ends is None else f" ({by * ends[0]:.{digits}f} to {by * ends[1]:.{digits}f})"
    return f"{value:.{digits}f}{inside}"


def written(page: str, name: str, lines: Iterator[list[str]]) -> str:
    """Return the page with a table between its comments."""
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    pattern = rf"(<!-- table: {name} -->\n).*?(\n<!-- end table -->)"
    return re.sub(pattern, lambda at: f"{at[1]}\n{table}\n{at[2]}", page, flags=re.DOTALL)


def write(name: str, **tables: Iterator[list[str]]) -> None:
    """Write tables into a page."""
    page = (PAGES / name).read_text(encoding="utf-8")
    for table, lines in tables.items():
        page = written(page, table, lines)
    (PAGES / name).write_text(page, encoding="utf-8")


def main() -> None:
    """Write the tables of each page whose results are there."""
    folder = Path(sys.argv[1])
    if (folder / "imdb").exists():
        report = corelm.Report.read(folder / "imdb" / "report.json")
        rows = report.to_dict()["samplers"]
        write("min-p-against-top-p.md", settings=settings(rows), differences=differences(report))
    places = {name: folder / place / "report.json" for name, place in STUDIES.items()}
    if all(place.exists() for place in places.values()):
        read = {name: corelm.Report.read(place).to_dict() for name, place in places.items()}
        write(
            "tune-a-real-model.md",
            people=people(read),
            surprisals=surprisals(read),
            recalls=recalls(read),
        )


if __name__ == "__main__":
    main()
