"""Measure what `corelm train` makes of little text: which weights it keeps, and how they write.

    python tests/benchmarks/own_text.py [--lines 50 200 2000] [--presets small default ...]

The text comes from a small grammar, so there is as much as one likes, and its perplexity is known
to be low: about 3 for a word. Each training has the batch that corelm chooses, as many epochs as
`--patience` allows, and short rows. The table has the held-out perplexity of the model in the file
next to the best and the last epoch's, and the number of different texts that greedy, temperature
and uniform write.
"""

from __future__ import annotations

import argparse
import os
import random
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from corelm_train.progress import Reporter
from corelm_train.run import train
from corelm_train.settings import PRESETS, TrainingSettings

import corelm
from corelm.models.bundle import Bundle

PEOPLE = ("the cat", "my sister", "an old man", "the queen", "our teacher", "a small bird")
VERBS = ("saw", "found", "painted", "lost", "sold", "carried", "hid", "loved")
THINGS = ("a red boat", "the key", "three apples", "a letter", "a golden ring", "the lamp")
PLACES = ("in the garden", "by the river", "under the bridge", "at the market", "on the hill")
ENDS = ("and went home", "and sang", "because it rained", "before the sun rose")

STRATEGIES = ("greedy", "temperature(t=0.7)", "uniform")
"""Their texts must differ: a model that knows one sentence writes it with each of them."""


@dataclass(frozen=True)
class Result:
    """One training.

    Attributes:
        lines: lines of text.
        preset: the network.
        batch: rows in a step.
        epochs: epochs until training stopped.
        kept_epoch: the epoch whose weights are in the file.
        kept, best, last: held-out perplexities of the file, the best epoch and the last one.
        texts: the text of each strategy.
        seconds: time of the training.
    """

    lines: int
    preset: str
    batch: int
    epochs: int
    kept_epoch: int
    kept: float
    best: float
    last: float
    texts: tuple[str, ...]
    seconds: float


class Perplexities(Reporter):
    """Keeps the held-out perplexity of each epoch."""

    def __init__(self) -> None:
        self.of_epochs: list[float] = []

    def measured(self, epoch: int, perplexity: float) -> None:
        self.of_epochs.append(perplexity)


def sentence(rng: random.Random) -> str:
    """Return one sentence of the grammar."""
    parts = [rng.choice(PEOPLE), rng.choice(VERBS), rng.choice(THINGS)]
    if rng.random() < 0.7:
        parts.append(rng.choice(PLACES))
    if rng.random() < 0.5:
        parts.append(rng.choice(ENDS))
    return " ".join(parts).capitalize() + "."


def write_text(path: Path, lines: int) -> Path:
    """Write this many sentences, one per line; a shorter text is the beginning of a longer one."""
    rng = random.Random(0)
    path.write_text("".join(sentence(rng) + "\n" for _ in range(lines)), encoding="utf-8")
    return path


def measure(folder: Path, lines: int, preset: str, epochs: int, patience: int) -> Result:
    """Train once, and let the model write."""
    settings = TrainingSettings(
        data=str(write_text(folder / "text.txt", lines)),
        out=folder / f"{preset}-{lines}",
        preset=preset,
        epochs=epochs,
        patience=patience,
        context_length=24,
        vocabulary_size=400,
        temperatures=(),
        precision="float32",
    )
    report = Perplexities()
    began = time.monotonic()
    path = train(settings, report)
    seconds = time.monotonic() - began
    manifest = Bundle.describe(path).manifest
    return Result(
        lines,
        preset,
        manifest["training"]["recipe"]["batch"],
        len(report.of_epochs),
        manifest["training"]["kept_epoch"],
        manifest["figures"]["held_out"]["perplexity"],
        min(report.of_epochs),
        report.of_epochs[-1],
        texts(path),
        seconds,
    )


def texts(path: Path) -> tuple[str, ...]:
    """Return a text of the model with each strategy, from one seed."""
    model = corelm.load(path)
    return tuple(
        corelm.generate(model, "The cat", sampler=strategy, length=12, seed=1)[0].text
        for strategy in STRATEGIES
    )


def row(result: Result) -> str:
    """Return a line of the table."""
    return (
        f"| {result.lines:,} | `{result.preset}` | {result.batch} | {result.epochs} "
        f"| {result.kept_epoch} | {result.kept:.2f} | {result.best:.2f} | {result.last:.2f} "
        f"| {len(set(result.texts))} of {len(STRATEGIES)} | {result.seconds:.0f} |"
    )


HEAD = """\
| lines | preset | batch | epochs | kept | kept perplexity | best | last | texts | seconds |
|---|---|---|---|---|---|---|---|---|---|"""


def main() -> None:
    """Train as the command line says, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lines", type=int, nargs="+", default=[50, 200, 2000])
    parser.add_argument("--presets", nargs="+", choices=PRESETS, default=list(PRESETS))
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--patience", type=int, default=5)
    options = parser.parse_args()
    print(HEAD, flush=True)
    for lines in options.lines:
        for preset in options.presets:
            with tempfile.TemporaryDirectory() as folder:
                result = measure(Path(folder), lines, preset, options.epochs, options.patience)
            print(row(result), flush=True)


if __name__ == "__main__":
    main()
