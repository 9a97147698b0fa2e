"""Typer's applications as corelm makes and runs them.

Options keep their values as text. An error becomes an exit code, and one line on standard error.
"""

from __future__ import annotations

import contextlib
import errno
import inspect
import logging
import os
import re
import shlex
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from functools import wraps
from pathlib import Path
from types import NoneType
from typing import Any, get_args

import typer
from typer.core import TyperCommand, TyperGroup

from corelm.cli.output import messages
from corelm.cli.parameters import with_arguments
from corelm.errors import CorelmError, UsageError
from corelm.registry.loading import MODEL
from corelm.text.printable import message_of

SHARED = ("model", "device", "dtype", "workers", "scheduler")
"""The options that mean the same in every command; `choices` has each by its name."""
TEXTS = (str, list[str], tuple[str, str])
"""The types of options without a conversion."""
PLACES = re.compile("FILE|FOLDER|PATH|ADDRESS")
"""The metavars of values that can't be blank."""
METAVARS = {int: "INTEGER", float: "NUMBER", str: "TEXT", Path: "PATH"}
"""The metavars by type of options that have none of their own."""


class PlainCommand(TyperCommand):
    """A command whose --help shows no types of Python, such as `list[str]`."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the arguments and options, these with a metavar."""
        parameters: list[Any] = super().get_params(ctx)
        for parameter in parameters:
            if parameter.param_type_name == "argument":
                parameter.display_type_rich = lambda ctx: None
            elif parameter.metavar is None:
                kind = parameter.type_descriptor.annotation
                parameter.metavar = METAVARS.get((*get_args(kind), kind)[0])
        return parameters


class _AsText:
    """A mixin for Typer's commands that keeps the values of options as text.

    Typer converts each value with pydantic, whose import takes longer than the import of Typer.
    corelm's parameters convert text themselves, so the conversion is skipped.
    """

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the options, each with its conversion switched off."""
        parameters: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for parameter in parameters:  # Typer may ask twice for the same objects
            if not isinstance(parameter.process_value, _Unconverted):
                parameter.process_value = _Unconverted(parameter)
        return parameters


class TextCommand(_AsText, PlainCommand):
    """A command whose options reach it as text.

    Attributes:
        word: the option that a word without an option is probably meant for; None if there is none.
        groups: the headings of the help, each with the names of its options. One that no heading
            names is after the one whose name it begins with, such as `sampler_t`, or last.
    """

    word: str | None = None
    groups: Mapping[str, Sequence[str]] = {}

    @classmethod
    def of(cls, word: str | None, groups: Mapping[str, Sequence[str]] | None) -> type[TextCommand]:
        """Return the class of a command with these attributes."""
        return type("OwnCommand", (cls,), {"word": word, "groups": groups or {}})

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the options under their headings."""
        if not self.groups:
            return super().format_options(ctx, formatter)
        left = {each.name: each.get_help_record(ctx) for each in self.get_params(ctx)}
        arguments = [each.name for each in self.params if each.param_type_name == "argument"]
        grouped = {name for names in self.groups.values() for name in names}
        titles = {"Arguments": arguments, **self.groups, "Other options": [*left]}
        for title, names in titles.items():
            shown = [
                left.pop(each)
                for name in names
                for each in [*left]
                if each == name
                or (title in self.groups and each.startswith(f"{name}_") and each not in grouped)
            ]
            if records := [record for record in shown if record]:
                with formatter.section(title):
                    formatter.write_dl(records)
        return None

    def invoke(self, ctx: Any) -> Any:
        """Run the command; words are left over only if `word` names an option."""
        if ctx.args:
            text = ctx.args[0]
            meant = f"{self.word} {shlex.quote(text)}"
            raise UsageError(f"{text!r} has no option: did you mean {meant}?")
        return super().invoke(ctx)


class TextGroup(_AsText, TyperGroup):
    """A group whose options reach it as text."""


def application(
    function: Callable[..., Any],
    short_help: str,
    commands: Mapping[str, tuple[Any, str]] | None = None,
    *,
    word: str | None = None,
    groups: Mapping[str, Sequence[str]] | None = None,
    cls: type[Any] | None = None,
    no_args_is_help: bool = False,
    invoke_without_command: bool = False,
) -> typer.Typer:
    """Return an application, as the hook for commands offers it.

    Arguments of a command that are called `model`, `device`, `dtype`, `workers` or `scheduler`, and
    are text without an option of their own, are the options of these names of corelm's commands. A
    `model` without a default has corelm's own model.

    Args:
        function: the function of the command; of several commands the group's, whose docstring is
            the group's help.
        short_help: its line in the list of commands.
        commands: the functions of several commands, each with its line in the list, by name.
        word: of one command: the option that a word without an option is probably meant for.
        groups: of one command: the headings of its help, each with the names of its options.
        cls: of several commands: the class of the group.
        no_args_is_help: write the group's help if no command is given.
        invoke_without_command: call the group's function if no command is given.
    """
    if commands is None:
        app = typer.Typer()
        own = TextCommand.of(word, groups)
        settings = {"allow_extra_args": word is not None}
        command = _with_shared_options(function)
        app.command(cls=own, short_help=short_help, context_settings=settings)(command)
        return app
    app = typer.Typer(
        rich_markup_mode=None,
        cls=cls or TextGroup,
        short_help=short_help,
        no_args_is_help=no_args_is_help,
    )
    app.callback(invoke_without_command=invoke_without_command)(function)
    for name, (command, line) in commands.items():
        app.command(name, cls=TextCommand, short_help=line)(_with_shared_options(command))
    return app


