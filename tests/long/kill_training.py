"""Kill `corelm train` at random moments, resume it, and compare with an uninterrupted run.

    python tests/long/kill_training.py --kills 50
    python tests/long/kill_training.py --kills 25 --presets rnn,gpt2

Each run is a process of its own, ended by SIGKILL: at its start, in a step, while it writes a
checkpoint, measures after an epoch or writes the model. It is resumed and killed again as often as
planned, then resumed to its end. The weights, the optimizer's state and the model's files must be
equal to an uninterrupted run's, bit for bit, and no other file may be left.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import os
import random
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MOMENTS = {
    b"s": "start",
    b"t": "in a step",
    b"c": "in a checkpoint",
    b"v": "in validation",
    b"m": "in the saving",
}
"""The work of a process when it was killed, by the mark that it writes to its pipe."""

PRESETS, PRECISIONS = "book,default,rnn,gpt2", ("float32", "mixed_bfloat16")
EPOCHS, ROWS, BATCH = 3, 40, 8
DIGEST = "digest"


def write_texts(folder: Path) -> Path:
    """Write a small corpus of one file."""
    rng, words = random.Random(1), ["the", "cat", "sat", "on", "a", "mat"]
    path = folder / "texts.txt"
    path.write_text("\n\n".join(" ".join(rng.choices(words, k=20)) for _ in range(ROWS)))
    return path


def command(texts: Path, out: Path, preset: str, precision: str) -> list[str]:
    """Return the words of `corelm train` for one small run."""
    size = {"gpt2": "270"}.get(preset, "20")
    return [
        *("train", "--data", str(texts), "--out", str(out), "--preset", preset),
        *("--precision", precision, "--epochs", str(EPOCHS), "--context-length", "8"),
        *("--vocabulary-size", size, "--batch", str(BATCH), "--checkpoint-steps", "2"),
        *("--temperatures", "1", "--length", "3", "--prompt", "the cat"),
    ]


# In the process that is killed.


def mark_moments(pipe: int, digest: Path) -> None:
    """Let the training of this process write a mark to a pipe whenever its moment changes."""
    from corelm_train import callbacks, checkpoint, run

    from corelm.bundles import Bundle

    def mark(letter: bytes) -> None:
        os.write(pipe, letter)

    def around(owner: Any, name: str, before: bytes, after: bytes | None = None) -> None:
        method = getattr(owner, name)

        @functools.wraps(method)
        def marked(*arguments: Any, **named: Any) -> Any:
            mark(before)
            result = method(*arguments, **named)
            if after is not None:
                mark(after)
            return result

        setattr(owner, name, marked)

    events = callbacks.ProgressAndCheckpoints
    events.on_train_batch_begin = lambda self, batch, logs=None: mark(b"t")
    around(checkpoint.Checkpoint, "save", b"c", b"t")
    around(run.TrainingRun, "perplexity", b"v")
    around(run.TrainingRun, "finish", b"v")
    around(Bundle, "write", b"m")
    finish = run.TrainingRun.finish

    def finish_with_digest(self: Any) -> Any:
        digest.write_text(checkpoint._digest(v.numpy() for v in self._variables()))
        return finish(self)

    run.TrainingRun.finish = finish_with_digest


def child(pipe: int, digest: Path, words: Sequence[str]) -> int:
    """Train in this process, with marks."""
    os.write(pipe, b"s")
    from corelm_train.keras_import import import_keras

    from corelm.cli.app import main

    import_keras("training")
    mark_moments(pipe, digest)
    return main(words)


# In the process that kills.


@dataclass
class Marked:
    """A process in training, and the marks that it wrote so far.

    Attributes:
        marks: a mark and the seconds of its arrival, in order.
    """

    process: subprocess.Popen[bytes]
    pipe: int
    marks: list[tuple[bytes, float]] = field(default_factory=list)

    def read(self, timeout: float | None = None) -> bytes:
        """Return the next mark; empty at the end, or when the time is over."""
        if not select.select([self.pipe], [], [], timeout)[0]:
            return b""
        mark = os.read(self.pipe, 1)
        if mark:
            self.marks.append((mark, time.perf_counter()))
        return mark

    def end(self) -> int:
        """Read the rest, and return the exit code."""
        while self.read():
            pass
        os.close(self.pipe)
        return self.process.wait()


def start(words: Sequence[str], folder: Path) -> Marked:
    """Start a training."""
    reader, writer = os.pipe()
    own = [sys.executable, __file__, "--child", str(writer), str(folder / DIGEST), *words]
    with open(folder / "log", "ab") as log:
        process = subprocess.Popen(own, stdout=log, stderr=log, pass_fds=[writer])
    os.close(writer)
    return Marked(process, reader)


def kill_at(words: Sequence[str], folder: Path, moment: bytes, rng: random.Random) -> str | None:
    """Start a training, kill it in a moment, and return the moment in which it died.

    None is a training that ended before. The delay is drawn up to the time that the moment took
    once in the unbroken run, so that every part of it can be hit.
    """
    whole = rng.choice(SECONDS.get(moment, [0.01]))
    running, seen, wanted = start(words, folder), 0, rng.choice((1, 1, 2))
    while mark := running.read():
        seen += mark == moment
        if seen == (1 if moment in b"sm" else wanted):
            deadline = time.perf_counter() + rng.random() * whole
            while (left := deadline - time.perf_counter()) > 0 and running.read(left):
                pass
            running.process.send_signal(signal.SIGKILL)
            break
    code = running.end()
    if code == -signal.SIGKILL:
        return MOMENTS[running.marks[-1][0]]
    if code:
        raise SystemExit(f"the training failed:\n{(folder / 'log').read_text()}")
    return None


SECONDS: dict[bytes, list[float]] = {b"m": [0.1]}  # the end of the saving has no mark
"""The seconds that each moment took in unbroken runs, once for each time."""


def resuming(words: Sequence[str], out: Path) -> list[str]:
    """Return the command that continues, from the checkpoint if there is one."""
    kept = out.with_name(out.name + ".checkpoint").exists()
    return [*words, *(["--resume"] if kept else []), *(["--overwrite"] if out.exists() else [])]


def kill_and_resume(
    words: Sequence[str],
    out: Path,
    moments: Sequence[bytes],
    rng: random.Random,
    run: Callable[[Sequence[str]], None],
) -> list[str]:
    """Kill one training in these moments, resume it to its end, and return where it died."""
    died = []
    for moment in moments:
        where = kill_at(resuming(words, out), out.parent, moment, rng)
        if where is None:
            return died
        died.append(where)
        if out.exists() and not out.with_name(out.name + ".checkpoint").exists():
            return died  # killed after its last act
    run(resuming(words, out))
    return died


def result(out: Path) -> dict[str, str]:
    """Return the checksums of a trained model, and of the state that it was written from."""
    files = ("config.json", "model.safetensors", "vocabulary.txt")
    sums = {name: hashlib.sha256((out / name).read_bytes()).hexdigest() for name in files}
    return {**sums, DIGEST: (out.parent / DIGEST).read_text()}


def leftovers(out: Path) -> list[str]:
    """Return the names next to a trained model that do not belong there."""
    known = {out.name, f".{out.name}.lock", DIGEST, "log", "texts.txt"}
    return sorted({path.name for path in out.parent.iterdir()} - known)


def unbroken(words: Sequence[str], folder: Path) -> None:
    """Run a training to its end, and measure how long its moments take."""
    running = start(words, folder)
    if running.end():
        raise SystemExit(f"the training failed:\n{(folder / 'log').read_text()}")
    for (mark, begin), (_, end) in zip(running.marks, running.marks[1:], strict=False):
        SECONDS.setdefault(mark, []).append(end - begin)


def plans(
    presets: Sequence[str], kills: int, rng: random.Random
) -> Iterator[tuple[tuple[str, str], list[bytes]]]:
    """Share kills among the configurations: moments of training in any order, then the saving."""
    configurations = [(preset, precision) for preset in presets for precision in PRECISIONS]
    for i, configuration in enumerate(configurations):
        count = kills * (i + 1) // len(configurations) - kills * i // len(configurations)
        moments = [*b"stcvcm"]
        chosen = [bytes([m]) for m in (moments * -(-count // len(moments)))[:count]]
        rng.shuffle(chosen)
        yield configuration, sorted(chosen, key=lambda moment: moment == b"m")


def main() -> None:
    """Kill as often as the command line says, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--presets", default=PRESETS)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng, began = random.Random(options.seed), time.monotonic()
    print("| preset | precision | kills | killed | same weights |\n|---|---|---|---|---|")
    total, held = Counter[str](), 0
    for (preset, precision), moments in plans(options.presets.split(","), options.kills, rng):
        died, same, runs = [], 0, 0
        with tempfile.TemporaryDirectory() as scratch:
            whole = Path(scratch, "whole", "model")
            whole.parent.mkdir()
            words = command(write_texts(whole.parent), whole, preset, precision)
            unbroken(words, whole.parent)
            expected = result(whole)
            while len(died) < len(moments):
                runs += 1
                folder = Path(scratch, f"broken-{runs}")
                folder.mkdir()
                broken = command(write_texts(folder), folder / "model", preset, precision)
                where = kill_and_resume(
                    broken, folder / "model", moments[len(died) :], rng,
                    functools.partial(unbroken, folder=folder),
                )  # fmt: skip
                died += where
                if result(folder / "model") == expected and not leftovers(folder / "model"):
                    same += len(where)
        total.update(died)
        held += same
        row = ", ".join(f"{count} {name}" for name, count in sorted(Counter(died).items()))
        print(f"| {preset} | {precision} | {len(died)} | {row} | {same} |", flush=True)
    row = ", ".join(f"{total[name]} {name}" for name in MOMENTS.values())
    print(f"| all | | {sum(total.values())} | {row} | {held} |")
    print(f"{time.monotonic() - began:.0f} s", file=sys.stderr)
    sys.exit(held != sum(total.values()))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        sys.exit(child(int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:]))
    main()
