"""How a command ends: its exit code, and one line on standard error where it failed."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import traceback
from collections.abc import Callable

import typer

from corelm.cli.output import messages
from corelm.errors import CorelmError, UsageError

DONE, FAILED, WRONG_USAGE, PARTLY_FAILED, INTERRUPTED = 0, 1, 2, 3, 130


def outcome(work: Callable[[], int | None], help: str, debug: bool = False) -> int:
    """Do the work and return the exit code.

    Args:
        work: returns an exit code, or nothing when all went well.
        help: the command that would have helped after wrong usage.
        debug: whether a traceback is shown where something failed.
    """
    _prepare(debug)
    try:
        return _of_pipe(work) or DONE
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        message, code = _explained(error, help)
        if debug:
            messages.trace(traceback.format_exc())
        messages.complain(message)
        return code


def _explained(error: Exception, help: str) -> tuple[str, int]:
    """One line for a person, and the exit code."""
    match error:
        case typer.TyperException():
            return f"{error.format_message().rstrip('.')}; see `{help}`", error.exit_code
        case UsageError():
            return str(error), WRONG_USAGE
        case CorelmError():
            return str(error), FAILED
        case OSError():
            where = f"{error.filename}: " if error.filename else ""
            return f"{where}{error.strerror or error}", FAILED
    return f"{type(error).__name__}: {error} (--debug shows where)", FAILED


def _of_pipe(work: Callable[[], int | None]) -> int | None:
    """Do the work; where the reader of standard output has gone, end quietly."""
    try:
        code = work()
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except BrokenPipeError:
        _forget_stdout()
    except SystemExit as error:  # Typer's answer to a closed pipe, and to the shell's completion
        if not isinstance(error.__context__, BrokenPipeError):
            raise
        _forget_stdout()
    except OSError:
        _forget_stdout()
        raise
    return DONE


def _forget_stdout() -> None:
    """Let what was not written go nowhere, or Python would try once more at its end."""
    with contextlib.suppress(OSError):  # a stream without a file descriptor
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _prepare(debug: bool) -> None:
    """Make every character writable, and show what is logged in one line each."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    logger = logging.getLogger("corelm")
    logger.handlers = [_OneLine()]
    logger.setLevel(logging.DEBUG if debug else logging.INFO)


class _OneLine(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        say = messages.warn if record.levelno >= logging.WARNING else messages.note
        say(record.getMessage())