def _with_shared_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Return a command whose arguments of `SHARED`'s names are these options.

    An argument with an option of its own, or of another type than text, keeps it.
    """
    signature = inspect.signature(command)
    if signature.parameters.keys().isdisjoint(SHARED):
        return command
    signature = inspect.signature(command, eval_str=True)
    listed = [_shared(parameter) for parameter in signature.parameters.values()]

    @wraps(command)
    def called(**values: Any) -> Any:
        return command(**values)

    return with_arguments(called, listed)


def _shared(parameter: inspect.Parameter) -> inspect.Parameter:
    is_text = parameter.annotation in (str, str | None)
    if parameter.name not in SHARED or not is_text:
        return parameter
    from corelm.cli import choices  # late: few commands have these options

    default = parameter.default
    if parameter.name == "model" and default is parameter.empty:
        default = MODEL
    if type(default) not in (str, NoneType):
        return parameter
    option = getattr(choices, parameter.name.capitalize())
    return parameter.replace(annotation=option, default=default)


class _Unconverted:
    """A `process_value` without conversion; Typer's own reports a missing argument."""

    def __init__(self, parameter: Any) -> None:
        self._parameter = parameter
        self._convert = parameter.process_value

    def __call__(self, context: Any, value: Any) -> Any:
        parameter = self._parameter
        is_place = parameter.param_type_name == "option" and PLACES.search(parameter.metavar or "")
        if is_place and isinstance(value, str) and not value.strip():
            article = "an" if parameter.metavar[0] == "A" else "a"
            raise UsageError(
                f"{parameter.opts[0]} needs {article} {parameter.metavar}, not {value!r}"
            )
        if isinstance(value, bool) or (value is None and parameter.required):
            return self._convert(context, value)
        callback = parameter.callback
        if callback is None and parameter.type_descriptor.annotation not in TEXTS:
            return self._convert(context, value)  # a plugin's option such as `count: int = 3`
        if not PLACES.search(parameter.metavar or ""):  # the name of a file may be any bytes
            value = _text(value)
        return value if callback is None else callback(context, parameter, value)


def _text(value: Any) -> Any:
    """Return a text from the command line, which is UTF-8 even if the locale is not.

    Raises:
        UsageError: bytes that are not UTF-8.
    """
    if isinstance(value, list | tuple):
        return type(value)(map(_text, value))
    if not isinstance(value, str):
        return value
    try:
        value.encode()
        return value
    except UnicodeEncodeError:  # bytes that the locale could not decode
        data = os.fsencode(value)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise UsageError(
            f"the text on the command line is not UTF-8: byte {data[error.start]:#04x} at "
            f"position {error.start}"
        ) from None


class ExitCode(IntEnum):
    """The exit codes of commands."""

    DONE = 0
    FAILED = 1
    WRONG_USAGE = 2
    PARTLY_FAILED = 3
    INTERRUPTED = 130


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

            messages.tell(traceback.format_exc().rstrip("\n"), "picture")
        messages.tell(message, "error")
        return int(code)


def _explain(error: BaseException, help: str) -> tuple[str, int]:
    """Return one line for the user, and the exit code."""
    match error:
        case PartialError():
            return f"{_explain(error.error, help)[0]}; {error.kept}", ExitCode.PARTLY_FAILED
        case typer.TyperException():
            from corelm.cli.unknown_options import hint_of  # late: for an error alone

            message = error.format_message().rstrip(".") + hint_of(error)
            see = " See" if message.endswith("?") else "; see"
            return f"{message}{see} `{help}`", error.exit_code
        case typer.Abort():
            return "aborted", ExitCode.FAILED
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
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=messages.SIMILAR_CHARACTERS)
    warnings.showwarning = _show_warning
    logger = logging.getLogger("corelm")
    logger.handlers = [_OneLine()]
    logger.setLevel(logging.DEBUG if debug else logging.INFO)


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    """Show a warning of Python on one line, without the control characters that it may have."""
    messages.tell(f"{category.__name__}: {message}", "warning")


class _OneLine(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        kind = "warning" if record.levelno >= logging.WARNING else "note"
        messages.tell(record.getMessage(), kind)
