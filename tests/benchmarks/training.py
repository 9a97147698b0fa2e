"""Measure how fast `default` learns what `book` has learned after an epoch of the chapter's recipe.

    corelm data imdb
    python tests/benchmarks/training.py [--data aclImdb] [--results training.json]

Both learn from the same tokens: the first 101 words of each training review, in one vocabulary.
`book` sees each review as one row that is cut or padded, in float32, with rmsprop and batches of
256. `default` sees them packed, by its own recipe, in the precision that is faster on this machine;
its schedule of learning rates covers `--default-steps` steps. Both are measured by the perplexity
of words 2 to 100 of the same 1,000 test reviews.

The clock runs while Keras's `fit` does and stands still for each measurement. Processor seconds
include all threads; other work on the machine changes them little. Every measurement goes to
`--results`, with a checkpoint next to it; the same command continues from there.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
from corelm_report.human_baseline import Scores
from corelm_train.material import Material, TokenRows, opening_rows, packed_rows
from corelm_train.progress import Reporter
from corelm_train.run import Run
from corelm_train.settings import PRESETS, TrainingSettings, choose_precision

from corelm import machine
from corelm.models.bundle import Bundle
from corelm.models.networks.base import Architecture
from corelm.models.word_vocabulary import WordVocabulary

WORDS = 101
"""Of each review: what `book` reads in one row, inputs and targets."""
HELD_OUT = 1000
GOAL = 6
SIZE = PRESETS["book"].architecture.vocabulary_size
PEERS: dict[str, dict[str, Any]] = {
    "book": {"precision": "float32", "vocabulary_size": SIZE},
    "default": {"precision": "auto", "vocabulary_size": SIZE + 1},  # plus the end token
}


@dataclass(frozen=True)
class Point:
    """A measurement after a number of steps."""

    step: int
    seconds: float
    processor_seconds: float
    perplexity: float


class Clock:
    """Seconds and processor seconds, as long as it is not held."""

    def __init__(self, seconds: float = 0.0, processor_seconds: float = 0.0) -> None:
        self.readings = np.array([seconds, processor_seconds])
        self._started = self._now()

    @staticmethod
    def _now() -> Any:
        return np.array([time.perf_counter(), time.process_time()])

    @contextmanager
    def held(self) -> Iterator[None]:
        """What happens in this block takes no time."""
        self.readings += self._now() - self._started
        yield
        self._started = self._now()


class OfBeginnings(Run):
    """A run that learns from the beginnings of the reviews, for a number of steps."""

    def __init__(self, limit: int | None, *arguments: Any) -> None:
        self.limit = limit
        super().__init__(*arguments)

    def end_epoch(self, loss: float | None) -> None:
        """Leave measuring to the reporter, which does it while the clock stands still."""

    def _material(self, architecture: Architecture, start: Bundle | None) -> Material:
        material = super()._material(architecture, start)
        rows, vocabulary = material.rows, material.vocabulary
        if self.recipe.packed:
            beginnings = Beginnings(vocabulary.words, vocabulary.style)
            rows = packed_rows(material.corpus.train, beginnings, architecture.context_length)
        return replace(material, rows=self._drawn(rows))

    def _drawn(self, rows: TokenRows) -> TokenRows:
        """As many rows as there are steps for, so that the schedule ends with them."""
        count = len(rows) if self.limit is None else min(self.limit * self.recipe.batch, len(rows))
        return rows[np.random.default_rng(0).permutation(len(rows))[:count]]


class Beginnings(WordVocabulary):
    """A vocabulary that reads no further than the words that both networks learn from."""

    def encode(self, text: str) -> list[int]:
        return super().encode(text)[:WORDS]


class Measuring(Reporter):
    """Measures a run as it goes, and stops it where it has come as far as it should."""

    def __init__(self, options: argparse.Namespace, results: Results) -> None:
        self.options, self.results = options, results
        self.run: Run
        self.clock = Clock()
        self.rows: TokenRows

    def begin(self, run: Run) -> None:
        """Take up a run from its checkpoint, if there is one, and start the clock."""
        self.run = run
        run.begin(resume=run.checkpoint.path.exists())
        self.results.keep(run.steps_done)
        chosen = np.random.default_rng(0).permutation(len(run.corpus.held_out))[:HELD_OUT]
        texts = [run.corpus.held_out[i] for i in chosen]
        self.rows = opening_rows(texts, run.vocabulary, run.architecture.context_length)
        points = self.results.points
        self.clock = Clock(points[-1].seconds, points[-1].processor_seconds) if points else Clock()

    def step(self, done: int, total: int, loss: float) -> None:
        last = done in (total, self.options.limit_steps)
        if last or done % self.options.every == 0:
            with self.clock.held():
                perplexity = self._measure(done)
                enough = self.options.target is not None and perplexity <= self.options.target
                self.run.network.stop_training = last or enough

    def _measure(self, step: int) -> float:
        perplexity = common_perplexity(self.run.scorer(self.rows), self.run.vocabulary)
        self.run.save()
        self.results.add(Point(step, *self.clock.readings.tolist(), perplexity))
        return perplexity


def common_perplexity(scores: Scores, vocabulary: WordVocabulary) -> float:
    """Of the words that are targets of both networks.

    With an end token before it, the first word is a target too; the last one then is not.
    """
    common = slice(1, None) if vocabulary.start is not None else slice(None, -1)
    surprisal = scores.surprisal[:, common][scores.real[:, common]]
    return float(np.exp(surprisal.mean(dtype=np.float64)))


class Results:
    """The measurements of one peer, in a file that both peers share."""

    def __init__(self, path: Path, peer: str) -> None:
        self.path, self.peer = path, peer
        self.points = points(path, peer)

    def keep(self, step: int) -> None:
        """Drop the results after the step at which a checkpoint resumes."""
        self.points = [point for point in self.points if point.step <= step]

    def add(self, point: Point) -> None:
        """Append a point, write them all, and say so."""
        self.points.append(point)
        document = {**read(self.path), self.peer: [asdict(p) for p in self.points]}
        self.path.write_text(json.dumps(document, indent=1), encoding="utf-8")
        print(self.peer, json.dumps(asdict(point)), file=sys.stderr, flush=True)


def read(path: Path) -> dict[str, Any]:
    """Return the contents of the file of results, if there is one."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def points(path: Path, peer: str) -> list[Point]:
    """The points of a peer so far."""
    return [Point(**point) for point in read(path).get(peer, [])]


