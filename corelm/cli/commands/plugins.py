"""`corelm plugins`: list the installed plugins and their failures, or create one."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from string import Template
from typing import Annotated, Any, TypeVar

import typer

from corelm.cli import scaffold
from corelm.cli.app import CommandRegistry
from corelm.cli.applications import ExitCode, application
from corelm.cli.output import describe, messages
from corelm.cli.output.messages import Output
from corelm.cli.plugin_checks import faults_of_plugins, shadowing_parameters
from corelm.contracts.hookspecs import hookimpl
from corelm.errors import UsageError
from corelm.registry.offers import Source
from corelm.registry.registry import Registry

R = TypeVar("R", bound=Registry)
Check = Annotated[
    bool,
    typer.Option("--check", help="Run the laws on what plugins offer; code 1 for a fault."),
]
Quick = Annotated[bool, typer.Option("--quick", help="--check with one simple call of each offer.")]
SHORT_HELP = "List the plugins, or create one."
Json = Annotated[bool, typer.Option("--json", help="One JSON document.")]


@hookimpl
def corelm_commands() -> dict[str, Any]:
    commands = {
        "list": (list_plugins, "List the plugins."),
        "new": (new, "Create a package to start from."),
    }
    return {"plugins": application(plugins, SHORT_HELP, commands, invoke_without_command=True)}


def plugins(
    context: typer.Context, check: Check = False, quick: Quick = False, json: Json = False
) -> int | None:
    """List the installed plugins, what each offers, and the ones that failed to load.

    `corelm plugins` is short for `corelm plugins list`. CORELM_PLUGINS=a,b in the environment
    loads only the named plugins, and CORELM_STRICT_PLUGINS=1 makes every failure fatal.

    --check is for authors of plugins: it compares the names of entry points with what they offer,
    shows some steps to each observer, and runs the laws on what is not corelm's own: some seconds
    for each decoder. With --quick it runs the first law alone, which makes one simple call.
    """
    return None if context.invoked_subcommand else list_plugins(check, quick, json)


def list_plugins(check: Check = False, quick: Quick = False, json: Json = False) -> int | None:
    """List the installed plugins, what each offers, and the ones that failed to load."""
    with Output.open() as out:
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
    faults = [*faults_of_plugins(registry, commands, quick)] if check else []
    for warning in [*(shadowing_parameters(registry) if check else ()), *faults]:
        messages.tell(warning, "warning")
    return ExitCode.FAILED if faults or (failures and (check or strict)) else None


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
    # A mask is a sampler.
    kinds = {kind.hook: kind.name for kind in scaffold.KINDS if kind is not scaffold.MASK}
    offers: dict[Source, list[tuple[str, str]]] = {}
    for registry in registries:
        for hook in registry.checks:
            for offer in registry.offers(hook):
                offers.setdefault(offer.source, []).append((kinds[hook], offer.name))
    return offers


def _words(source: Source, offers: dict[Source, list[tuple[str, str]]]) -> Iterator[str]:
    # A module that offers several things has an entry point for each, with a row of its own.
    others = {s.entry_point for s in offers if s.distribution == source.distribution} - {
        source.entry_point
    }
    for kind, name in offers.get(source, []):
        if name not in others:
            yield f"{kind} {name}"
    if source.entry_point == "corelm_next_token":
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


def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name of what it offers.")],
    sampler: Annotated[
        bool, typer.Option("--sampler", help="The package offers a sampler (the default).")
    ] = False,
    mask: Annotated[
        bool,
        typer.Option("--mask", help="The package offers a sampler that is a mask, as a grammar."),
    ] = False,
    decoder: Annotated[
        bool, typer.Option("--decoder", help="The package offers a decoder.")
    ] = False,
    model: Annotated[bool, typer.Option("--model", help="The package offers a model.")] = False,
    metric: Annotated[bool, typer.Option("--metric", help="The package offers a metric.")] = False,
    observer: Annotated[
        bool, typer.Option("--observer", help="The package sees every step of generation.")
    ] = False,
    command: Annotated[
        bool, typer.Option("--command", help="The package adds a command to corelm.")
    ] = False,
    into: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="The folder to create the package in. Default: the current one.",
        ),
    ] = None,
) -> None:
    """Create a package to start from: a sampler, mask, decoder, model, metric, observer or command.

    Its folder is printed. The package can be installed and passes its tests as it is.

    \b
    corelm plugins new top_cube
    corelm plugins new sure_start --decoder
    pip install -e ./corelm-top-cube
    """
    flags = (sampler, mask, decoder, model, metric, observer, command)
    chosen = [kind for kind, is_set in zip(scaffold.KINDS, flags, strict=True) if is_set]
    if len(chosen) > 1:
        names = " or ".join(f"--{kind.name}" for kind in chosen)
        raise UsageError(f"{names}, not both: a package to start from offers one thing")
    kind = chosen[0] if chosen else scaffold.SAMPLER
    words = scaffold.named(name, kind)
    with Output.open() as out:
        for text in scaffold.namesakes(words["entry"], kind):
            messages.tell(text, "warning")
        folder = Path(into or "") / words["package"]
        scaffold.write(folder, words, kind)
        out.text(f"{folder}\n")
    attempt = Template(kind.attempt).substitute(words)
    messages.tell(f"try it: pip install -e {folder}; pytest {folder}; {attempt}", "note")
