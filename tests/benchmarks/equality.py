"""Compare corelm's samplers inside other engines with corelm itself, in the cases that go wrong.

    python tests/benchmarks/equality.py [--engines mlx ...] [--models llama ...] [--samplers 4]
    python tests/benchmarks/equality.py --write     write the rows into the page
    python tests/benchmarks/equality.py --only edt top_a --write    add new samplers to its rows

Every sampler runs in each engine's own loop, on tiny random models of five architectures. corelm
writes the same texts from the same model and seed through its adapter. A row of the table is an
architecture in an engine, a column a case; a cell has the largest difference of a probability,
over all tokens at every step, and the number of texts that are the same.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from engines.driver import recorded

import corelm
from corelm.cli.output.describe import example
from corelm.errors import CorelmError
from corelm.interop.testing import Recorded
from corelm.registry.registry import registry

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "which-engine-runs-what.md"
BEGIN, END = "<!-- equality: begin -->\n", "<!-- equality: end -->\n"
LIMIT = 1e-5
"""The largest difference that rounding explains: a padded batch is added up in another order."""

ENGINES = {
    "transformers": ("transformers", "corelm_transformers"),
    "mlx": ("mlx-lm", "corelm_mlx"),
    "keras_hub": ("KerasHub", "corelm_keras_hub"),
    "llama_cpp": ("llama.cpp", "corelm_llama_cpp"),
    "vllm": ("vLLM", "corelm_vllm"),
    "vllm_v2": ("vLLM's runner V2", "corelm_vllm"),
}
"""The name and the package of the plugin of each module of `engines`."""
CASES = (
    "three prompts",
    "many ends",
    "second generation",
    "guesses",
    "engine's settings first",
    "engine's settings replaced",
)
EXCLUDED = ("choice", "json_schema", "lark", "regex")
"""Samplers that are not compared: a grammar needs the letters that end a text in a case here."""


def every_sampler() -> list[str]:
    """Return an expression of each sampler that is not excluded."""
    offers = [offer for offer in registry().samplers() if offer.name not in EXCLUDED]
    return [str(example(offer.value, offer.name)) for offer in offers]


@dataclass
class Cell:
    """A case on an architecture.

    Attributes:
        same: texts that are the same.
        texts: all texts.
        difference: the largest difference of a probability.
        refused: samplers that the engine's plugin refuses there.
        differing: samplers with a different text or probability.
    """

    same: int = 0
    texts: int = 0
    difference: float = 0.0
    refused: tuple[str, ...] = ()
    differing: tuple[str, ...] = ()

    def add(self, sampler: str, found: Any, expected: Any) -> None:
        """Count the texts of a sampler and compare the distributions that both saw."""
        (texts, inside), (own, outside) = found, expected
        common = inside.keys() & outside.keys()
        differences = [float(np.abs(inside[text] - outside[text]).max()) for text in common]
        same = sum(one == other for one, other in zip(texts, own, strict=True))
        self.same, self.texts = self.same + same, self.texts + len(own)
        self.difference = max([self.difference, *differences])
        if same < len(own) or max(differences, default=1.0) > LIMIT:
            self.differing += (sampler,)

    @classmethod
    def read(cls, text: str) -> Cell:
        """Return a cell of the page, whose difference is rounded up."""
        found = re.fullmatch(r"(?:< (\S+)|0), (\d+) of (\d+)", text)
        if not found:  # refused
            return cls()
        return cls(int(found[2]), int(found[3]), float(found[1] or 0))

    def __add__(self, other: Cell) -> Cell:
        return Cell(
            self.same + other.same,
            self.texts + other.texts,
            max(self.difference, other.difference),
            (*self.refused, *other.refused),
            (*self.differing, *other.differing),
        )

    def __str__(self) -> str:
        power = 10.0 ** np.ceil(np.log10(self.difference)) if self.difference else 0
        size = f"< {power:.0e}".replace("e-0", "e-") if power else "0"
        return f"{size}, {self.same} of {self.texts}" if self.texts else "refused"


def engine(name: str) -> ModuleType:
    """Return the module of an engine."""
    return importlib.import_module(f"engines.{name}")


def cases_of(name: str) -> dict[str, Any]:
    """Return the cases of an engine."""
    cases: dict[str, Any] = engine(name).CASES
    return cases


def measured(engine_name: str, name: str, case: str, samplers: Sequence[str]) -> Cell:
    """Compare samplers in a case on an architecture of an engine."""
    cell = Cell()
    for expression in samplers:
        sampler = corelm.sampler(expression) | Recorded()
        comparison = cases_of(engine_name)[case](name, sampler)
        expected = recorded(comparison.own)
        for run in comparison.ways.values():
            try:
                found = recorded(run, comparison.start)
            except CorelmError:
                if case != "guesses":  # which some samplers cannot follow
                    raise
                cell.refused += (expression,)
                continue
            cell.add(expression, found, expected)
    return cell


def rows_of(name: str, models: Sequence[str], samplers: Sequence[str]) -> dict[str, Any]:
    """Measure an engine: a row of cells for each architecture."""
    return {
        model: {case: measured(name, model, case, samplers) for case in cases_of(name)}
        for model in engine(name).MODELS
        if not models or model in models
    }


def in_process(name: str, arguments: Sequence[str]) -> dict[str, dict[str, Cell]]:
    """Measure an engine in a process of its own; Keras with torch, which compiles nothing."""
    run = subprocess.run(
        [sys.executable, __file__, "--json", "--engines", name, *arguments],
        env={**os.environ, "KERAS_BACKEND": "torch", "CORELM_THREADS": "1"},
        stdout=subprocess.PIPE,
        check=True,
    )
    rows = json.loads(run.stdout.decode().splitlines()[-1])
    return {
        model: {case: Cell(**cell) for case, cell in cells.items()} for model, cells in rows.items()
    }


def table(found: dict[str, dict[str, dict[str, Cell]]], samplers: int) -> str:
    """Return the table: a row for each architecture, a column for each case."""
    names = ("engine", "architecture", "samplers", *CASES)
    lines = [f"| {' | '.join(names)} |", f"|{'---|' * len(names)}"]
    for name, rows in found.items():
        for model, cells in rows.items():
            row = " | ".join(str(cells.get(case, "")) for case in CASES)
            lines.append(f"| {ENGINES[name][0]} | `{model}` | {samplers} | {row} |")
    return "\n".join(lines) + "\n"


def with_page(
    name: str, rows: dict[str, dict[str, Cell]], samplers: int
) -> tuple[dict[str, dict[str, Cell]], int]:
    """Return the rows of an engine and the number of samplers, with those on the page added."""
    sums, total = {}, samplers
    for line in PAGE.read_text("utf-8").splitlines():
        if line.startswith(f"| {ENGINES[name][0]} | `"):
            _, _, model, count, *cells, _ = (part.strip(" `") for part in line.split("|"))
            old, total = dict(zip(CASES, map(Cell.read, cells), strict=True)), int(count) + samplers
            sums[model] = {case: cell + old[case] for case, cell in rows[model].items()}
    return sums, total


def write(text: str) -> None:
    """Write the table into the page; engines that were not measured keep their rows."""
    before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    old, _, after = rest.partition(END)
    rows = {row.split("|")[1].strip(): [] for row in (*old.splitlines(), *text.splitlines()) if row}
    for engine in rows:
        source = text if f"\n| {engine} |" in text else old
        rows[engine] = [row for row in source.splitlines() if row.startswith(f"| {engine} |")]
    names = [name for name, _ in ENGINES.values()]
    lines = text.splitlines()[:2] + [row for name in names for row in rows.get(name, [])]
    PAGE.write_text(before + BEGIN + "\n" + "\n".join(lines) + f"\n\n{END}" + after, "utf-8")


def faults(found: dict[str, dict[str, dict[str, Cell]]]) -> list[str]:
    """Name the samplers that differ."""
    return [
        f"{name}, {model}, {case}: {', '.join(cell.differing)}"
        for name, rows in found.items()
        for model, cells in rows.items()
        for case, cell in cells.items()
        if cell.differing
    ]


def main() -> int:
    """Measure and print the table; fail where something differs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--models", nargs="+", default=[], help="architectures; by default all")
    parser.add_argument(
        "--samplers", type=int, help="how many, from all over the alphabet; by default all"
    )
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="NAME",
        help="these alone; --write adds them to the page's rows",
    )
    parser.add_argument("--write", action="store_true", help="write the rows into the page")
    parser.add_argument("--json", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    logging.getLogger("corelm").setLevel(logging.ERROR)  # the settings of an engine are named
    every = every_sampler()
    if options.only:
        every = [text for text in every if text.partition("(")[0] in options.only]
    count = min(options.samplers or len(every), len(every))
    if options.json:
        chosen = [every[i * len(every) // count] for i in range(count)]
        rows = rows_of(*options.engines, options.models, chosen)
        print(json.dumps(rows, default=asdict))
        return 0
    arguments = ["--samplers", str(count)]
    if options.models:
        arguments += ["--models", *options.models]
    if options.only:
        arguments += ["--only", *options.only]
    found = {}
    for name in options.engines:
        if importlib.util.find_spec(ENGINES[name][1]) is None:
            print(f"{ENGINES[name][1]} is not installed", file=sys.stderr)
        else:
            found[name] = in_process(name, arguments)
            if options.write:  # what an engine took minutes for is kept if a later one fails
                rows, total = found[name], count
                if options.only:
                    rows, total = with_page(name, rows, count)
                write(table({name: rows}, total))
    print(table(found, count))
    print("\n".join(faults(found)), file=sys.stderr)
    return bool(faults(found))


if __name__ == "__main__":
    sys.exit(main())