def learn(peer: str, options: argparse.Namespace) -> None:
    """Train one peer in this process."""
    settings = TrainingSettings(
        data=str(options.data),
        out=options.results.with_name(f"{options.results.stem}-{peer}"),
        preset=peer,
        epochs=options.book_epochs if peer == "book" else 1,
        temperatures=(),
        tokens="words",
        batch=PRESETS[peer].recipe.batch,
        checkpoint_steps=sys.maxsize,  # they are kept while the clock stands still
        **PEERS[peer],
    )
    keras.utils.set_random_seed(settings.seed)
    keras.config.set_dtype_policy(choose_precision(settings.precision))
    measuring = Measuring(options, Results(options.results, peer))
    limit = options.default_steps if peer == "default" else None
    run = OfBeginnings(limit, settings, *settings.resolve(), measuring)
    measuring.begin(run)
    run.fit()


def table(book: list[Point], default: list[Point]) -> str:
    """The points of both, and how much sooner `default` is where `book` ends."""
    lines = [
        "| | step | seconds | processor seconds | held-out perplexity |",
        "|---|---|---|---|---|",
    ]
    for peer, reached in (("book", book), ("default", default)):
        lines += [
            f"| `{peer}` | {p.step} | {p.seconds:,.0f} | {p.processor_seconds:,.0f} "
            f"| {p.perplexity:,.1f} |"
            for p in reached
        ]
    return "\n".join([*lines, "", verdict(book[-1], default)])


def verdict(target: Point, default: list[Point]) -> str:
    """One sentence."""
    there = next((p for p in default if p.perplexity <= target.perplexity), None)
    if there is None:
        return f"`default` has not reached {target.perplexity:.1f}; try another --default-steps."
    return (
        f"`default` reaches the {target.perplexity:.1f} of `book` "
        f"{target.seconds / there.seconds:.1f} times sooner, with "
        f"{target.processor_seconds / there.processor_seconds:.1f} times less of the processor "
        f"(goal: {GOAL})."
    )


def place() -> str:
    """What it ran on."""
    here = machine.facts()
    return (
        f"{here['processor']}, {here['cores']} cores, "
        f"Keras {keras.__version__}, TensorFlow {tf.__version__}"
    )


def read_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", default="imdb", help="the unpacked folder aclImdb; or corelm's own copy")
    add("--results", type=Path, default=Path("training.json"))
    add("--book-epochs", type=int, default=1)
    add("--default-steps", type=int, default=200, help="what the schedule of `default` is for")
    add("--every", type=int, default=25, help="steps between two measurements")
    add("--limit-steps", type=int, help="stop both after this many steps, for a quick look")
    add("--only", choices=PEERS, help=argparse.SUPPRESS)
    add("--target", type=float, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    options = read_options()
    if options.only:
        learn(options.only, options)
        return
    for peer in PEERS:
        book = points(options.results, "book")
        target = ["--target", str(book[-1].perplexity)] if peer == "default" else []
        command = [sys.executable, __file__, *sys.argv[1:], "--only", peer, *target]
        subprocess.run(command, check=True)  # a process each, so that neither warms up the other
    print(f"{place()}\n")
    print(table(*(points(options.results, peer) for peer in PEERS)))


if __name__ == "__main__":
    main()
