"""The application: its commands, plugins' own among them, and the options of all of them.

Entry points of commands have a group of their own. So `corelm --help` can list them without
importing a plugin, and no other command imports a module that imports Typer again.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from functools import cache
from importlib import import_module
from typing import Annotated, Any, TextIO, TypeAlias, cast

import typer
from typer.core import TyperCommand
from typer.main import get_command

from corelm.cli.applications import PlainCommand, TextGroup, exit_code
from corelm.cli.parameters import called, completed_words, with_optional_values
from corelm.errors import CorelmError, PluginError, UsageError
from corelm.registry.loading import OWN
from corelm.registry.offers import Offer, Source
from corelm.registry.registry import COMMANDS as HOOK
from corelm.registry.registry import Registry
from corelm.text.printable import one_line, shown

DEBUG = "--debug"
COMMANDS = {"sample": "sample", "samplers": "samplers", "decoders": "samplers"}
"""The commands of the heart and their modules in `commands`; all others are offered by plugins,
corelm's own among them."""

Installed: TypeAlias = "Callable[[], CommandRegistry]"
"""Returns the installed plugins that offer commands."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        arguments: the words after `corelm`; by default the words of this process.
    """
    if arguments is None:
        _separate_output()
    try:
        return run(sys.argv[1:] if arguments is None else list(arguments))
    except KeyboardInterrupt:  # Ctrl-C before the command, or after it
        return 130
    finally:
        if arguments is None:
            _end_output()


