"""Exit codes, and the one line on standard error that explains a failure."""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import os
import re
import sys
import warnings
from collections.abc import Callable
from enum import IntEnum
from typing import Any

import typer

from corelm.cli.output import messages
from corelm.errors import CorelmError, UnknownNameError, UsageError
from corelm.printable import message_of

PACKAGES = {
    "arithmetic": "corelm-arithmetic",
    "backtrack": "corelm-backtrack",
    "beam": "corelm-beam",
    "best_of": "corelm-best-of",
    "break_loop": "corelm-break-loop",
    "choice": "corelm-grammar",
    "contrastive": "corelm-contrastive",
    "cot": "corelm-best-of",
    "diverse_beam": "corelm-beam",
    "gguf": "corelm-llama-cpp",
    "green_list": "corelm-watermark",
    "group_confidence": "corelm-best-of",
    "gumbel_max": "corelm-watermark",
    "guidance": "corelm-guidance",
    "json_schema": "corelm-grammar",
    "keras_hub": "corelm-keras-hub",
    "lark": "corelm-grammar",
    "mattr": "corelm-lexical",
    "mauve": "corelm-mauve",
    "mbr": "corelm-best-of",
    "min_k": "corelm-min-k",
    "mlx": "corelm-mlx",
    "mtld": "corelm-lexical",
    "p_less": "corelm-p-less",
    "power": "corelm-power",
    "regex": "corelm-grammar",
    "replay": "corelm-replay",
    "play": "corelm-serve",
    "probe": "corelm-probe",
    "self_certainty": "corelm-best-of",
    "serve": "corelm-serve",
    "speculative": "corelm-speculative",
    "stochastic_beam": "corelm-beam",
    "synthid": "corelm-watermark",
    "tail_confidence": "corelm-best-of",
    "transformers": "corelm-transformers",
    "verify": "corelm-replay",
    "vote": "corelm-best-of",
    "watermark": "corelm-watermark",
}
"""The package of each sampler, decoder, scheme of models, metric and command."""
UNKNOWN = re.compile(
    r"(?:there is no (?:sampler|decoder|sampler or decoder|model|metric)|No such command)"
    r" '([\w-]+)[':]"
)


class ExitCode(IntEnum):
    """The exit codes of commands."""

    DONE = 0
    FAILED = 1
    WRONG_USAGE = 2
    PARTLY_FAILED = 3
    INTERRUPTED = 130


OPTION = re.compile(r"No such option: --([\w-]+)")
EXTRA = re.compile(r"Got unexpected extra argument(?:\(s\)|s)? \((\S+)\)$")

NO_ROOM = {errno.ENOSPC, errno.EDQUOT}


class PartialError(Exception):
    """Some of the work is finished and kept; an error ended the rest.

    Args:
        error: the error.
        kept: a description of the finished work.
    """

    def __init__(self, error: Exception, kept: str) -> None:
        super().__init__(f"{error}; {kept}")
        self.error, self.kept = error, kept


def exit_code(work: Callable[[], int | None], help: str, debug: bool = False) -> int:
    """Do the work and return the exit code.

    Args:
        work: returns an exit code, or None on success.
        help: the command to point to after wrong usage.
        debug: show the traceback of a failure.
    """
    _prepare(debug)
    try:
        return int(_quiet_on_closed_pipe(work) or ExitCode.DONE)
    except KeyboardInterrupt:
        return int(ExitCode.INTERRUPTED)
    except SystemExit:
        raise
    except BaseException as error:  # a plugin's may be no subclass of Exception
        message, code = _explain(error, help)
        if debug:
            import traceback

            messages.trace(traceback.format_exc())
        messages.error(message)
        return int(code)


