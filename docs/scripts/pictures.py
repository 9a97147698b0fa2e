"""Draw the pictures of terminals in docs/images from the output of commands.

    python docs/scripts/pictures.py            draw them
    python docs/scripts/pictures.py --check    fail if a picture is out of date

Needs a POSIX system: the commands run in a terminal of their own.
"""

from __future__ import annotations

import fcntl
import html
import io
import os
import pty
import re
import shlex
import struct
import subprocess
import sys
import termios
from pathlib import Path

from rich.console import Console
from rich.text import Text

IMAGES = Path(__file__).resolve().parents[1] / "images"
WIDTH = 88
FONTS = re.compile(r"@font-face \{.*?\}\n", re.DOTALL)
"""The fonts that a browser would load from the network."""

PICTURES = {
    "terminal": (
        "corelm sample --sampler temperature --t 0.2 --seed 1",
        "corelm sample --sampler temperature --t 0.7 --seed 1",
        "corelm sample --sampler temperature --t 1.5 --seed 1",
    ),
    "samplers": ("corelm samplers temperature",),
}


def printed(command: str) -> str:
    """Return the output of a command in a terminal, with its colours."""
    terminal, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 60, WIDTH, 0, 0))
    environment = os.environ | {"TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"}
    for name in ("NO_COLOR", "COLUMNS", "CORELM_PLUGINS"):
        environment.pop(name, None)
    words = [sys.executable, "-m", *shlex.split(command)]
    with subprocess.Popen(
        words, stdin=child, stdout=child, stderr=child, env=environment
    ) as process:
        os.close(child)
        output = b"".join(iter(lambda: _read(terminal), b""))
    os.close(terminal)
    if process.returncode:
        raise SystemExit(f"{command} failed:\n{output.decode()}")
    return output.decode().replace("\r\n", "\n")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # the other end is closed
        return b""


def picture(name: str) -> str:
    """Return a picture as SVG."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    for number, command in enumerate(PICTURES[name]):
        if number:
            console.print()
        console.print(Text.assemble(("$ ", "green"), (command, "bold")))
        console.print(Text.from_ansi(printed(command).rstrip("\n")))
    return FONTS.sub("", console.export_svg(title="corelm", unique_id=f"corelm-{name}"))


def words(svg: str) -> str:
    """Return the text of a picture, independent of the version of Rich."""
    pieces = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    return "".join(html.unescape("".join(pieces)).split())


def main() -> int:
    """Run the command line."""
    stale = []
    for name in PICTURES:
        path, now = IMAGES / f"{name}.svg", picture(name)
        if "--check" not in sys.argv:
            path.write_text(now, "utf-8")
        elif not path.exists() or words(path.read_text("utf-8")) != words(now):
            stale.append(path.name)
    if stale:
        print(f"{', '.join(stale)}: out of date; draw with: python docs/scripts/pictures.py")
    return int(bool(stale))


if __name__ == "__main__":
    sys.exit(main())
