"""Run the examples of the pages, and see that they print what the pages say.

    python docs/scripts/examples.py                       write what they print into the pages
    python docs/scripts/examples.py --check               fail where a page says something else
    python docs/scripts/examples.py --check README.md     the same for some pages

The examples of a page run from top to bottom in one empty folder:

- a block of `python`: the blocks of a page are one session. A block of `text` right below it,
  if there is one, is what it prints;
- a block of `console`: lines that begin with `$` are commands, the others what they print. A
  command fails only where the page shows a line that begins with `error:`;
- a block with `title="NAME"` is a file, written before the blocks below it run.

In what is printed, `...` stands for anything.

`<!-- not run: the reason -->` above a block leaves it out. What a page includes with `--8<--`
is read as part of it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import unified_diff
from itertools import zip_longest
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"(?P<indent> *)```(?P<language>\w*)(?P<options>[^`]*)")
TITLE = re.compile(r'title="([^"]+)"')
INCLUDED = re.compile(r"--8<--\n(.+)\n--8<--")
NOT_RUN = re.compile(r"<!-- not run: .+ -->")
ANYTHING = "..."

SESSION = """
import contextlib, io, json, sys
for line in sys.stdin:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(json.loads(line), "the example", "exec"), globals())
    print(json.dumps(printed.getvalue()), flush=True)
"""


@dataclass
class Block:
    """A fenced block: where it stands in the lines of its page, and what it holds."""

    language: str
    title: str
    first: int
    last: int
    lines: list[str]
    indent: str
    follows: bool

    @property
    def text(self) -> str:
        """What it holds, with the files that it includes."""
        return INCLUDED.sub(_included, "\n".join(self.lines))


def _included(match: re.Match[str]) -> str:
    return (ROOT / match[1]).read_text("utf-8").rstrip("\n")


def pages() -> list[Path]:
    """Every page that has examples."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(lines: Sequence[str]) -> Iterator[Block]:
    """The blocks of a page that are not left out."""
    number, above, left_out = 0, "", False
    while number < len(lines):
        fence = FENCE.fullmatch(lines[number])
        if fence is None:
            if lines[number].strip():
                above, left_out = lines[number].strip(), bool(NOT_RUN.match(lines[number].strip()))
            number += 1
            continue
        block = _block(lines, number, fence, follows=above == "```" and not left_out)
        if not left_out:
            yield block
        above = "```"
        # What a block prints is left out with it.
        left_out = left_out and block.language != "text"
        number = block.last + 1


def _block(lines: Sequence[str], first: int, fence: re.Match[str], follows: bool) -> Block:
    indent = fence["indent"]
    last = next(n for n in range(first + 1, len(lines)) if lines[n] == f"{indent}```")
    title = TITLE.search(fence["options"])
    inside = [line.removeprefix(indent) for line in lines[first + 1 : last]]
    return Block(fence["language"], title[1] if title else "", first, last, inside, indent, follows)


class Session:
    """The empty folder, and the Python session, of one page."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "work"
        self.folder.mkdir()
        self._environment = _environment(folder)
        self._python = subprocess.Popen(
            [sys.executable, "-c", SESSION],
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._python.communicate()

    def python(self, code: str) -> str:
        """What a block of Python prints.

        Raises:
            AssertionError: it raised; holds the traceback.
        """
        assert self._python.stdin is not None
        assert self._python.stdout is not None
        self._python.stdin.write(json.dumps(code) + "\n")
        self._python.stdin.flush()
        answer = self._python.stdout.readline()
        if not answer:
            raise AssertionError(f"an example failed:\n{code}\n{self._python.communicate()[1]}")
        return str(json.loads(answer))

    def shell(self, command: str, may_fail: bool) -> str:
        """What a command prints, on both streams.

        Raises:
            AssertionError: it failed though it may not.
        """
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
        )
        if done.returncode and not may_fail:
            raise AssertionError(f"{command!r} ended with {done.returncode}:\n{done.stdout}")
        return done.stdout


def _environment(folder: Path) -> dict[str, str]:
    """A terminal of 80 columns without colours, and a pip that needs no network."""
    own = {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join(
            [str(folder / "installed"), os.environ.get("PYTHONPATH", "")]
        ),
        "PYTHONIOENCODING": "utf-8",
        "CORELM_HOME": str(folder / "home"),
        "COLUMNS": "80",
        "NO_COLOR": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "PIP_TARGET": str(folder / "installed"),
        "PIP_NO_INDEX": "1",
        "PIP_NO_DEPS": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # pip reads this as: no isolation
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_CACHE_DIR": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
    }
    return {k: v for k, v in os.environ.items() if not k.startswith("CORELM_")} | own


def renewed(page: Path) -> list[str]:
    """The lines of a page with what its examples print now."""
    lines = page.read_text("utf-8").split("\n")
    changes: list[tuple[Block, list[str]]] = []
    with tempfile.TemporaryDirectory() as folder, Session(Path(folder)) as session:
        printed = ""
        for block in blocks(lines):
            if block.title:
                _write(session.folder / block.title, block.text)
            elif block.language == "python":
                printed = session.python(block.text)
            elif block.language == "console":
                changes.append((block, list(_run(block.lines, session))))
            elif block.language == "text" and block.follows:
                changes.append((block, agreed(block.lines, printed)))
    for block, inside in reversed(changes):
        lines[block.first + 1 : block.last] = [(block.indent + line).rstrip() for line in inside]
    return lines


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text + "\n", "utf-8")


def _run(lines: Sequence[str], session: Session) -> Iterator[str]:
    """The commands of a console block, each followed by what it prints."""
    for command, said in _commands(lines):
        yield from command
        typed = "\n".join(command).removeprefix("$ ")
        may_fail = any(line.startswith("error:") for line in said)
        yield from agreed(said, session.shell(typed, may_fail))


def _commands(lines: Sequence[str]) -> Iterator[tuple[list[str], list[str]]]:
    """Each command, with the lines that it goes on in after a backslash, and what it prints."""
    starts = [n for n, line in enumerate(lines) if line.startswith("$ ")]
    for start, end in zip_longest(starts, starts[1:], fillvalue=len(lines)):
        said = next(n for n in range(start, end) if not lines[n].endswith("\\")) + 1
        yield list(lines[start:said]), list(lines[said:end])


def agreed(said: list[str], printed: str) -> list[str]:
    """What the page says where that is what was printed; else what was printed."""
    now = printed.rstrip("\n").split("\n") if printed.strip() else []
    now = [line.rstrip() for line in now]
    pattern = ".*".join(map(re.escape, "\n".join(said).split(ANYTHING)))
    return said if re.fullmatch(pattern, "\n".join(now), re.DOTALL) else now


def differences(page: Path) -> list[str]:
    """Where a page says something else than its examples print: - what it says, + what is so."""
    said, now = page.read_text("utf-8").split("\n"), renewed(page)
    return list(unified_diff(said, now, str(page), "what its examples print", n=0, lineterm=""))


def main() -> int:
    """The command line."""
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--check", action="store_true", help="change nothing, fail instead")
    arguments.add_argument("pages", nargs="*", type=Path, help="pages; all when left out")
    given = arguments.parse_args()
    failed = False
    for page in given.pages or pages():
        if not given.check:
            page.write_text("\n".join(renewed(page)), "utf-8")
        elif found := differences(page):
            failed = True
            print(*found, sep="\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
