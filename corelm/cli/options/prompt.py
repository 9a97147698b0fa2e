"""Where a prompt comes from: the command line, standard input or a file."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from corelm.errors import UsageError

DEFAULT = "This movie"
STDIN = "-"


def read_prompt(given: str | None, file: Path | None) -> str:
    """The prompt.

    Args:
        given: what stands on the command line, or `-` for standard input.
        file: a file that holds it.

    Raises:
        UsageError: two prompts, one that cannot be read, or one that is not UTF-8.
    """
    if given is not None and file:
        raise UsageError("a prompt or --prompt-file, not both")
    if file:
        return _decoded(_file_bytes(file), f"the prompt file {file}")
    if given == STDIN:
        return _decoded(_stdin_bytes(), "standard input")
    return DEFAULT if given is None else argument(given)


def read_prompts(file: Path) -> list[str]:
    """The prompts in a file, one a line; empty lines are left out.

    Raises:
        UsageError: a file that cannot be read, is not UTF-8, or holds none.
    """
    text = _decoded(_file_bytes(file), f"the prompt file {file}")
    prompts = [line for line in text.splitlines() if line.strip()]
    if not prompts:
        raise UsageError(f"there is no prompt in {file}")
    return prompts


def argument(text: str) -> str:
    """A text from the command line, which is UTF-8 even where the locale is not.

    Raises:
        UsageError: bytes that are not UTF-8.
    """
    try:
        text.encode()
        return text
    except UnicodeEncodeError:  # bytes that the locale could not decode
        return _decoded(os.fsencode(text), "the text on the command line")


def _file_bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"cannot read the prompt file {file}: {reason}") from None


def _stdin_bytes() -> bytes:
    if sys.stdin is None:
        raise UsageError("standard input is closed: there is no prompt to be read from it")
    try:
        return sys.stdin.buffer.read()
    except OSError as error:
        raise UsageError(f"cannot read a prompt from standard input: {error.strerror}") from None


def _decoded(data: bytes, where: str) -> str:
    """The text of bytes, without a byte order mark and the newline at its end."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{where} is not UTF-8: byte {data[error.start]:#04x} at position {error.start}"
        ) from None
    return text.replace("\r\n", "\n").removesuffix("\n")
