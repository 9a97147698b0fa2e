"""Lists and pages of samplers and decoders, from their classes and docstrings."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from corelm.cli.output import messages
from corelm.cli.output.messages import Output
from corelm.contracts.params import Parameter, Parameterized
from corelm.contracts.sampling import Sampler
from corelm.errors import CorelmError
from corelm.registry.expressions import make
from corelm.registry.expressions import sampler as read_sampler
from corelm.registry.offers import Offer, Source, citation_of, docstring, offers_by_name, section

if TYPE_CHECKING:
    from rich.console import RenderableType


_SECTION = re.compile(r"^(Sources?|Related|Examples?|Args|Returns|Raises):", re.MULTILINE)


def definition(cls: type[Parameterized]) -> str:
    """Return the docstring up to its first section."""
    return _SECTION.split(docstring(cls))[0].strip()


def related(cls: type[Parameterized]) -> list[str]:
    """Return the names that the docstring lists as related."""
    return [name for part in section(cls, "Related").split(",") if (name := part.strip(" ."))]


def example_expression(cls: type[Parameterized], name: str) -> str:
    """Return the first call in the docstring as an expression, or the bare name."""
    # Brackets inside brackets, one level deep, as in `Ban(words=("a", "b"))`.
    name_in_code, nested = re.escape(cls.__name__), r"\([^()\n]*\)"
    match = re.search(rf"\b{name_in_code}(\((?:[^()\n]|{nested})*\))", docstring(cls))
    return f"{name}{match[1]}" if match else name


def example(cls: type[Sampler], name: str) -> Sampler:
    """Return a sampler with the values of its docstring's example, else of `example`, or none."""
    try:
        call = example_expression(cls, name)
        return make(cls, name, [], {**cls.example}) if call == name else read_sampler(call)
    except CorelmError:
        return make(cls, name, [], {})


def signature(cls: type[Parameterized]) -> str:
    """Return the parameters with their defaults, such as `t=1.0`."""
    return ", ".join(f"{p.name}={p.default}" for p in cls.parameters())


def origin(source: Source) -> str:
    """Return the distribution of a plugin, with its version."""
    return f"{source.distribution} {source.version}".strip()


def plugin_as_json(source: Source) -> dict[str, str]:
    """Return the source of a plugin for JSON."""
    return dict(zip(("distribution", "version", "entry_point", "module"), source, strict=True))


def parameter_as_json(parameter: Parameter) -> dict[str, Any]:
    """Return a declared parameter for JSON."""
    return {
        "name": parameter.name,
        "type": parameter.type_name,
        "default": _default(parameter.default),
        "rule": str(parameter.rule),
        "help": parameter.rule.help,
        "aliases": parameter.rule.aliases,
    }


def _default(value: Any) -> Any:
    """Return a default for JSON; infinity and samplers become text."""
    exact = isinstance(value, (bool, int, str, tuple, dict))
    exact = exact or (isinstance(value, float) and math.isfinite(value))
    return value if exact else str(value)


def distinct(offers: list[Offer]) -> Iterator[tuple[str, Offer]]:
    """Yield each offer with the name to choose it by: the full name if two share one."""
    for name, several in offers_by_name(offers).items():
        for offer in several:
            yield name if len(several) == 1 else offer.full_name, offer


def as_json(name: str, offer: Offer, whole: bool = False) -> dict[str, Any]:
    """Return a sampler or decoder for JSON; if `whole`, with its definition and its source."""
    cls = offer.value
    return {
        "name": name,
        "description": cls.description(),
        "parameters": [parameter_as_json(p) for p in cls.parameters()],
        "plugin": plugin_as_json(offer.source),
        **({"definition": definition(cls), "source": citation_of(cls)} if whole else {}),
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
        facts = (signature(offer.value), origin(offer.source))
        out.show(*blocks.entry(name, facts, offer.value.description()))
    messages.tell(f"`corelm {kind}s NAME` shows one of them", "note")


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
    yield from blocks.paragraphs(definition(cls))
    if cls.parameters():
        yield from blocks.section("parameters", blocks.pairs(_parameters(cls, options)))
    yield from example
    facts = (
        ("source", citation_of(cls)),
        ("related", ", ".join(related(cls))),
        ("portable", portable),
        ("plugin", f"{origin(offer.source)} ({offer.source.value})"),
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
