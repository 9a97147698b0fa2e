"""`corelm plugins`: list the installed plugins and their failures."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, TypeVar

import typer

from corelm.cli.commands.new_plugin import new
from corelm.cli.exit_codes import FAILED
from corelm.cli.options.parameters import flag
from corelm.cli.options.reserved import RESERVED
from corelm.cli.output import describe, messages
from corelm.cli.output.product import product
from corelm.cli.plugin_commands import CommandRegistry
from corelm.cli.text_values import TextCommand, TextGroup
from corelm.plugins.offers import Source, shadowing_parameters
from corelm.plugins.registry import KINDS, OBSERVER, Registry

R = TypeVar("R", bound=Registry)
Check = Annotated[
    bool,
    typer.Option("--check", help="Call each sampler and decoder; exit with code 1 if one fails."),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document.")]


def register(app: typer.Typer, words: Sequence[str] | None) -> None:
    """Add the command to the application."""
    group = typer.Typer(rich_markup_mode=None, cls=TextGroup)
    group.callback(invoke_without_command=True)(plugins)
    group.command("list", cls=TextCommand, short_help="List the plugins.")(list_plugins)
    group.command("new", cls=TextCommand, short_help="Create a package to start from.")(new)
    app.add_typer(group, name="plugins", short_help="List the plugins, or create one.")


def plugins(context: typer.Context, check: Check = False, json: Json = False) -> int | None:
    """List the installed plugins, what each offers, and the ones that failed to load.

    `corelm plugins` is short for `corelm plugins list`. CORELM_PLUGINS=a,b in the environment
    loads only the named plugins, and CORELM_STRICT_PLUGINS=1 makes every failure fatal.

    --check is for authors of plugins: it compares the names of entry points with what they offer,
    and calls each sampler and decoder once on a small distribution.
    """
    return None if context.invoked_subcommand else list_plugins(check, json)


def list_plugins(check: Check = False, json: Json = False) -> int | None:
    """List the installed plugins, what each offers, and the ones that failed to load."""
    with product() as out:
        registry, commands = _loaded(Registry), _loaded(CommandRegistry)
        offers = _offers(registry, commands)
        failures = registry.failures | commands.failures
        sources = sorted([*registry.sources(), *commands.sources()], key=str)
        if json:
            out.json([_as_json(source, offers, failures) for source in sources])
        else:
            headers = ("plugin", "from", "offers")
            out.rows(headers, [_row(source, offers, failures) for source in sources])
    strict = os.environ.get("CORELM_STRICT_PLUGINS") == "1"
    is_faulty = check and _warn_of_faults(registry, commands)
    return FAILED if is_faulty or (failures and (check or strict)) else None


def _warn_of_faults(registry: Registry, commands: CommandRegistry) -> bool:
    """Warn authors of the faults of plugins that load; return True if there are any."""
    from corelm.cli.plugin_checks import failing, misnamed

    _warn_of_clashes(registry)
    faults = [*misnamed(registry), *misnamed(commands), *failing(registry)]
    for fault in faults:
        messages.warn(fault)
    return bool(faults)


def _warn_of_clashes(registry: Registry) -> None:
    """Warn authors of parameters whose option a command already has."""
    for kind in ("sampler", "decoder"):
        offers = getattr(registry, f"{kind}s")()
        for offer, name in shadowing_parameters(offers, RESERVED):
            messages.warn(
                f"{kind} {offer.full_name}: the commands have an option {flag(name)}, so the "
                f"parameter {name} is given as {flag(f'{kind}-{name}')}; another name is easier"
            )


def _loaded(kind: type[R]) -> R:
    """Load the plugins of a group; without warnings, because the table shows the failures."""
    logger = logging.getLogger("corelm")
    logger.setLevel(logging.ERROR)
    registry = kind(strict=False)
    registry.load_all()
    logger.setLevel(logging.WARNING)
    return registry


def _offers(*registries: Registry) -> dict[Source, list[tuple[str, str]]]:
    """Return the offers of each plugin: pairs of kind and name."""
    found: dict[Source, list[tuple[str, str]]] = {}
    for registry in registries:
        for hook in registry.checks:
            for offer in registry.offers(hook):
                found.setdefault(offer.source, []).append((KINDS[hook], offer.name))
    return found


def _words(source: Source, offers: dict[Source, list[tuple[str, str]]]) -> Iterator[str]:
    for kind, name in offers.get(source, []):
        yield f"{kind} {name}"
    if source.entry_point == OBSERVER:
        yield "observes every step"


def _row(source: Source, offers: dict[Source, Any], failures: dict[Source, str]) -> tuple[str, ...]:
    reason = failures.get(source)
    offered = f"FAILED: {reason}" if reason else ", ".join(_words(source, offers)) or "nothing"
    return source.entry_point, describe.origin(source), offered


def _as_json(
    source: Source, offers: dict[Source, Any], failures: dict[Source, str]
) -> dict[str, Any]:
    return describe.plugin_as_json(source) | {
        "offers": [{"kind": kind, "name": name} for kind, name in offers.get(source, [])],
        "failure": failures.get(source),
    }
