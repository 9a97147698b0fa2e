"""The application: its commands, and the options of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Annotated

import typer

from corelm.cli.exit_codes import exit_code
from corelm.cli.options.prescan import called, completed_words, with_optional_values
from corelm.cli.text_values import TextGroup

DEBUG = "--debug"
COMMANDS = ("sample", "samplers", "decoders")
"""The commands of the heart, each with a module of its name in `commands`; all others are offered
by plugins, corelm's own among them."""


def run(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit code."""
    words, debug = _without_debug(arguments)
    words = with_optional_values(words)
    command = command_of(words)
    known = command in COMMANDS or _is_added(command)
    help = f"corelm {command} --help" if known else "corelm --help"

    def work() -> int | None:
        completing = completed_words()
        app = build(words if completing is None else completing)
        code = app(words or ["--help"], standalone_mode=False, prog_name="corelm")
        return code if isinstance(code, int) else None  # a plugin's command may return anything

    return exit_code(work, help, debug)


def build(words: Sequence[str] = ()) -> typer.Typer:
    """Return the application.

    Only the module of the called command is imported. Without one, as in `corelm --help`, all of
    corelm's are, and third-party commands are only listed.

    Args:
        words: the command line. The options of `sample`, `explain` and `bench` depend on the
            sampler in it.
    """
    app = typer.Typer(
        cls=TextGroup,
        rich_markup_mode=None,  # help texts of plugins may hold square brackets
        pretty_exceptions_enable=False,
        context_settings={
            "help_option_names": ["--help", "-h"],
            "token_normalize_func": _with_hyphens,
            "obj": list(words),
        },
    )
    app.callback()(_global_options)
    command = command_of(words)
    # The options of a sampler must exist before Typer parses, so the words are read ahead.
    after = words[list(words).index(command) + 1 :] if command else ()
    called.set((command, after))
    for name in _needed(words, command):
        module = import_module(f"corelm.cli.commands.{name}")
        module.register(app)
    if command not in COMMANDS:
        from corelm.cli.plugin_commands import add_commands

        add_commands(app, command, COMMANDS)
    return app


def _needed(words: Sequence[str], command: str) -> Sequence[str]:
    """Return the commands of corelm whose modules the command line needs."""
    if not words or words[0] != command:
        return COMMANDS
    if command in COMMANDS:
        return (command,)
    return () if _is_added(command) else COMMANDS


def _is_added(command: str) -> bool:
    """Return True if the command is a plugin's."""
    if not command or command in COMMANDS:
        return False  # nothing is imported and no folder is searched on the way to a text
    from corelm.cli.plugin_commands import is_command

    return is_command(command)


def command_of(words: Sequence[str]) -> str:
    """Return the command in a command line; empty when there is none."""
    return next((word for word in words if not word.startswith("-")), "")


def _without_debug(arguments: Sequence[str]) -> tuple[list[str], bool]:
    """Remove `--debug` from a command line; it may be anywhere before `--`."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    words = [word for word in arguments[:end] if word != DEBUG]
    return [*words, *arguments[end:]], len(words) < end


def _with_hyphens(name: str) -> str:
    """Return an option's name with hyphens: `--t_min` is `--t-min`."""
    return name.replace("_", "-")


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"corelm {version('corelm')}")
        raise typer.Exit


def _global_options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
    debug: Annotated[
        bool, typer.Option(DEBUG, help="Show the traceback when a command fails.")
    ] = False,
) -> None:
    """Sampling strategies for language models, as plugins: exact, composable, reproducible.

    \b
    corelm sample --sampler temperature --t 0.2     write a text
    corelm samplers                                 list the samplers
    corelm explain --sampler top_p --p 0.9          show what a sampler does to one token
    corelm report                                   compare samplers
    corelm bench                                    measure the speed on this machine
    """
