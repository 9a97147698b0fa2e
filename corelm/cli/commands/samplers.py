"""`corelm samplers`: what can be chosen, and what one of them does."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from corelm.cli.options.completion import sampler_names
from corelm.cli.output import describe, messages
from corelm.cli.output.product import Output, product
from corelm.errors import CorelmError, UsageError
from corelm.plugins.expressions import is_name
from corelm.plugins.expressions import sampler as read_sampler
from corelm.plugins.offers import Offer, offers_by_name
from corelm.plugins.registry import registry
from corelm.sampler import Sampler

if TYPE_CHECKING:
    from rich.console import RenderableType

    from corelm.cli.output.effect import Effect


def samplers(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            autocompletion=sampler_names,
            help="One of them, such as temperature or temperature(t=0.2).",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """List the samplers, or show all there is about one.

    \b
    corelm samplers
    corelm samplers temperature
    """
    with product() as out:
        if name is None:
            _list(out, json)
        else:
            _show(out, name, json)


def _list(out: Output, json: bool) -> None:
    offers = dict(_distinct(registry().samplers()))
    if json:
        out.json([_as_json(name, offer) for name, offer in offers.items()])
        return
    rows = [
        (name, describe.signature(o.value), o.value.description(), describe.origin(o.source))
        for name, o in offers.items()
    ]
    if out.endless:
        out.rows(("sampler", "parameters", "what it does", "plugin"), rows)
        return
    from corelm.cli.output import blocks

    for name, parameters, text, plugin in rows:
        out.show(*blocks.entry(name, (parameters, plugin), text))
    messages.note("corelm samplers NAME shows what one does")


def _distinct(offers: list[Offer]) -> Iterator[tuple[str, Offer]]:
    """Each offer with the name it is chosen by: the full one where two share a name."""
    for name, several in offers_by_name(offers).items():
        for offer in several:
            yield name if len(several) == 1 else offer.full_name, offer


def _as_json(name: str, offer: Offer) -> dict[str, Any]:
    return {
        "name": name,
        "description": offer.value.description(),
        "parameters": [describe.parameter_as_json(p) for p in offer.value.parameters()],
        "plugin": describe.plugin_as_json(offer.source),
    }


def _show(out: Output, given: str, json: bool) -> None:
    sampler = _example(given.strip()) if is_name(given) else _one(given)
    name, effect = sampler.name, _effect(sampler)
    offer = registry().find("corelm_samplers", name)
    if json:
        more = {
            "definition": describe.definition(offer.value),
            "source": describe.source_of(offer.value),
            "related": describe.related(offer.value),
            "effect": {"error": effect} if isinstance(effect, str) else effect.as_json(),
        }
        out.json(_as_json(name, offer) | more)
    else:
        out.show(*_page(name, offer, sampler, _drawn(effect, out)))


def _one(expression: str) -> Sampler:
    sampler = read_sampler(expression)
    if len(sampler.stages) > 1:
        raise UsageError("one sampler at a time, not a chain of them")
    return sampler


def _example(name: str) -> Sampler:
    """One with the values of the example in its docstring, else with its defaults."""
    cls = registry().sampler(name)
    try:
        return read_sampler(describe.example_expression(cls, name))
    except CorelmError:
        return cls()


def _effect(sampler: Sampler) -> Effect | str:
    """What the sampler does to the example, or why that cannot be shown."""
    from corelm.cli.output.effect import Effect

    try:
        return Effect.of(sampler)
    except CorelmError as error:
        return str(error)


def _drawn(effect: Effect | str, out: Output) -> RenderableType:
    from corelm.cli.output import blocks

    if isinstance(effect, str):
        return blocks.line(effect)
    return effect.drawn(out.width, out.unicode)


def _page(
    name: str, offer: Offer, sampler: Sampler, drawn: RenderableType
) -> Iterator[RenderableType]:
    """All that there is to say about a sampler."""
    from corelm.cli.output import blocks

    cls = offer.value
    yield blocks.heading(name)
    yield from blocks.paragraphs(describe.definition(cls))
    if cls.parameters():
        yield from blocks.section("parameters", blocks.pairs(_parameters(cls)))
    yield from blocks.section(f"{sampler} on an example", drawn)
    facts = (
        ("source", describe.source_of(cls)),
        ("related", ", ".join(describe.related(cls))),
        ("plugin", f"{describe.origin(offer.source)} ({offer.source.value})"),
        ("try", _command(name, sampler)),
    )
    yield blocks.pairs((title, fact) for title, fact in facts if fact)


def _parameters(cls: type[Sampler]) -> Iterator[tuple[str, str]]:
    names = _options(cls)
    for p in cls.parameters():
        rule = f"{p.rule}, " if str(p.rule) else ""
        yield ", ".join(names[p.name]), f"{p.rule.help} ({rule}default {p.default})".strip()


def _options(cls: type[Sampler]) -> dict[str, list[str]]:
    from corelm.cli.options.choices import options_of

    return dict(options_of(cls).names)


def _command(name: str, sampler: Sampler) -> str:
    """The command that writes a text with this sampler."""
    changed = [p for p in sampler.parameters() if getattr(sampler, p.name) != p.default]
    if any(p.type in (bool, tuple, dict) for p in changed):
        return f"corelm sample --sampler {shlex.quote(str(sampler))}"
    names = _options(type(sampler))
    values = [f"{names[p.name][0]} {shlex.quote(str(getattr(sampler, p.name)))}" for p in changed]
    return " ".join([f"corelm sample --sampler {name}", *values])
