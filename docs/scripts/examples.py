"""Run the examples of the pages, and compare what they print with what the pages show.

    python docs/scripts/examples.py                       write what they print into the pages
    python docs/scripts/examples.py --check               fail where a page shows something else
    python docs/scripts/examples.py --check README.md     the same for some pages
    python docs/scripts/examples.py --script README.md    print the blocks as one shell script

The examples of a page run from top to bottom in one empty folder:

- a block of `python`: the blocks of a page share one session;
- a block of `bash`: commands to copy. They share one shell's current folder;
- a block of `text` right below either of them is its output;
- a block of `console`: lines that begin with `$` are commands, the others their output;
- a block with `title="NAME"` is a file, written before the blocks below it run.

A command may fail only where the page shows a line that begins with `error:`. In an output, `...`
matches any text. The lines of a report's progress are left out.

Comments above a block change this:

- `<!-- not run: REASON -->` leaves it out;
- `<!-- source: PATH -->` fills it with a file of the repository;
- `<!-- source: PATH NAME -->` fills it with one class or function of that file;
- `<!-- output: PATH: COMMAND -->` above `bash` does not run it: its output is the one that another
  page shows below that command. Lines about files written may differ.

A page with `<!-- needs: MODULE $COMMAND ... -->` is left out where one of these is not installed.
Right above a block the comment leaves out this block alone, and it is in no shell script.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import unified_diff
from importlib.metadata import distributions
from itertools import zip_longest
from pathlib import Path

from example_session import Session, environment

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"(?P<indent> *)```(?P<language>\w*)(?P<options>[^`]*)")
TITLE = re.compile(r'title="([^"]+)"')
NOT_RUN = re.compile(r"<!-- not run: .+ -->")
SOURCE = re.compile(r"<!-- source: (?P<path>\S+)(?: (?P<name>\w+))? -->")
OUTPUT = re.compile(r"<!-- output: (?P<path>[^:\s]+): (?P<command>.+) -->")
WRITTEN = "written to "
NEEDS = re.compile(r"^<!-- needs: (.+) -->$", re.MULTILINE)
PAGE_NEEDS = re.compile(rf"{NEEDS.pattern}(?!\n *```)", re.MULTILINE)
ANYTHING = "..."
IN_A_CLONE = ("<!-- main job -->", "<!-- tests -->")


@dataclass
class Block:
    """A fenced block.

    Attributes:
        language: the word after the fence, such as `python`.
        title: the name of the file that the block holds; empty for other blocks.
        first: the index of the opening fence among the lines of the page.
        last: the index of the closing fence.
        lines: the lines between the fences, without the indentation of the fence.
        indent: the indentation of the fence.
        follows: there is nothing but empty lines between the block above and this one.
        source: the part of the repository that the block shows; None for other blocks.
        elsewhere: the page and the command whose output the block has; None if it is run.
    """

    language: str
    title: str
    first: int
    last: int
    lines: list[str]
    indent: str
    follows: bool
    source: re.Match[str] | None
    elsewhere: re.Match[str] | None

    @property
    def text(self) -> str:
        """The current content: the source's, if there is a source."""
        return "\n".join(self.lines) if self.source is None else _source(self.source)


def _source(match: re.Match[str]) -> str:
    """Return a file, or one class or function of it."""
    text = (ROOT / match["path"]).read_text("utf-8").rstrip("\n")
    if match["name"] is None:
        return text
    node = next(n for n in ast.parse(text).body if getattr(n, "name", "") == match["name"])
    return "\n".join(text.split("\n")[node.lineno - 1 : node.end_lineno])


def pages() -> list[Path]:
    """Return every page that may have examples."""
    plugins = ROOT.glob("plugins/*/README.md")
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted(plugins)]


