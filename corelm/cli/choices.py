"""Arguments that several commands share: the sampler, the model and the prompt."""

from __future__ import annotations

import inspect
import sys
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any

import typer

from corelm.cli.output import messages
from corelm.cli.output.messages import Output
from corelm.cli.parameters import (
    COLOR,
    RESERVED,
    Chosen,
    called,
    completed_words,
    decoder_names,
    extended,
    flag,
    model_names,
    own_flag,
    preset_names,
    sampler_names,
    scan,
)
from corelm.errors import CorelmError, UsageError
from corelm.machine import open_input
from corelm.registry.loading import MODEL, OWN, label
from corelm.registry.registry import registry

if TYPE_CHECKING:
    from corelm.contracts.language_model import LanguageModel
    from corelm.contracts.sampling import Sampler

__all__ = ["read_text"]

SAMPLER, TEMPERATURE, DECODER = "temperature", 0.7, "ancestral"
"""The defaults; always corelm's own, even if other plugins offer these names."""

Prompt = Annotated[
    str | None,
    typer.Argument(
        metavar="PROMPT",
        help="The text to continue, in quotation marks; - reads it from standard input. "
        "Default: the model's own prompt.",
        show_default=False,
    ),
]
PromptFile = Annotated[
    str | None, typer.Option(metavar="FILE", help="Read the prompt from a file.")
]
SamplerChoice = Annotated[
    str | None,
    typer.Option(
        metavar="SAMPLER",
        autocompletion=sampler_names,
        help=f"A name from `corelm samplers`, or an expression such as "
        f"'temperature(t=0.5) | greedy'. Default: {SAMPLER} at t={TEMPERATURE}.",
    ),
]
DecoderChoice = Annotated[
    str,
    typer.Option(
        metavar="NAME", autocompletion=decoder_names, help="A name from `corelm decoders`."
    ),
]
Preset = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        autocompletion=preset_names,
        help="Sample like another engine does by default: a name from `corelm presets`.",
    ),
]
Model = Annotated[
    str,
    typer.Option(
        metavar="NAME|PATH",
        autocompletion=model_names,
        show_default=False,
        help="A name from `corelm models`, the path of a model, or one of another engine, such as "
        f"gguf:FILE. Default: {label(MODEL)}.",
    ),
]
Device = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="The device of an engine's model, such as cuda."),
]
Dtype = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="The number format of its weights, such as bfloat16."),
]
Workers = Annotated[
    str | None,
    typer.Option(
        metavar="INTEGER",
        help="Do the work in this number of processes, a Dask cluster on this machine. The result "
        "is the same.",
    ),
]
Scheduler = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Do the work on the Dask cluster of this scheduler, such as tcp://10.0.0.1:8786.",
    ),
]
Unknown = Annotated[
    bool,
    typer.Option("--unknown", help="Allow [UNK], the token for unknown words, to be sampled."),
]
Chat = Annotated[
    bool,
    typer.Option("--chat", help="The prompt is a message to a chat model, in its template."),
]


Color = Annotated[
    str | None,
    typer.Option(
        metavar="[WHEN]",
        help="Colour words by their surprisal under the model. WHEN is auto, always or never; "
        "without WHEN: auto, which is on a terminal.",
    ),
]


def sampler_of(built: Mapping[str, Any], sampler: str | None, preset: str | None) -> Sampler:
    """Return the chosen sampler, and note likely mistakes in it on standard error."""
    # Late, as few commands need a sampler.
    from corelm.questions.linting import lint
    from corelm.registry.expressions import sampler as read_sampler

    if preset is not None:
        chosen: Sampler = import_module("corelm_presets.engine_presets").preset(preset)
    else:
        chosen = built["sampler"] if "sampler" in built else read_sampler(sampler or "")
    for text in lint(chosen):
        messages.tell(f"note: {text}")
    return chosen


def is_colored(out: Output, mode: str | None) -> bool:
    """Return True if `--color` asks for words in colours; None is without the option."""
    if mode is None:
        return False
    out.set_color(COLOR.convert(mode))
    return True