def run(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit code."""
    words, debug = _without_debug(arguments)
    words = with_optional_values(words)
    command = command_of(words)
    installed = cache(CommandRegistry)  # the folders of packages are searched once, if at all
    exists = command in COMMANDS or _is_added(command, installed)
    help = f"corelm {command} --help" if exists else "corelm --help"

    def work() -> int | None:
        completing = completed_words()
        app = build(words if completing is None else completing, installed)
        code = app(words or ["--help"], standalone_mode=False, prog_name="corelm")
        return code if isinstance(code, int) else None  # a plugin's command may return anything

    return exit_code(work, help, debug)


def build(words: Sequence[str], installed: Installed) -> typer.Typer:
    """Return the application.

    Only the module of the called command is imported. Without one, as in `corelm --help`, all of
    corelm's are, and third-party commands are only listed.

    Args:
        words: the command line. The options of `sample`, `explain` and `bench` depend on the
            sampler in it.
        installed: returns the installed plugins that offer commands.
    """
    app = typer.Typer(
        cls=TextGroup,
        rich_markup_mode=None,  # help texts of plugins may hold square brackets
        pretty_exceptions_enable=False,
        context_settings={
            "help_option_names": ["--help", "-h"],
            "token_normalize_func": lambda name: name.replace("_", "-"),  # `--t_min` is `--t-min`
            "obj": list(words),
        },
    )
    app.callback()(_global_options)
    command = command_of(words)
    # The options of a sampler must exist before Typer parses, so the words are read ahead.
    after = words[list(words).index(command) + 1 :] if command else ()
    called.set((command, after))
    for name in dict.fromkeys(COMMANDS[name] for name in _needed(words, command, installed)):
        import_module(f"corelm.cli.commands.{name}").register(app)
    if command not in COMMANDS:
        _add_commands(app, command, installed)
    return app


def _needed(words: Sequence[str], command: str, installed: Installed) -> Collection[str]:
    """Return the commands of corelm whose modules the command line needs."""
    if not words or words[0] != command:
        return COMMANDS
    if command in COMMANDS:
        return (command,)
    return () if _is_added(command, installed) else COMMANDS


def command_of(words: Sequence[str]) -> str:
    """Return the command in a command line; empty when there is none."""
    return next((word for word in words if not word.startswith("-")), "")


def _without_debug(arguments: Sequence[str]) -> tuple[list[str], bool]:
    """Remove `--debug` from a command line; it may be anywhere before `--`."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    words = [word for word in arguments[:end] if word != DEBUG]
    return [*words, *arguments[end:]], len(words) < end


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


def check_command(offer: Offer) -> None:
    """Raise if a command is not a Typer app, or Typer cannot build it."""
    if not isinstance(offer.value, typer.Typer):
        raise PluginError(f"not a command: {offer.name} is {shown(offer.value)}, not a typer.Typer")
    get_command(offer.value)  # raises here, where the error concerns one plugin alone
    for command in offer.value.registered_commands:
        if inspect.iscoroutinefunction(command.callback):
            raise PluginError(f"not a command: {offer.name} is async and never runs: write a def")


class CommandRegistry(Registry):
    """The installed plugins that offer commands."""

    group = "corelm.commands"
    checks = {HOOK: check_command}  # noqa: RUF012 - declared as a ClassVar in the base class
    hooks = (HOOK,)

    def _admit(self, source: Source, plugin: Any) -> None:
        try:
            super()._admit(source, plugin)
        except PluginError as error:
            # A command whose options depend on the command line may find it wrong; that is no
            # fault of the plugin.
            if isinstance(error.__cause__, UsageError):
                raise error.__cause__ from None
            raise


def _is_added(command: str, installed: Installed) -> bool:
    """Return True if a plugin has a command of the name or the full name; nothing is imported."""
    if not command or command in COMMANDS:
        return False  # no folder is searched on the way to a text
    return any(command in (source.entry_point, str(source)) for source in installed().sources())


def _add_commands(app: typer.Typer, command: str, installed: Installed) -> None:
    """Add the called command; without one, list all and import no third-party module.

    Args:
        app: the application.
        command: the command in the command line; empty when there is none.
        installed: returns the installed plugins that offer commands.

    Raises:
        CorelmError: the called command cannot be used.
    """
    commands = installed()
    if _is_added(command, installed):
        own = f"{OWN}:{command}"  # no plugin can take the short name of one of corelm's
        name = own if own in map(str, commands.sources()) else command
        try:
            _add(app, command, commands.find(HOOK, name).value)
        except CorelmError:
            if completed_words() is None:  # a failure while the shell completes would be noise
                raise
        return
    for name, source in _names(commands.sources()).items():
        if source.distribution == OWN:
            _add(app, name, commands.find(HOOK, str(source)).value)
            continue
        from corelm.cli.output.describe import origin  # for one line of --help

        text = f"From the plugin {origin(source)}."
        # A stand-in for the list: the plugin itself is imported only when it is called.
        unloaded = typer.Typer(callback=lambda: None, cls=TextGroup)
        app.add_typer(unloaded, name=one_line(name), short_help=one_line(text))


def _names(sources: Collection[Source]) -> dict[str, Source]:
    """Return the name to call each command by: the full name where the short one is taken."""
    counts = Counter(source.entry_point for source in sources)
    counts.update(COMMANDS.keys())  # no plugin can replace a command of the heart
    return {
        source.entry_point
        if counts[source.entry_point] == 1 or source.distribution == OWN
        else str(source): source
        for source in sources
    }


def _add(app: typer.Typer, name: str, command: typer.Typer) -> None:
    """Add a Typer app as a group, or as one command if it consists of one."""
    for each in command.registered_commands:
        each.cls = PlainCommand if each.cls is TyperCommand else each.cls
    alone = not (command.registered_groups or command.registered_callback or command.info.callback)
    if alone and len(command.registered_commands) == 1:
        renamed = copy.copy(command.registered_commands[0])
        renamed.name = name
        app.registered_commands.append(renamed)
    else:
        app.add_typer(command, name=name)


class _OfMainThread:
    """A stream for the main thread; other threads write to standard error instead."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        is_main = threading.current_thread() is threading.main_thread()
        return getattr(self._stream if is_main else sys.stderr, name)


def _separate_output() -> None:
    """Redirect descriptor 1 to standard error, and give `sys.stdout` a descriptor of its own.

    So a thread that a plugin starts can't write into the product. A terminal stays as it is: there,
    `input` edits lines only if `sys.stdout` is the terminal, and no document can be damaged.
    """
    if sys.stdout is None or sys.stderr is None or sys.stdout.isatty():
        return
    stdout = sys.stdout
    with contextlib.suppress(OSError, ValueError):
        own = open(os.dup(1), "w", encoding=stdout.encoding, errors=stdout.errors)  # noqa: SIM115
        os.dup2(2, 1)
        sys.stdout = cast("TextIO", _OfMainThread(own))


def _end_output() -> None:
    """Redirect `sys.stdout` to standard error: exit functions of plugins run later."""
    if sys.stdout is None or sys.stderr is None:
        return
    stdout, sys.stdout = sys.stdout, sys.stderr
    with contextlib.suppress(OSError, ValueError):
        stdout.flush()
        if isinstance(stdout, _OfMainThread):
            stdout.close()
