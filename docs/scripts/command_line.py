"""Write docs/reference/command-line.md: the help of every command, as `--help` prints it.

python docs/scripts/command_line.py            write the page
python docs/scripts/command_line.py --check    fail when the page is out of date
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "reference" / "command-line.md"
COMMAND = re.compile(r"^  ([a-z][\w-]*)(?:  |$)", re.MULTILINE)
OPENING = """\
# Command line

<!-- Made by docs/scripts/command_line.py; do not edit. -->

What `--help` prints, on a terminal of 80 columns. The options of `corelm sample` are those of
the sampler in the same line: `corelm sample --sampler temperature --help` shows `--t`.

Exit codes: 0 it worked; 1 it failed; 2 it was asked for in a way that cannot be; 3 it finished,
but part of it failed; 130 it was interrupted.
"""


def help_of(*words: str) -> str:
    """What a command prints for `--help`."""
    plain = os.environ | {"COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"}
    plain |= {"PYTHONIOENCODING": "utf-8", "CORELM_PLUGINS": ""}
    command = [sys.executable, "-m", "corelm", *words, "--help"]
    done = subprocess.run(command, env=plain, capture_output=True, encoding="utf-8", check=True)
    return "\n".join(line.rstrip() for line in done.stdout.strip("\n").split("\n"))


def commands(words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every command below the given one, and its help."""
    text = help_of(*words)
    yield words, text
    _, _, listed = text.partition("\nCommands:\n")
    for name in COMMAND.findall(listed):
        yield from commands((*words, name))


def page() -> str:
    """The page as it should be."""
    parts = [OPENING]
    for words, text in commands():
        title = " ".join(("corelm", *words))
        parts.append(f"## `{title}`\n\n```text\n{text}\n```\n")
    return "\n".join(parts)


def main() -> int:
    """The command line."""
    if "--check" not in sys.argv:
        PAGE.write_text(page(), "utf-8")
        return 0
    if PAGE.read_text("utf-8") == page():
        return 0
    print(f"{PAGE.name} is out of date; write it again with: python docs/scripts/command_line.py")
    return 1


if __name__ == "__main__":
    sys.exit(main())
