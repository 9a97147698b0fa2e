"""The commands that plugins add to the command line.

Their entry points have a group of their own. So `corelm --help` can list them without importing a
plugin, and no other command imports a module that imports Typer again.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Collection
from typing import Any

import typer
from typer.main import get_command

from corelm.cli.options.prescan import completed_words
from corelm.cli.text_values import TextGroup
from corelm.errors import CorelmError, PluginError, UsageError
from corelm.printable import one_line, shown
from corelm.registry.loading import OWN
from corelm.registry.offers import Offer, Source
from corelm.registry.registry import COMMANDS, Registry


def check_command(offer: Offer) -> None:
    """Raise if a command is not a Typer app, or Typer cannot build it."""
    if not isinstance(offer.value, typer.Typer):
        raise PluginError(f"not a command: {offer.name} is {shown(offer.value)}, not a typer.Typer")
    get_command(offer.value)  # raises here, where the error concerns one plugin alone


class CommandRegistry(Registry):
    """The installed plugins that offer commands."""

    group = "corelm.commands"
    checks = {COMMANDS: check_command}  # noqa: RUF012 - declared as a ClassVar in the base class
    hooks = (COMMANDS,)

    def _admit(self, source: Source, plugin: Any) -> None:
        try:
            super()._admit(source, plugin)
        except PluginError as error:
            # A command whose options depend on the command line may find it wrong; that is no
            # fault of the plugin.
            if isinstance(error.__cause__, UsageError):
                raise error.__cause__ from None
            raise


def is_command(name: str) -> bool:
    """Return True if a plugin has a command of the name or the full name; nothing is imported."""
    return any(name in (source.entry_point, str(source)) for source in CommandRegistry().sources())


def add_commands(app: typer.Typer, called: str, own: Collection[str]) -> None:
    """Add the called command; without one, list all and import no third-party module.

    Args:
        app: the application.
        called: the command in the command line; empty when there is none.
        own: the commands of the heart, which no plugin can replace.

    Raises:
        CorelmError: the called command cannot be used.
    """
    commands = CommandRegistry()
    if called and is_command(called):
        try:
            _add(app, called, commands.find(COMMANDS, _full_name(called, commands)).value)
        except CorelmError:
            if completed_words() is None:  # a failure while the shell completes would be noise
                raise
        return
    for name, source in _names(commands.sources(), own).items():
        if source.distribution == OWN:
            _add(app, name, commands.find(COMMANDS, str(source)).value)
            continue
        from corelm.cli.output.describe import origin  # for one line of --help

        text = f"From the plugin {origin(source)}."
        # A stand-in for the list: the plugin itself is imported only when it is called.
        unloaded = typer.Typer(callback=lambda: None, cls=TextGroup)
        app.add_typer(unloaded, name=one_line(name), short_help=one_line(text))


def _full_name(name: str, commands: CommandRegistry) -> str:
    """Return the full name of a command of corelm, whose short name no plugin can take."""
    full_name = f"{OWN}:{name}"
    return full_name if full_name in map(str, commands.sources()) else name


def _names(sources: Collection[Source], own: Collection[str]) -> dict[str, Source]:
    """Return the name to call each command by: the full name where the short one is taken."""
    counts = Counter(source.entry_point for source in sources)
    counts.update(own)
    return {
        source.entry_point
        if counts[source.entry_point] == 1 or source.distribution == OWN
        else str(source): source
        for source in sources
    }


def _add(app: typer.Typer, name: str, command: typer.Typer) -> None:
    """Add a Typer app as a group, or as one command if it consists of one."""
    alone = not (command.registered_groups or command.registered_callback or command.info.callback)
    if alone and len(command.registered_commands) == 1:
        renamed = copy.copy(command.registered_commands[0])
        renamed.name = name
        app.registered_commands.append(renamed)
    else:
        app.add_typer(command, name=name)
