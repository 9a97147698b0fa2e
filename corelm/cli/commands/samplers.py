"""`corelm samplers` and `corelm decoders`: list them, or show one."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from corelm.cli.applications import TextCommand
from corelm.cli.output import describe
from corelm.cli.output.messages import Output
from corelm.cli.parameters import RESERVED, Chosen, decoder_names, sampler_names
from corelm.contracts.sampling import Sampler
from corelm.errors import CorelmError, MissingDependencyError, UsageError
from corelm.registry.expressions import is_name
from corelm.registry.expressions import sampler as read_sampler
from corelm.registry.registry import registry

if TYPE_CHECKING:
    from rich.console import RenderableType

    from corelm.cli.output.effect import Effect
PORTABLE = {
    True: "yes: it takes arrays of NumPy, torch, JAX and other libraries",
    False: "no: it takes arrays of NumPy",
    None: "not tried; that needs a package: pip install array-api-strict",
}


Json = Annotated[bool, typer.Option("--json", help="One JSON document.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    for command in (samplers, decoders):
        name = command.__name__
        app.command(name, cls=TextCommand, short_help=f"List the {name}, or show one.")(command)


def samplers(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            autocompletion=sampler_names,
            help="A sampler to show, such as temperature or temperature(t=0.2).",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """List the samplers, or show one of them.

    \b
    corelm samplers
    corelm samplers temperature
    """
    with Output.open() as out:
        if name is None:
            describe.write_list(out, "sampler", registry().offers("corelm_samplers"), json)
        else:
            _show(out, name, json)


def decoders(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            autocompletion=decoder_names,
            help="A decoder to show, such as ancestral.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """List the decoders, or show one of them.

    A sampler decides the distribution of one token, a decoder the order in which tokens are
    drawn and kept: one after the other (ancestral), or several texts at a time (beam search).

    \b
    corelm decoders
    corelm sample --decoder ancestral
    """
    with Output.open() as out:
        if name is None:
            describe.write_list(out, "decoder", registry().offers("corelm_decoders"), json)
            return
        name = name.strip()
        offer = registry().find("corelm_decoders", name)
        if json:
            out.json(describe.as_json(name, offer, whole=True))
            return
        options = Chosen.of("decoder", offer.value, RESERVED).names
        out.show(*describe.page(name, offer, options, f"corelm sample --decoder {name}"))


def _show(out: Output, text: str, json: bool) -> None:
    name = text.strip()
    if is_name(text):
        sampler = describe.example(registry().sampler(name), name)
    else:
        sampler = read_sampler(text)
        name = sampler.name
        if len(sampler.stages) > 1:
            raise UsageError("one sampler at a time, not a chain")
    effect = _effect(sampler)
    offer = registry().find("corelm_samplers", name)
    if json:
        more = {
            "related": describe.related(offer.value),
            "portable": _is_portable(sampler),
            "effect": {"error": effect} if isinstance(effect, str) else effect.as_json(),
        }
        out.json(describe.as_json(name, offer, whole=True) | more)
    else:
        example = _example_section(sampler, effect, out)
        options = Chosen.of("sampler", type(sampler), RESERVED).names
        command, portable = _command(name, sampler, options), PORTABLE[_is_portable(sampler)]
        out.show(*describe.page(name, offer, options, command, example, portable))


def _effect(sampler: Sampler) -> Effect | str:
    """Apply the sampler to the example; return the reason if that fails."""
    from corelm.cli.output.effect import Effect

    try:
        return Effect.of(sampler)
    except CorelmError as error:
        return str(error)


def _is_portable(sampler: Sampler) -> bool | None:
    """Return True if the sampler takes arrays of any library; None if that cannot be tried."""
    from corelm.questions.portability import is_portable

    try:
        return is_portable(sampler)
    except MissingDependencyError:
        return None


def _example_section(
    sampler: Sampler, effect: Effect | str, out: Output
) -> Iterator[RenderableType]:
    from corelm.cli.output import blocks

    if isinstance(effect, str):
        content: RenderableType = blocks.line(effect)
    else:
        content = effect.bars(out.width, out.unicode)
    yield from blocks.section(f"{sampler} on an example", content)


def _command(name: str, sampler: Sampler, options: Mapping[str, list[str]]) -> str:
    """Return the command that writes a text with this sampler."""
    changed = [p for p in sampler.parameters() if getattr(sampler, p.name) != p.default]
    if any(p.type in (bool, tuple, dict, int | str) for p in changed):
        written = ", ".join(f"{p.name}={p.written(getattr(sampler, p.name))}" for p in changed)
        if '"' not in written:
            written = written.replace("'", '"')  # which a shell's single quotes can hold
        return f"corelm sample --sampler {shlex.quote(f'{name}({written})')}"
    values = [f"{options[p.name][0]} {shlex.quote(str(getattr(sampler, p.name)))}" for p in changed]
    return " ".join([f"corelm sample --sampler {name}", *values])
