"""Lists and pages of samplers and decoders."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from corelm.cli.output import describe, messages
from corelm.cli.output.product import Output
from corelm.docstrings import source_of
from corelm.params import Parameterized
from corelm.plugins.offers import Offer, offers_by_name

if TYPE_CHECKING:
    from rich.console import RenderableType


def distinct(offers: list[Offer]) -> Iterator[tuple[str, Offer]]:
    """Yield each offer with the name to choose it by: the full name if two share one."""
    for name, several in offers_by_name(offers).items():
        for offer in several:
            yield name if len(several) == 1 else offer.full_name, offer


def as_json(name: str, offer: Offer) -> dict[str, Any]:
    """Return a sampler or decoder for JSON."""
    return {
        "name": name,
        "description": offer.value.description(),
        "parameters": [describe.parameter_as_json(p) for p in offer.value.parameters()],
        "plugin": describe.plugin_as_json(offer.source),
    }


def write_list(out: Output, kind: str, offers: list[Offer], json: bool) -> None:
    """Write the samplers or decoders: two lines each on a terminal, one in a file.

    The line of a file has the name and the description, so that it stays readable; the parameters
    and the plugin are on the page of each, and in the JSON document.
    """
    named = dict(distinct(offers))
    if json:
        out.json([as_json(name, offer) for name, offer in named.items()])
        return
    if out.endless:
        out.rows(
            (kind, "description"), [(name, o.value.description()) for name, o in named.items()]
        )
        return
    from corelm.cli.output import blocks

    for name, offer in named.items():
        facts = (describe.signature(offer.value), describe.origin(offer.source))
        out.show(*blocks.entry(name, facts, offer.value.description()))
    messages.note(f"`corelm {kind}s NAME` shows one of them")


def page(
    name: str,
    offer: Offer,
    options: Mapping[str, Sequence[str]],
    command: str,
    example: Iterable[RenderableType] = (),
    portable: str = "",
) -> Iterator[RenderableType]:
    """Yield the page of a sampler or decoder.

    Args:
        name: the name to choose it by.
        offer: the class and its plugin.
        options: the options of each parameter.
        command: a command that uses it.
        example: its effect on an example.
        portable: the array libraries that a sampler takes.
    """
    from corelm.cli.output import blocks

    cls = offer.value
    yield blocks.heading(name)
    yield from blocks.paragraphs(describe.definition(cls))
    if cls.parameters():
        yield from blocks.section("parameters", blocks.pairs(_parameters(cls, options)))
    yield from example
    facts = (
        ("source", source_of(cls)),
        ("related", ", ".join(describe.related(cls))),
        ("portable", portable),
        ("plugin", f"{describe.origin(offer.source)} ({offer.source.value})"),
        ("try", command),
    )
    yield blocks.pairs((title, fact) for title, fact in facts if fact)


def _parameters(
    cls: type[Parameterized], options: Mapping[str, Sequence[str]]
) -> Iterator[tuple[str, str]]:
    for p in cls.parameters():
        rule = f"{p.rule}, " if str(p.rule) else ""
        default = repr(p.default) if p.default == "" else p.default
        yield ", ".join(options[p.name]), f"{p.rule.help} ({rule}default {default})".strip()
