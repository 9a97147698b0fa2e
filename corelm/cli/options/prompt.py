"""The prompt of a model: the one that was given, or its own, with notes on what it can't read."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO

from corelm.cli.output import streams
from corelm.errors import UsageError
from corelm.paths import open_input

if TYPE_CHECKING:
    from corelm.language_model import LanguageModel

__all__ = ["read_text"]

STDIN = "-"
LARGEST = 2**25
"""The largest prompt, or file of prompts, in bytes."""


def read_prompt(argument: str | None, file: str | None) -> str | None:
    """Return the prompt on the command line, in a file or in standard input; None without one.

    Args:
        argument: the argument of the command, or `-` for standard input.
        file: a file with the prompt.

    Raises:
        UsageError: two prompts, one that cannot be read, or one that is not UTF-8.
    """
    if argument is not None and file is not None:
        raise UsageError("a prompt or --prompt-file, not both")
    if file is not None:
        return read_text(file, "the prompt file")
    if argument == STDIN:
        return _decoded(_stdin_bytes(), "standard input")
    return argument


def read_text(file: str, what: str) -> str:
    """Return the text of a file.

    Args:
        file: the file.
        what: its purpose, for messages, such as "the prompt file".

    Raises:
        UsageError: a file that cannot be read, or is not UTF-8.
    """
    return _decoded(_file_bytes(file, f"{what} {file}"), f"{what} {file}")


def _file_bytes(file: str, source: str) -> bytes:
    try:
        with open_input(file) as stream:
            return _limited(stream, source)
    except UsageError:
        raise
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"cannot read {source}: {reason}") from None


def _stdin_bytes() -> bytes:
    if sys.stdin is None:
        raise UsageError("standard input is closed: a prompt cannot be read from it")
    try:
        return _limited(sys.stdin.buffer, "standard input")
    except OSError as error:
        raise UsageError(f"cannot read a prompt from standard input: {error.strerror}") from None


def _limited(stream: BinaryIO, source: str) -> bytes:
    """Read a stream to its end; raise if it has no end, as /dev/zero."""
    data = stream.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise UsageError(f"{source} is too long: more than {LARGEST >> 20} MiB")
    return data


def _decoded(data: bytes, source: str) -> str:
    """Return the text of bytes, without a byte order mark and the newline at its end."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{source} is not UTF-8: byte {data[error.start]:#04x} at position {error.start}"
        ) from None
    return text.replace("\r\n", "\n").removesuffix("\n")


def prompt_for(model: LanguageModel, prompt: str | None) -> str:
    """Return the prompt, or the model's own if there is none; note what the model can't read."""
    # Late here and below: a command without a model reads arguments too.
    from corelm.generation.prompts import default_prompt

    if prompt is None:
        return default_prompt(model)
    note_prompts(model, [prompt])
    return prompt


def note_prompts(model: LanguageModel, prompts: Sequence[str]) -> None:
    """Note what the model can't read of prompts."""
    from corelm.generation.prompts import prompt_notes

    for note in prompt_notes(model, prompts):
        streams.tell(f"note: {note}")