def missing(page: Path) -> list[str]:
    """Return the modules and commands that a page needs and that are not installed.

    The page of a plugin needs the plugin.
    """
    plugin = [page.parent.name] if page.parent.parent.name == "plugins" else []
    absent = [name for name in plugin if not any(distributions(name=name))]
    return [*absent, *_missing(PAGE_NEEDS.findall(page.read_text("utf-8")))]


def _missing(needs: Sequence[str]) -> list[str]:
    return [name for name in " ".join(needs).split() if not _is_installed(name)]


def _is_installed(name: str) -> bool:
    if name.startswith("$"):
        return shutil.which(name[1:], path=environment(ROOT)["PATH"]) is not None
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # the package of a module
        return False


def blocks(lines: Sequence[str]) -> Iterator[Block]:
    """Yield the blocks of a page, except blocks that are not run and their outputs."""
    number, above, left_out = 0, "", False
    while number < len(lines):
        fence = FENCE.fullmatch(lines[number])
        if fence is None:
            if lines[number].strip():
                above = lines[number].strip()
                # One comment may follow another.
                left_out = _leaves_out(above) or (left_out and above.startswith("<!--"))
            number += 1
            continue
        block = _block(lines, number, fence, above)
        if left_out and above == "```" and block.language != "text":
            left_out = False  # only the output of a block is left out with it
        if not left_out:
            yield block
        above = "```"
        number = block.last + 1


def with_outputs(lines: Sequence[str]) -> Iterator[tuple[Block, list[str]]]:
    """Yield each block of a page with the output right below it."""
    listed = list(blocks(lines))
    for block, below in zip_longest(listed, listed[1:]):
        yield block, below.lines if below and below.language == "text" and below.follows else []


def _leaves_out(comment: str) -> bool:
    """Return whether a comment leaves out the block below it."""
    return bool(NOT_RUN.match(comment)) or bool(_missing(NEEDS.findall(comment)))


def _block(lines: Sequence[str], first: int, fence: re.Match[str], above: str) -> Block:
    indent = fence["indent"]
    last = next(n for n in range(first + 1, len(lines)) if lines[n] == f"{indent}```")
    title = TITLE.search(fence["options"])
    inside = [line.removeprefix(indent) for line in lines[first + 1 : last]]
    return Block(
        language=fence["language"],
        title=title[1] if title else "",
        first=first,
        last=last,
        lines=inside,
        indent=indent,
        follows=above == "```",
        source=SOURCE.match(above),
        elsewhere=OUTPUT.match(above),
    )


def renewed(page: Path) -> list[str]:
    """Return the lines of a page with the current outputs and sources."""
    lines = page.read_text("utf-8").split("\n")
    changes: list[tuple[Block, list[str]]] = []
    with tempfile.TemporaryDirectory() as folder, Session(Path(folder)) as session:
        printed = ""
        for block, output in with_outputs(lines):
            if block.source is not None:
                changes.append((block, block.text.split("\n")))
            if block.title:
                _write(session.folder / block.title, block.text)
            elif block.source is not None:
                continue  # shown, not run
            elif block.language == "python":
                printed = session.python(block.text)
            elif block.language == "bash":
                printed = _printed(block, output, session)
            elif block.language == "console":
                changes.append((block, list(_run(block.lines, session))))
            elif block.language == "text" and block.follows:
                changes.append((block, agreed(block.lines, printed)))
    for block, inside in reversed(changes):
        lines[block.first + 1 : block.last] = [(block.indent + line).rstrip() for line in inside]
    return lines


def _printed(block: Block, expected: Sequence[str], session: Session) -> str:
    """Return what the commands of a block print, or what another page shows for them.

    Raises:
        AssertionError: a command failed, or the other page does not show it.
    """
    if (elsewhere := block.elsewhere) is None:
        return session.shell(f"set -e\n{block.text}", shows_error(expected))
    lines = (ROOT / elsewhere["path"]).read_text("utf-8").split("\n")
    outputs = {block.text: output for block, output in with_outputs(lines)}
    if not (output := outputs.get(elsewhere["command"])):
        raise AssertionError(f"{elsewhere['path']} does not show {elsewhere['command']!r}")
    stays = [line for line in output if not line.startswith(WRITTEN)]
    return "\n".join([*stays, *(line for line in expected if line.startswith(WRITTEN))])


