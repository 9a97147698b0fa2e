"""Compare corelm's samplers inside other engines with corelm itself, in the cases that go wrong.

    python tests/benchmarks/equality.py [--engines mlx ...] [--models llama ...] [--samplers 4]
    python tests/benchmarks/equality.py --write     write the table into the page

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
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from engines.driver import Recorded, recorded

import corelm
from corelm.cli.output.describe import example
from corelm.errors import CorelmError
from corelm.plugins.registry import registry

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "which-engine-runs-what.md"
BEGIN, END = "<!-- equality: begin -->\n", "<!-- equality: end -->\n"
LIMIT = 1e-5
"""The largest difference that rounding explains: a padded batch is added up in another order."""

ENGINES = {
    "transformers": ("transformers", "corelm_transformers"),
    "mlx": ("mlx-lm", "corelm_mlx"),
    "keras_hub": ("KerasHub", "corelm_keras_hub"),
    "llama_cpp": ("llama.cpp", "corelm_llama_cpp"),
    "vllm": ("vLLM's interfaces", "corelm_vllm"),
}
"""The name and the package of the plugin of each module of `engines`."""
CASES = (
    "three prompts",
    "many ends",
    "second generation",
    "drafts",
    "engine's settings first",
    "engine's settings replaced",
)
EXCLUDED = {
    name: "a grammar needs the letters that end a text here; corelm-grammar tests it in engines"
    for name in ("choice", "json_schema", "lark", "regex")
}
"""Samplers that are not compared, and why."""


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

    def __str__(self) -> str:
        power = 10.0 ** np.ceil(np.log10(self.difference)) if self.difference else 0
        size = f"< {power:.0e}".replace("e-0", "e-") if power else "0"
        return f"{size}, {self.same} of {self.texts}" if self.texts else "refused"


def cases_of(engine: str) -> dict[str, Any]:
    """Return the cases of an engine."""
    cases: dict[str, Any] = importlib.import_module(f"engines.{engine}").CASES
    return cases


def measured(engine: str, name: str, case: str, samplers: Sequence[str]) -> Cell:
    """Compare samplers in a case on an architecture of an engine."""
    cell = Cell()
    for expression in samplers:
        sampler = corelm.sampler(expression) | Recorded()
        comparison = cases_of(engine)[case](name, sampler)
        expected = recorded(comparison.own)
        for run in comparison.ways.values():
            try:
                found = recorded(run, comparison.start)
            except CorelmError:
                if case != "drafts":  # which some samplers cannot follow
                    raise
                cell.refused += (expression,)
                continue
            cell.add(expression, found, expected)
    return cell


def rows_of(engine: str, models: Sequence[str], samplers: Sequence[str]) -> dict[str, Any]:
    """Measure an engine: a row of cells for each architecture."""
    names = [name for name in importlib.import_module(f"engines.{engine}").MODELS]
    return {
        name: {case: measured(engine, name, case, samplers) for case in cases_of(engine)}
        for name in names
        if not models or name in models
    }


def in_process(engine: str, arguments: Sequence[str]) -> dict[str, dict[str, Cell]]:
    """Measure an engine in a process of its own; Keras with torch, which compiles nothing."""
    run = subprocess.run(
        [sys.executable, __file__, "--json", "--engines", engine, *arguments],
        env={**os.environ, "KERAS_BACKEND": "torch"},
        stdout=subprocess.PIPE,
        check=True,
    )
    rows = json.loads(run.stdout.decode().splitlines()[-1])
    return {
        name: {case: Cell(**cell) for case, cell in cells.items()} for name, cells in rows.items()
    }


def table(found: dict[str, dict[str, dict[str, Cell]]]) -> str:
    """Return the table: a row for each architecture, a column for each case."""
    lines = [f"| engine | architecture | {' | '.join(CASES)} |", f"|{'---|' * (len(CASES) + 2)}"]
    for engine, rows in found.items():
        for name, cells in rows.items():
            row = (str(cells.get(case, "")) for case in CASES)
            lines.append(f"| {ENGINES[engine][0]} | `{name}` | {' | '.join(row)} |")
    return "\n".join(lines) + "\n"


def write(text: str) -> None:
    """Write the table into the page."""
    before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}", "utf-8")


def faults(found: dict[str, dict[str, dict[str, Cell]]]) -> list[str]:
    """Name the samplers that differ."""
    return [
        f"{engine}, {name}, {case}: {', '.join(cell.differing)}"
        for engine, rows in found.items()
        for name, cells in rows.items()
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
    parser.add_argument("--write", action="store_true", help="write the table into the page")
    parser.add_argument("--json", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    logging.getLogger("corelm").setLevel(logging.ERROR)  # the settings of an engine are named
    every = every_sampler()
    count = min(options.samplers or len(every), len(every))
    if options.json:
        chosen = [every[i * len(every) // count] for i in range(count)]
        rows = rows_of(*options.engines, options.models, chosen)
        print(json.dumps(rows, default=asdict))
        return 0
    arguments = ["--samplers", str(count), "--models", *options.models]
    arguments = arguments if options.models else arguments[:2]
    found = {}
    for engine in options.engines:
        if importlib.util.find_spec(ENGINES[engine][1]) is None:
            print(f"{ENGINES[engine][1]} is not installed", file=sys.stderr)
        else:
            found[engine] = in_process(engine, arguments)
    print(f"{count} samplers\n\n{table(found)}")
    if options.write:
        write(table(found))
    print("\n".join(faults(found)), file=sys.stderr)
    return bool(faults(found))


if __name__ == "__main__":
    sys.exit(main())
