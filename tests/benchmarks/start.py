"""Measure how long processes take from their start to their end, the command line's among them.

    python tests/benchmarks/start.py [--rounds 15] [--python OTHER/bin/python]

The processes take turns, and the least of each counts, so that others on the machine disturb
little: seconds by the clock, the processor's time of all threads, and the most memory. A ratio is
to `import numpy`. What is installed next to Python may slow the start down, so the figures of the
documentation are those of an environment with corelm alone: `--python` names its interpreter. Where
a module is missing, its process is left out.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from timing import head

IMPORT = "import numpy"
PROGRAMS = (IMPORT, "import typer, rich.console, numpy", "import tensorflow")
COMMANDS = (
    "--help",
    "samplers",
    "sample --sampler temperature --t 0.2 --length 50 --seed 1",
)


@dataclass
class Process:
    """A process and the least that its runs took; times in seconds, memory in bytes."""

    name: str
    words: Sequence[str]
    seconds: float = field(default=float("inf"), init=False)
    processor: float = field(default=float("inf"), init=False)
    memory: float = field(default=float("inf"), init=False)

    def run(self) -> bool:
        """Run it once; return False if it failed."""
        begun = time.perf_counter()
        process = subprocess.Popen(self.words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        self.seconds = min(self.seconds, time.perf_counter() - begun)
        self.processor = min(self.processor, used.ru_utime + used.ru_stime)
        self.memory = min(self.memory, 1024 * used.ru_maxrss)  # kilobytes on Linux
        return process.returncode == 0

    def row(self, one: Process) -> str:
        """Return a row of the table, with ratios to another process."""
        return (
            f"| `{self.name}` | {self.seconds:.3f} | {self.seconds / one.seconds:.2f} | "
            f"{self.processor:.3f} | {self.processor / one.processor:.2f} | "
            f"{self.memory / 2**20:.0f} MB |"
        )


def processes(python: Path) -> list[Process]:
    """Return the processes of an environment that run."""
    corelm = str(python.with_name("corelm"))
    every = [
        *(Process(f'python -c "{program}"', [str(python), "-c", program]) for program in PROGRAMS),
        *(Process(f"corelm {command}", [corelm, *command.split()]) for command in COMMANDS),
    ]
    return [process for process in every if process.run()]  # and once, so that files are cached


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--python", type=Path, default=Path(sys.executable))
    options = parser.parse_args()
    running = processes(options.python)
    for _ in range(options.rounds):
        for process in running:
            process.run()
    print(head(["process", "seconds", "x", "processor", "x", "memory"]))
    for process in running:
        print(process.row(running[0]))


if __name__ == "__main__":
    main()
