"""A peer in its own process, so that its threads disturb no other peer."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TextIO


@dataclass(frozen=True)
class PeerSpec:
    """A program that takes part in the comparison.

    Attributes:
        name: its name in the table.
        module: the file in this folder.
        arguments: the arguments of its function `peer`.
        packages: the required packages: for each, its import name and its distribution name.
        batches: the batch sizes that it supports; all by default.
        tolerance: the largest allowed difference of its logits from corelm's.
    """

    name: str
    module: str
    arguments: tuple[str, ...] = ()
    packages: tuple[tuple[str, str], ...] = ()
    batches: tuple[int, ...] = ()
    tolerance: float = 1e-3

    @property
    def missing(self) -> list[str]:
        """The packages that are not installed."""
        return [name for module, name in self.packages if importlib.util.find_spec(module) is None]

    def writes(self, batch: int) -> bool:
        return not self.batches or batch in self.batches


class Process:
    """A client of `peer.Answers` in another process."""

    def __init__(self, invited: PeerSpec, running: subprocess.Popen[str], errors: TextIO) -> None:
        self.invited = invited
        self._running, self._errors = running, errors
        self._answer()  # that it is ready

    def ask(self, what: str, **arguments: Any) -> Any:
        """What it answers.

        Raises:
            SystemExit: it failed; holds what it wrote to standard error.
        """
        with suppress(BrokenPipeError):
            self._running.stdin.write(json.dumps([what, arguments]) + "\n")
            self._running.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        answer = self._running.stdout.readline()
        if not answer:
            self._running.wait()
            self._errors.seek(0)
            raise SystemExit(f"{self.invited.name} failed:\n{self._errors.read()[-4000:]}")
        return json.loads(answer)


@contextmanager
def process(script: str, invited: PeerSpec) -> Iterator[Process]:
    """Run a peer.

    Args:
        script: a file that serves a peer when it is given `--serve MODULE ARGUMENT...`.
        invited: who.
    """
    command = [sys.executable, script, "--serve", invited.module, *invited.arguments]
    pipe = subprocess.PIPE
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors,
        subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=errors, encoding="utf-8"
        ) as running,
    ):
        yield Process(invited, running, errors)
