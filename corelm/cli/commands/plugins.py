"""`corelm plugins`: what is installed, and what failed and why."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from corelm.cli.exit_codes import FAILED
from corelm.cli.output import describe
from corelm.cli.output.product import product
from corelm.plugins.offers import Source
from corelm.plugins.registry import OBSERVER, Registry

KINDS = ("sampler", "decoder", "model")


def plugins(
    context: typer.Context,
    check: Annotated[
        bool, typer.Option("--check", help="Fail, with exit code 1, if a plugin failed.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> int | None:
    """List the plugins that are installed, what each offers, and those that failed.

    CORELM_PLUGINS=a,b in the environment restricts what is loaded, and
    CORELM_STRICT_PLUGINS=1 makes every failure fatal.
    """
    if context.invoked_subcommand:
        return None
    with product() as out:
        registry = _loaded()
        offers = _offers(registry)
        sources = registry.sources()
        if json:
            out.json([_as_json(source, offers, registry) for source in sources])
        else:
            headers = ("plugin", "from", "offers")
            out.rows(headers, [_row(source, offers, registry) for source in sources])
    strict = os.environ.get("CORELM_STRICT_PLUGINS") == "1"
    return FAILED if registry.failures and (check or strict) else None


def _loaded() -> Registry:
    """All plugins, loaded; those that fail are in the table, so nobody needs to be warned."""
    logger = logging.getLogger("corelm")
    logger.setLevel(logging.ERROR)
    registry = Registry(strict=False)
    registry.load_all()
    logger.setLevel(logging.WARNING)
    return registry


def _offers(registry: Registry) -> dict[Source, list[tuple[str, str]]]:
    """What each plugin offers: pairs of kind and name."""
    found: dict[Source, list[tuple[str, str]]] = {}
    for kind in KINDS:
        for offer in getattr(registry, f"{kind}s")():
            found.setdefault(offer.source, []).append((kind, offer.name))
    return found


def _words(source: Source, offers: dict[Source, list[tuple[str, str]]]) -> Iterator[str]:
    for kind, name in offers.get(source, []):
        yield f"{kind} {name}"
    if source.entry_point == OBSERVER:
        yield "sees every step"


def _row(source: Source, offers: dict[Source, Any], registry: Registry) -> tuple[str, ...]:
    reason = registry.failures.get(source)
    offered = f"FAILED: {reason}" if reason else ", ".join(_words(source, offers)) or "nothing"
    return source.entry_point, describe.origin(source), offered


def _as_json(source: Source, offers: dict[Source, Any], registry: Registry) -> dict[str, Any]:
    return describe.plugin_as_json(source) | {
        "offers": [{"kind": kind, "name": name} for kind, name in offers.get(source, [])],
        "failure": registry.failures.get(source),
    }