def script(page: Path) -> str:
    """Return the blocks of a page in order as one shell script that stops at the first failure.

    Blocks that are not run for a reason are part of it: the reason is about the examples, and
    the script is for a fresh shell. Left out are blocks for a clone, blocks that
    need an engine, which is not installed there, and blocks whose output another page shows.
    """
    lines = [line for line in page.read_text("utf-8").split("\n") if not NOT_RUN.match(line)]
    parts = ["set -eu"]
    for block, output in with_outputs(lines):
        above = lines[block.first - 1]
        if above in IN_A_CLONE or NEEDS.match(above) or block.elsewhere:
            continue
        if block.title:
            parts.append(f"cat > {block.title} <<'END'\n{block.text}\nEND")
        elif block.language == "python":
            # The blocks of a page share one session, so each one runs after those before it.
            parts.append(f"cat >> .session.py <<'END'\n{block.text}\nEND\npython .session.py")
        elif block.language == "bash":
            parts.append(f"! {block.text}" if shows_error(output) else block.text)
        elif block.language == "console":
            for command, shown in _commands(block.lines):
                typed = "\n".join(command).removeprefix("$ ")
                parts.append(f"! {typed}" if shows_error(shown) else typed)
    return "\n".join(parts) + "\n"


def shows_error(output: Sequence[str]) -> bool:
    """Return True if an output on a page is from a command that fails."""
    return any(line.startswith("error:") for line in output)


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text + "\n", "utf-8")


def _run(lines: Sequence[str], session: Session) -> Iterator[str]:
    """Yield the commands of a console block, each followed by its output."""
    for command, output in _commands(lines):
        yield from command
        typed = "\n".join(command).removeprefix("$ ")
        yield from agreed(output, session.shell(typed, shows_error(output)))


def _commands(lines: Sequence[str]) -> Iterator[tuple[list[str], list[str]]]:
    """Yield each command, continuation lines included, and its output."""
    starts = [n for n, line in enumerate(lines) if line.startswith("$ ")]
    for start, end in zip_longest(starts, starts[1:], fillvalue=len(lines)):
        output = next(n for n in range(start, end) if not lines[n].endswith("\\")) + 1
        yield list(lines[start:output]), list(lines[output:end])


def agreed(expected: list[str], printed: str) -> list[str]:
    """Return the shown output where it matches the printed one, else the printed one."""
    now = printed.rstrip("\n").split("\n") if printed.strip() else []
    now = [line.rstrip() for line in now]
    pattern = ".*".join(map(re.escape, "\n".join(expected).split(ANYTHING)))
    return expected if re.fullmatch(pattern, "\n".join(now), re.DOTALL) else now


def differences(page: Path) -> list[str]:
    """Return a diff between a page (-) and what its examples print (+)."""
    old, new = page.read_text("utf-8").split("\n"), renewed(page)
    return list(unified_diff(old, new, str(page), "output of its examples", n=0, lineterm=""))


def main() -> int:
    """Run the command line."""
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--check", action="store_true", help="change nothing, fail instead")
    arguments.add_argument("--script", action="store_true", help="print a page as a shell script")
    arguments.add_argument("pages", nargs="*", type=Path, help="pages; all by default")
    options = arguments.parse_args()
    failed = False
    for page in options.pages or pages():
        if options.script:
            print(script(page))
        elif absent := missing(page):
            print(f"{page} is left out: {', '.join(absent)} not installed", file=sys.stderr)
        elif not options.check:
            page.write_text("\n".join(renewed(page)), "utf-8")
        elif lines := differences(page):
            failed = True
            print(*lines, sep="\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
