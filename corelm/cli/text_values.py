"""Commands that keep the values of their options as text."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from corelm.errors import UsageError

PLACES = re.compile("FILE|FOLDER|PATH|ADDRESS")
"""The metavars of values that can't be blank."""


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


class TextCommand(_AsText, TyperCommand):
    """A command whose options reach it as text.

    Attributes:
        word: the option that a word without an option is probably meant for; None if there is none.
    """

    word: str | None = None

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
    command: Callable[..., Any], short_help: str, word: str | None = None
) -> typer.Typer:
    """Return an application of one command, as the hook for commands offers it.

    Args:
        command: the function of the command.
        short_help: its line in the list of commands.
        word: the option that a word without an option is probably meant for.
    """
    app = typer.Typer()
    cls = type("WordCommand", (TextCommand,), {"word": word})
    settings = {"allow_extra_args": word is not None}
    app.command(cls=cls, short_help=short_help, context_settings=settings)(command)
    return app


def group(
    callback: Callable[..., Any],
    short_help: str,
    commands: Mapping[str, tuple[Any, str]],
    *,
    cls: type[TextGroup] = TextGroup,
    no_args_is_help: bool = False,
    invoke_without_command: bool = False,
) -> typer.Typer:
    """Return an application of several commands, as the hook for commands offers it.

    Args:
        callback: the function of the group, whose docstring is the group's help.
        short_help: its line in the list of commands.
        commands: the functions of the commands, each with its line in the list, by name.
        cls: the class of the group.
        no_args_is_help: write the help if no command is given.
        invoke_without_command: call the function of the group if no command is given.
    """
    app = typer.Typer(
        rich_markup_mode=None, cls=cls, short_help=short_help, no_args_is_help=no_args_is_help
    )
    app.callback(invoke_without_command=invoke_without_command)(callback)
    for name, (command, line) in commands.items():
        app.command(name, cls=TextCommand, short_help=line)(command)
    return app


class _Unconverted:
    """A `process_value` without conversion; Typer's own reports a missing argument."""

    def __init__(self, parameter: Any) -> None:
        self._parameter = parameter
        self._convert = parameter.process_value

    def __call__(self, context: Any, value: Any) -> Any:
        parameter = self._parameter
        _check_place(parameter, value)
        if isinstance(value, bool) or (value is None and parameter.required):
            return self._convert(context, value)
        callback = parameter.callback
        return value if callback is None else callback(context, parameter, value)


def _check_place(option: Any, value: Any) -> None:
    """Raise if the value of an option that names a file, a folder or an address is blank."""
    is_place = option.param_type_name == "option" and PLACES.search(option.metavar or "")
    if is_place and isinstance(value, str) and not value.strip():
        article = "an" if option.metavar[0] == "A" else "a"
        raise UsageError(f"{option.opts[0]} needs {article} {option.metavar}, not {value!r}")
