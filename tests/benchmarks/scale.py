"""Measure how reports and texts scale: speed, the cost of a unit, memory.

python tests/benchmarks/scale.py speed          texts a second in this process and with workers
python tests/benchmarks/scale.py overhead       milliseconds that a unit costs besides its work
python tests/benchmarks/scale.py record         memory of the record of a text
python tests/benchmarks/scale.py figures        seconds of the figures against the number of texts
python tests/benchmarks/scale.py memory         peak memory against the number of texts
python tests/benchmarks/scale.py vocabulary     peak memory against the vocabulary
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import corelm
from corelm import machine
from corelm.generation.endings import Endings
from corelm.generation.generate import Texts
from corelm.registry.strategies import Strategy
from corelm.scaling.dependencies import Dependencies
from corelm.scaling.executor import Executor
from corelm.scaling.text_batches import in_order, units_of
from corelm.testing import ToyModel
from corelm_report.measure.generated_texts import DrawTexts, draw
from corelm_report.measure.text_records import without_details
from corelm_report.measure.text_set import TextSet

MODEL = "imdb"
WORKERS = (None, 1, 2)
TEXTS, UNITS = 2048, 400
COUNTS = (100, 1000)
FIGURES = 100, 1_000, 5_000, 20_000
VOCABULARIES = (16_000, 128_000, 262_000)


@dataclass(frozen=True)
class Nothing:
    """A unit without work, with a result of the size that a batch of texts has."""

    number: int

    @property
    def name(self) -> str:
        """The name among all units."""
        return str(self.number)

    def __call__(self, model: object) -> str:
        return "x" * 30_000


def _texts() -> Texts:
    return Texts("This movie", Strategy.of("top_p(p=0.9) | ancestral"), 50, TEXTS, 1, Endings())


def speed() -> Iterator[str]:
    """Texts a second of `corelm sample --output`, without the start of the workers."""
    model, texts = corelm.load(MODEL), _texts()
    for workers in WORKERS:
        of_units = Dependencies([texts.strategy.sampler])
        with Executor.of(workers).opened([model], of_units) as run:
            list(in_order(run, (Nothing(n) for n in range(4))))  # the workers load their models
            start = time.perf_counter()
            for _ in in_order(run, units_of(texts)):
                pass
            took = time.perf_counter() - start
        yield f"{workers or 'no'} workers: {TEXTS / took:.0f} texts of 50 tokens a second"


def unit() -> Iterator[str]:
    """Processor time of a batch of texts on one thread, and the size of its result."""
    model, texts = corelm.load(MODEL), _texts()
    first, *rest = [each for each, _ in zip(units_of(texts), range(4), strict=False)]
    first(model)
    start = time.process_time()
    sizes = [len(json.dumps(each(model))) for each in rest]
    took = (time.process_time() - start) / len(rest)
    yield f"64 texts of 50 tokens: {took:.2f} s of a processor, {max(sizes) / 1000:.0f} kB"


def overhead() -> Iterator[str]:
    """Processor time of the command for a unit that does nothing, with one worker."""
    model = corelm.load(MODEL)
    for workers in (None, 1):
        with Executor.of(workers).opened([model], Dependencies([])) as run:
            list(run(iter([Nothing(-1)]), 0))
            start = time.process_time()
            for _ in run(iter([Nothing(n) for n in range(UNITS)]), 0):
                pass
            took = time.process_time() - start
        cost = 1000 * took / UNITS
        yield f"{workers or 'no'} workers: {cost:.2f} ms of a processor for a unit, in the command"


def record() -> Iterator[str]:
    """Memory of the record of a text that a report shows, and of one that it does not show."""
    texts = Texts("This movie", Strategy.of("top_p(p=0.9)"), 50, 128, 1, Endings())
    unit = DrawTexts(0, 1, ((texts, range(64, 128)),))
    result = json.dumps(unit(corelm.load(MODEL)))
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    records = json.loads(result)["value"]
    whole = tracemalloc.get_traced_memory()[0]
    short = list(map(without_details, records))
    del records
    kept = tracemalloc.get_traced_memory()[0]
    for took in (whole - before, kept - before):
        yield f"a text of 50 tokens: {took / len(short) / 1000:.1f} kB"


def figures() -> Iterator[str]:
    """Seconds of a processor for the figures of the texts of one sampler."""
    model, most = corelm.load(MODEL), max(FIGURES)
    run = Texts("This movie", Strategy.of("top_p(p=0.9)"), 20, most, 1, Endings())
    texts = draw(model, run, range(most))
    for count in FIGURES:
        start = time.process_time()
        TextSet(texts[:count]).summary()
        took = time.process_time() - start
        yield f"figures of {count} texts of 20 tokens: {took:.1f} s of a processor"


def memory() -> Iterator[str]:
    """Peak memory of a report of four samplers against the texts of each."""
    for count in COUNTS:
        words = ["greedy", "temperature", "top_p(p=0.9)", "min_p(p=0.05)", "-n", str(count)]
        peak, took = _run("report", *words, "--length", "20", "--json", "r.json")
        yield f"report of {4 * count} texts of 20 tokens: {peak:.0f} MiB, {took:.0f} s"
    for count in COUNTS:
        peak, took = _run("sample", "-n", str(4 * count), "--length", "20", "--output", "t.jsonl")
        yield f"sample of {4 * count} texts of 20 tokens: {peak:.0f} MiB, {took:.0f} s"


def _run(*words: str) -> tuple[float, float]:
    """Run a command line; return its peak memory in MiB, and its seconds."""
    code = (
        "import resource, sys; from corelm.cli.app import main; code = main(sys.argv[1:]); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr); sys.exit(code)"
    )
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", code, *words, "--seed", "1"],
            cwd=Path(folder), capture_output=True, text=True, check=True,
        )  # fmt: skip
    return int(done.stderr.splitlines()[-1]) / 1024, time.perf_counter() - start


def vocabulary() -> Iterator[str]:
    """Peak memory of a report of three samplers against the vocabulary; a process for each."""
    for size in VOCABULARIES:
        done = subprocess.run(
            [sys.executable, __file__, "one-vocabulary", str(size)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        yield done.stdout.rstrip()


def one_vocabulary(size: int) -> str:
    """Make the report on one vocabulary in this process."""
    logits = np.random.default_rng(0).normal(0, 3, size)
    model = ToyModel([f"w{n}" for n in range(size - 3)], logits)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    start = time.perf_counter()
    corelm.compare(
        model, ["greedy", "top_p(p=0.9)", "temperature(t=0.7)"], prompts="w1", n=64, length=4
    )
    took = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return f"vocabulary of {size}: {peak - before:.0f} MiB for the report, {took:.0f} s"


def main() -> None:
    what = sys.argv[1] if len(sys.argv) > 1 else ""
    if what == "one-vocabulary":
        print(one_vocabulary(int(sys.argv[2])))
        return
    every = (speed, unit, overhead, record, figures, memory, vocabulary)
    programs = {each.__name__: each for each in every}
    if what not in programs:
        sys.exit(__doc__)
    print(machine.facts()["processor"], machine.facts()["cores"], "cores")
    for line in programs[what]():
        print(line, flush=True)


if __name__ == "__main__":
    main()