def _explain(error: BaseException, help: str) -> tuple[str, int]:
    """Return one line for the user, and the exit code."""
    match error:
        case PartialError():
            return f"{_explain(error.error, help)[0]}; {error.kept}", ExitCode.PARTLY_FAILED
        case typer.TyperException():
            message = error.format_message().rstrip(".")
            hint = package_hint(message) + sampler_hint(message) + model_hint(error)
            return f"{message}{hint}; see `{help}`", error.exit_code
        case typer.Abort():
            return "aborted", ExitCode.FAILED
        case UnknownNameError():
            return str(error) + package_hint(str(error)), ExitCode.WRONG_USAGE
        case UsageError():
            return str(error), ExitCode.WRONG_USAGE
        case CorelmError():
            return str(error), ExitCode.FAILED
        case OSError():
            where = f"{error.filename}: " if error.filename else ""
            way_out = "; make room, and try again" if error.errno in NO_ROOM else ""
            return f"{where}{error.strerror or error}{way_out}", ExitCode.FAILED
        case MemoryError():
            return "out of memory", ExitCode.FAILED
    return f"{type(error).__name__}: {message_of(error)} (--debug shows where)", ExitCode.FAILED


def _quiet_on_closed_pipe(work: Callable[[], int | None]) -> int | None:
    """Do the work; end quietly when the reader of standard output has closed it."""
    try:
        code = work()
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except BrokenPipeError:
        _discard_stdout()
    except SystemExit as error:  # Typer's answer to a closed pipe, and to the shell's completion
        if not isinstance(error.__context__, BrokenPipeError):
            raise
        _discard_stdout()
    except OSError:
        _discard_stdout()
        raise
    return ExitCode.DONE


def _discard_stdout() -> None:
    """Send unwritten output nowhere; Python would otherwise try to write it again at exit."""
    with contextlib.suppress(OSError):  # a stream without a file descriptor
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _prepare(debug: bool) -> None:
    """Make every character writable, and show each log record on one line."""
    # A terminal in ASCII must not end a run of hours with a UnicodeEncodeError.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    warnings.showwarning = _show_warning
    logger = logging.getLogger("corelm")
    logger.handlers = [_OneLine()]
    logger.setLevel(logging.DEBUG if debug else logging.INFO)


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    """Show a warning of Python on one line, without the control characters that it may have."""
    messages.warn(f"{category.__name__}: {message}")


class _OneLine(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        say = messages.warn if record.levelno >= logging.WARNING else messages.note
        say(record.getMessage())


def package_hint(message: str) -> str:
    """Return the package that offers an unknown name; empty if there is none.

    Example:
        >>> package_hint("there is no decoder 'beam' (there are: ancestral)")
        '; the package corelm-beam offers it: pip install ./plugins/corelm-beam'
    """
    found = UNKNOWN.match(message)
    package = found and PACKAGES.get(found[1])
    return f"; the package {package} offers it: pip install ./plugins/{package}" if package else ""


def model_hint(error: typer.TyperException) -> str:
    """Return how to name a model to a command that takes no words; empty in other errors."""
    found = EXTRA.match(error.format_message())
    command = getattr(getattr(error, "ctx", None), "command", None)
    if (
        not found
        or not command
        or any(each.param_type_name == "argument" for each in command.params)
    ):
        return ""
    options = [name for each in command.params for name in each.opts]
    return f"; a model is named with --model {found[1]}" if "--model" in options else ""


def sampler_hint(message: str) -> str:
    """Return how to write the sampler that an unknown option names; empty if it names none.

    Example:
        >>> sampler_hint("No such option: --top-k")
        '; top_k is a sampler, written as top_k(k=2)'
    """
    found = OPTION.match(message)
    if not found:
        return ""
    from corelm.cli.output.describe import example_expression  # loads what most errors don't need
    from corelm.registry.registry import registry

    name = found[1].replace("-", "_")
    offers = [offer for offer in registry().samplers() if offer.name == name]
    calls = [example_expression(offer.value, name) for offer in offers]
    return f"; {name} is a sampler, written as {calls[0]}" if calls else ""
