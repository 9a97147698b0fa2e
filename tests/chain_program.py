"""A program in C, or for WebAssembly, that draws with chains: `tests/native/chain.c`."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "corelm" / "native" / "src"
DRIVER = ROOT / "tests" / "native" / "chain.c"
STRICT = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off"]


class Case(NamedTuple):
    """A chain as text, float32 rows, the seed of their random numbers, and the text so far."""

    text: bytes
    logits: np.ndarray
    seed: int
    tokens: np.ndarray = np.empty(0, dtype=np.int64)
    prompt: int = 0


class Answer(NamedTuple):
    """What the library returns for a chain and rows; only `error` where it refuses the text."""

    error: str
    valid: bool = False
    tokens: bytes = b""
    surprisals: bytes = b""
    entropies: bytes = b""
    logits: bytes = b""


def c_compiler() -> list[str] | None:
    """The command of a compiler that knows the vectors of GCC; None if there is none."""
    commands = [os.environ.get("CC", "").split(), ["gcc"], ["clang"]]
    return next((each for each in commands if each and shutil.which(each[0])), None)


def compiled(command: Sequence[str], program: Path, *options: str) -> Path:
    """Compile the library and the driver into a program."""
    sources = [*SOURCES.glob("*.c"), *SOURCES.glob("simd/*.c"), DRIVER]
    subprocess.run(
        [*command, *STRICT, *options, f"-I{SOURCES}", *map(str, sources), "-lm", "-o", program],
        check=True,
        timeout=300,
    )
    return program


def answers(program: Sequence[str | Path], cases: Sequence[Case]) -> list[Answer]:
    """Run the program on cases."""
    sent = b"".join(
        struct.pack("<6I", len(text), *logits.shape, seed, prompt, len(tokens) - prompt)
        + b"".join((text, logits.tobytes(), tokens.tobytes()))
        for text, logits, seed, tokens, prompt in cases
    )
    done = subprocess.run(program, input=sent, capture_output=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]
    found, at = [], 0
    for case in cases:
        kind, rest = done.stdout[at], done.stdout[at + 1 :]
        rows, size = len(case.logits), case.logits.nbytes
        lengths = [200] if kind == 0 else [8 * rows, 8 * rows, 8 * rows, size]
        ends = np.cumsum(lengths).tolist()
        parts = [rest[end - length : end] for end, length in zip(ends, lengths, strict=True)]
        found.append(
            Answer("", kind == 1, *parts) if kind else Answer(parts[0].split(b"\0")[0].decode())
        )
        at += 1 + ends[-1]
    assert at == len(done.stdout)
    return found