def with_chosen_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Return a command with the options of the sampler and the decoder that it is called with.

    Args:
        command: the command, a function of the command's name.

    Raises:
        UsageError: an unknown sampler, decoder or option.
    """
    name, arguments = called.get()
    if name not in (command.__name__, f"{OWN}:{command.__name__}"):  # another command is called
        return extended(command, [])
    own = {**own_options(command), "--help": False}
    options, _ = scan(arguments, own)
    # Twice: the first pass finds the sampler, whose options the second pass can then read.
    if completed_words() is not None:
        try:
            with Output.open():
                chosen = _chosen(options, own)
        except CorelmError:  # a name is incomplete
            chosen = []
        return extended(command, chosen)
    with Output.open():
        chosen = _chosen(options, own)
    existing = own | {name: value for choice in chosen for name, value in choice.options.items()}
    options, words = scan(arguments, existing)
    if not options.keys() <= existing.keys():
        from corelm.cli.unknown_options import refuse_unknown  # late: for an error alone

        refuse_unknown(arguments, existing, chosen)
    if len(words) > 1:
        raise UsageError(f"one prompt, not {len(words)}: put it in quotation marks")
    _note_clashes(options, own, chosen)
    return extended(command, chosen)


def own_options(command: Callable[..., Any]) -> dict[str, bool]:
    """Return the options of a command, and True for each that takes a value.

    By convention each is the flag of its argument's name; one that takes no value is a bool.
    """
    arguments = inspect.signature(command, eval_str=True).parameters
    types = {own_flag(name): p.annotation for name, p in arguments.items()}
    return {name: bool not in (type_, *typing.get_args(type_)) for name, type_ in types.items()}


def _chosen(options: Mapping[str, str | None], own: Collection[str]) -> list[Chosen]:
    """Return the sampler and the decoder that the command line names, with their options."""
    from corelm.registry.expressions import Expression, is_name

    chosen = []
    sampler, preset = options.get("--sampler"), options.get("--preset")
    if sampler is not None and preset is not None:
        raise UsageError(
            f"--sampler or --preset, not both: `corelm presets {preset}` prints an expression "
            "that you can edit and pass to --sampler"
        )
    if sampler is not None and is_name(sampler):
        of_sampler = Chosen.of("sampler", registry().sampler(sampler.strip()), RESERVED)
        chosen.append(replace(of_sampler, name=sampler.strip()))
    elif sampler is None and preset is None:
        default = Expression.built_in(SAMPLER)
        of_sampler = Chosen.of("sampler", type(default), RESERVED, t=TEMPERATURE)
        chosen.append(replace(of_sampler, name=default.name))
    if "--decoder" in own:
        reserved = RESERVED.union(*(choice.options for choice in chosen))
        cls = registry().decoder(options.get("--decoder") or f"{OWN}:{DECODER}")
        chosen.append(Chosen.of("decoder", cls, reserved))
    return chosen


def _note_clashes(options: Collection[str], own: Collection[str], chosen: Sequence[Chosen]) -> None:
    """Note an option of the command that has the name of a parameter.

    `--length 3` is the command's own option also when the sampler has a parameter `length`.
    """
    for choice in chosen:
        for parameter, (option, *_) in choice.names.items():
            name = flag(parameter)
            if name != option and name in options and name in own and option not in options:
                messages.tell(
                    f"note: {name} is the option of the command; the parameter {parameter} of "
                    f"the {choice.kind} {choice.cls.name} is {option}"
                )


STDIN = "-"
LARGEST = 2**25
"""The largest prompt, or file of prompts, in bytes."""


def read_prompt(argument: str | None, file: str | None) -> str | None:
    """Return the prompt on the command line, in a file or in standard input; None without one.

    Args:
        argument: the argument of the command, or `-` for standard input.
        file: a file with the prompt.

    Raises:
        UsageError: two prompts, one that cannot be read, or one that is not UTF-8.
    """
    if argument is not None and file is not None:
        raise UsageError("a prompt or --prompt-file, not both")
    if file is not None:
        return read_text(file, "the prompt file")
    return read_text(STDIN, "the prompt") if argument == STDIN else argument


def read_text(file: str, what: str, limit: int = LARGEST) -> str:
    """Return the text of a file, or of standard input.

    Args:
        file: the file, or `-` for standard input.
        what: its purpose, for messages, such as "the prompt file".
        limit: the most bytes, since /dev/zero never ends.

    Raises:
        UsageError: a file that cannot be read, is longer, or is not UTF-8.
    """
    source = "standard input" if file == STDIN else f"{what} {file}"
    if file == STDIN and sys.stdin is None:
        raise UsageError(f"{source} is closed: {what} cannot be read from it")
    try:
        if file != STDIN:
            with open_input(file) as stream:
                data = stream.read(limit + 1)
        else:
            data = sys.stdin.buffer.read(limit + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"cannot read {source}: {reason}") from None
    if len(data) > limit:
        raise UsageError(f"{source} is too long: more than {limit >> 20} MiB")
    return _decoded(data, source)


def _decoded(data: bytes, source: str) -> str:
    """Return the text of bytes, without a byte order mark and the newline at its end."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{source} is not UTF-8: byte {data[error.start]:#04x} at position {error.start}"
        ) from None
    return text.replace("\r\n", "\n").removesuffix("\n")


def prompt_for(model: LanguageModel, prompt: str | None, chat: bool = False) -> str:
    """Return the prompt, or the model's own if there is none; note what the model can't read.

    Args:
        model: the language model.
        prompt: the prompt.
        chat: it is a message, to write in the model's chat template.

    Raises:
        UsageError: a message to a model without a template.
    """
    # Late here and below: a command without a model reads arguments too.
    from corelm.abilities import FullVocabulary
    from corelm.models import NamedModel

    if prompt is None:
        prompt = NamedModel.MESSAGE if chat else NamedModel(model).default_prompt
    else:
        note_prompts(model, [prompt])
    return FullVocabulary(model.vocabulary).message(prompt) if chat else prompt


def note_prompts(model: LanguageModel, prompts: Sequence[str]) -> None:
    """Note what the model can't read of prompts."""
    from corelm.models import NamedModel

    for note in NamedModel(model).notes(prompts):
        messages.tell(f"note: {note}")
