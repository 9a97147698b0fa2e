"""What commands that take a sampler have in common: how it, the model, the prompt are chosen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from corelm.cli.keras_import import import_keras
from corelm.cli.options.completion import model_names, preset_names, sampler_names
from corelm.cli.options.parameters import Chosen, extended
from corelm.cli.options.prescan import own_options, refuse_unknown, scanned
from corelm.cli.options.prompt import DEFAULT
from corelm.cli.options.reserved import RESERVED
from corelm.cli.output import messages
from corelm.cli.output.product import product
from corelm.errors import UsageError
from corelm.language_model import LanguageModel
from corelm.model.load import MODEL, label, load
from corelm.plugins.engine_presets import preset as read_preset
from corelm.plugins.expressions import built_in, is_name
from corelm.plugins.expressions import sampler as read_sampler
from corelm.plugins.lint import notes
from corelm.plugins.loading import OWN
from corelm.plugins.registry import registry
from corelm.sampler import Sampler

SAMPLER, TEMPERATURE, DECODER = "temperature", 0.7, "ancestral"
"""The defaults; corelm's own, whatever other plugins offer under these names."""

Prompt = Annotated[
    str | None,
    typer.Argument(
        metavar="PROMPT",
        help=f"What to go on from, in quotation marks; - reads it from standard input. "
        f'"{DEFAULT}" when left out.',
    ),
]
PromptFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Read the prompt from a file.")
]
SamplerChoice = Annotated[
    str | None,
    typer.Option(
        metavar="SAMPLER",
        autocompletion=sampler_names,
        help=f"A name of `corelm samplers`, or an expression such as "
        f"'temperature(t=0.5) | greedy'. When left out: {SAMPLER} at t={TEMPERATURE}.",
    ),
]
Preset = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        autocompletion=preset_names,
        help="Sample as another engine does by default: a name of `corelm presets`.",
    ),
]
Model = Annotated[
    str,
    typer.Option(
        metavar="NAME|PATH",
        autocompletion=model_names,
        show_default=False,
        help=f"A model of `corelm models`, or the path of one; {label(MODEL)} when left out.",
    ),
]
Unknown = Annotated[
    bool, typer.Option("--unknown", help="Let the word for everything unknown be drawn too.")
]


def sampler_of(built: Mapping[str, Any], sampler: str | None, preset: str | None) -> Sampler:
    """The sampler that was chosen; what is likely a mistake in it is noted on standard error."""
    if preset is not None:
        chosen = read_preset(preset)
    else:
        chosen = built["sampler"] if "sampler" in built else read_sampler(sampler or "")
    for text in notes(chosen):
        messages.tell(f"note: {text}")
    return chosen


def loaded(model: str) -> LanguageModel:
    """The model of a name or a path."""
    if model.endswith(".keras"):
        import_keras("a .keras file")
    return load(model)


def with_choices(
    command: Callable[..., Any], arguments: Sequence[str] | None
) -> Callable[..., Any]:
    """A command with the options of the sampler and the decoder that its arguments name.

    Args:
        command: what it does.
        arguments: those after the command; None where it is not called.

    Raises:
        UsageError: there is no such sampler, decoder or option.
    """
    if arguments is None:
        return extended(command, [])
    own = {**own_options(command), "--help": False}
    given, _ = scanned(arguments, own)
    with product():
        chosen = list(_chosen(given, own))
    known = own | {name: value for choice in chosen for name, value in choice.options.items()}
    given, words = scanned(arguments, known)
    refuse_unknown(given, known, chosen)
    if len(words) > 1:
        raise UsageError(f"one prompt, not {len(words)}: put it in quotation marks")
    return extended(command, chosen)


def options_of(cls: type[Sampler], **defaults: Any) -> Chosen:
    """The options that the parameters of a sampler have, in every command the same."""
    return Chosen.of("sampler", cls, RESERVED, **defaults)


def _chosen(given: Mapping[str, str | None], own: Mapping[str, bool]) -> list[Chosen]:
    """What the options given so far choose, each with its own options."""
    chosen = []
    sampler, preset = given.get("--sampler"), given.get("--preset")
    if sampler is not None and preset is not None:
        raise UsageError(
            f"--sampler or --preset, not both: `corelm presets {preset}` prints an expression "
            "that can be changed and given to --sampler"
        )
    if sampler is not None and is_name(sampler):
        chosen.append(
            replace(options_of(registry().sampler(sampler.strip())), name=sampler.strip())
        )
    elif sampler is None and preset is None:
        default = built_in(SAMPLER)
        chosen.append(replace(options_of(type(default), t=TEMPERATURE), name=default.name))
    if "--decoder" in own:
        taken = RESERVED.union(*(choice.options for choice in chosen))
        cls = registry().decoder(given.get("--decoder") or f"{OWN}:{DECODER}")
        chosen.append(Chosen.of("decoder", cls, taken))
    return chosen
