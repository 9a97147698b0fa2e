"""`corelm sample`: write texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from corelm.cli import terminal
from corelm.cli.completion import decoder_names, model_names, sampler_names
from corelm.cli.heavy import import_keras
from corelm.cli.options import Chosen, extended
from corelm.cli.prescan import own_options, refuse_unknown, scanned
from corelm.cli.prompt import DEFAULT, argument, read_prompt
from corelm.cli.writing import Request, writer
from corelm.errors import UsageError
from corelm.language_model import LanguageModel
from corelm.luck import fresh_seed
from corelm.model.load import load
from corelm.params import Parameter, Rule
from corelm.plugins import registry
from corelm.sampler import Sampler
from corelm.spec import is_name
from corelm.spec import sampler as read_sampler

SAMPLER, TEMPERATURE, DECODER = "temperature", 0.7, "ancestral"
"""What is chosen where nothing is."""

LENGTH = Parameter("length", int, 50, Rule(least=0))
NUMBER = Parameter("n", int, 1, Rule(least=0))
SEED = Parameter("seed", int, None, Rule(least=0))


def sample(
    prompt: Annotated[
        str | None,
        typer.Argument(
            metavar="PROMPT",
            help=f"What to go on from, in quotation marks; - reads it from standard input. "
            f'"{DEFAULT}" when left out.',
        ),
    ] = None,
    *,
    sampler: Annotated[
        str | None,
        typer.Option(
            metavar="SAMPLER",
            autocompletion=sampler_names,
            help=f"A name of `corelm samplers`, or an expression such as "
            f"'temperature(t=0.5) | greedy'. When left out: {SAMPLER} at t={TEMPERATURE}.",
        ),
    ] = None,
    decoder: Annotated[
        str,
        typer.Option(metavar="NAME", autocompletion=decoder_names, help="How texts are decoded."),
    ] = DECODER,
    model: Annotated[
        str,
        typer.Option(
            metavar="NAME|PATH",
            autocompletion=model_names,
            help="A model of `corelm models`, or the path of one.",
        ),
    ] = "imdb",
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
    prompt_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Read the prompt from a file.")
    ] = None,
    unknown: Annotated[
        bool, typer.Option("--unknown", help="Let the word for everything unknown be drawn too.")
    ] = False,
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
    with terminal.product() as out:
        request = Request(
            model_name=model,
            prompt=read_prompt(prompt, prompt_file),
            sampler=built["sampler"] if "sampler" in built else read_sampler(sampler or ""),
            decoder=built["decoder"],
            length=LENGTH.convert(length),
            n=NUMBER.convert(n),
            seed=fresh_seed() if seed is None else SEED.convert(seed),
            stop=_stops(stop or []),
            unknown=unknown,
            model=_loaded(model),
        )
        if seed is None:
            terminal.note(f"drawn with --seed {request.seed}")
        write = writer(request.n, json=json, whole=no_stream)
        write(request, out)


def _loaded(model: str) -> LanguageModel:
    if model.endswith(".keras"):
        import_keras("a .keras file")
    return load(model)


def _stops(given: list[str]) -> tuple[str, ...]:
    if "" in given:
        raise UsageError("a stop string needs at least one character")
    return tuple(argument(text) for text in given)


def command(arguments: Sequence[str] | None) -> Callable[..., Any]:
    """The command with the options of the sampler and the decoder that its arguments name.

    Args:
        arguments: those after the command; None where it is not called.

    Raises:
        UsageError: there is no such sampler, decoder or option.
    """
    if arguments is None:
        return extended(sample, [])
    own = _own()
    given, _ = scanned(arguments, own)
    with terminal.product():
        chosen = _chosen(given.get("--sampler"), given.get("--decoder"), own)
    known = own | {name: value for choice in chosen for name, value in choice.options.items()}
    given, words = scanned(arguments, known)
    refuse_unknown(given, known, chosen)
    if len(words) > 1:
        raise UsageError(f"one prompt, not {len(words)}: put it in quotation marks")
    return extended(sample, chosen)


def options_of(cls: type[Sampler]) -> Chosen:
    """The options that the parameters of a sampler have."""
    return Chosen.of("sampler", cls, _own())


def _own() -> dict[str, bool]:
    return {**own_options(sample), "--help": False}


def _chosen(sampler: str | None, decoder: str | None, taken: Mapping[str, bool]) -> list[Chosen]:
    chosen = []
    if sampler is None:
        default = registry().sampler(SAMPLER)
        chosen.append(Chosen.of("sampler", default, taken, t=TEMPERATURE))
    elif is_name(sampler):
        chosen.append(Chosen.of("sampler", registry().sampler(sampler.strip()), taken))
    taken = dict(taken) | {
        name: value for choice in chosen for name, value in choice.options.items()
    }
    cls = registry().decoder(decoder or DECODER)
    return [*chosen, Chosen.of("decoder", cls, taken)]
