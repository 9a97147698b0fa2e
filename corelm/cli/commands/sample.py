"""`corelm sample`: write texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from corelm.cli.options.choices import (
    DECODER,
    Model,
    Preset,
    Prompt,
    PromptFile,
    SamplerChoice,
    Unknown,
    loaded,
    sampler_of,
)
from corelm.cli.options.completion import decoder_names
from corelm.cli.options.prompt import argument, read_prompt
from corelm.cli.output import messages
from corelm.cli.output.product import product
from corelm.cli.output.texts import Request, writer
from corelm.decoding.random_stream import fresh_seed
from corelm.errors import UsageError
from corelm.model.load import MODEL, label
from corelm.params import Parameter, Rule

LENGTH = Parameter("length", int, 50, Rule(ge=0))
NUMBER = Parameter("n", int, 1, Rule(ge=0))
SEED = Parameter("seed", int, None, Rule(ge=0))


def sample(
    prompt: Prompt = None,
    *,
    sampler: SamplerChoice = None,
    preset: Preset = None,
    decoder: Annotated[
        str,
        typer.Option(metavar="NAME", autocompletion=decoder_names, help="How texts are decoded."),
    ] = DECODER,
    model: Model = MODEL,
    length: Annotated[str, typer.Option(metavar="INTEGER", help="Tokens to draw at most.")] = str(
        LENGTH.default
    ),
    n: Annotated[str, typer.Option("--n", metavar="INTEGER", help="How many texts.")] = "1",
    seed: Annotated[
        str | None,
        typer.Option(
            metavar="INTEGER", help="Decides all luck; when left out, one is drawn and shown."
        ),
    ] = None,
    stop: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="End before this text; may be given more than once."),
    ] = None,
    prompt_file: PromptFile = None,
    unknown: Unknown = False,
    json: Annotated[
        bool,
        typer.Option("--json", help="One JSON document, with every token's surprisal and entropy."),
    ] = False,
    no_stream: Annotated[
        bool, typer.Option("--no-stream", help="Write a text when it is whole, not word by word.")
    ] = False,
    built: Mapping[str, Any],
) -> None:
    """Write texts with a language model.

    The text goes to standard output, all else to standard error.

    \b
    corelm sample "This movie" --sampler temperature --t 0.2
    corelm sample --sampler "temperature(t=0.5) | greedy" --n 3 --seed 1
    """
    with product() as out:
        request = Request(
            model_name=label(model),
            prompt=read_prompt(prompt, prompt_file),
            sampler=sampler_of(built, sampler, preset),
            decoder=built["decoder"],
            length=LENGTH.convert(length),
            n=NUMBER.convert(n),
            seed=fresh_seed() if seed is None else SEED.convert(seed),
            stop=_stops(stop or []),
            unknown=unknown,
            model=loaded(model),
        )
        if seed is None:
            messages.note(f"drawn with --seed {request.seed}")
        write = writer(request.n, json=json, whole=no_stream)
        write(request, out)


def _stops(given: list[str]) -> tuple[str, ...]:
    if "" in given:
        raise UsageError("a stop string needs at least one character")
    return tuple(argument(text) for text in given)
