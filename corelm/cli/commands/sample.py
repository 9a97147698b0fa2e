"""`corelm sample`: write texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from corelm.abilities import FullVocabulary
from corelm.cli.applications import TextCommand
from corelm.cli.choices import (
    DECODER,
    STDIN,
    Chat,
    Color,
    DecoderChoice,
    Device,
    Dtype,
    Model,
    Preset,
    Prompt,
    SamplerChoice,
    Scheduler,
    Unknown,
    Workers,
    is_colored,
    note_prompts,
    prompt_for,
    read_prompt,
    read_text,
    sampler_of,
    with_chosen_options,
)
from corelm.cli.output import messages
from corelm.cli.output.messages import Output
from corelm.cli.output.texts import RecordWriter, SampleRequest, write
from corelm.contracts.language_model import LanguageModel
from corelm.contracts.params import Parameter
from corelm.decoding.draws import RandomStream
from corelm.errors import MissingDependencyError, UsageError
from corelm.generation.endings import REPEATS, Endings
from corelm.generation.generate import Texts
from corelm.registry.loading import MODEL, label
from corelm.registry.models import load
from corelm.registry.offers import entry_points
from corelm.registry.strategies import Strategy
from corelm.text.lines import SUFFIXES, text_lines

if TYPE_CHECKING:
    from corelm.cli.output.alternatives import Alternatives

LENGTH = Parameter.of("length", int, 50, ge=0)
N = Parameter.of("n", int, 1, ge=1)
SEED = Parameter.of("seed", int, None, ge=0)
ALTERNATIVES = Parameter.of("alternatives", int, 0, ge=0, le=20)
LOOP = Parameter.of("stop_loop", int, None, ge=2)
GROUPS = {
    "The most important options": ("sampler", "model", "length", "n", "seed"),
    "The text": ("preset", "decoder", "stop", "prompt_file", "chat", "unknown"),
    "Output": ("json", "no_stream", "color", "alternatives", "output", "receipt"),
    "Runs": ("device", "dtype", "workers", "scheduler", "resume"),
}
"""The options by the headings of the help."""
SHORT_HELP = "Write texts with a language model."


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    cls = TextCommand.of(None, GROUPS)
    app.command("sample", cls=cls, short_help=SHORT_HELP)(with_chosen_options(sample))


def sample(
    prompt: Prompt = None,
    *,
    sampler: SamplerChoice = None,
    preset: Preset = None,
    decoder: DecoderChoice = DECODER,
    model: Model = MODEL,
    device: Device = None,
    dtype: Dtype = None,
    length: Annotated[
        str, typer.Option(metavar="INTEGER", help="The largest number of tokens to draw.")
    ] = str(LENGTH.default),
    n: Annotated[str, typer.Option("-n", metavar="INTEGER", help="The number of texts.")] = str(
        N.default
    ),
    seed: Annotated[
        str | None,
        typer.Option(
            metavar="INTEGER",
            help="The random seed: the same seed gives the same texts. Default: a new one, which "
            "is shown.",
        ),
    ] = None,
    stop: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="End before this text; may be given more than once."),
    ] = None,
    stop_regex: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN",
            help="End before a match of this regular expression; may be given more than once.",
        ),
    ] = None,
    stop_loop: Annotated[
        str | None,
        typer.Option(
            metavar="[N]",
            help=f"End when the last phrase has occurred N times in a row. Without N: {REPEATS}.",
        ),
    ] = None,
    prompt_file: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Read the prompt from a file; from a .jsonl file several, one JSON string or "
            'object with a "prompt" in each line.',
        ),
    ] = None,
    chat: Chat = False,
    unknown: Unknown = False,
    json: Annotated[
        bool,
        typer.Option("--json", help="One JSON document, with every token's surprisal and entropy."),
    ] = False,
    no_stream: Annotated[
        bool,
        typer.Option("--no-stream", help="Write each text when it is complete, not word by word."),
    ] = False,
    color: Color = None,
    alternatives: Annotated[
        str,
        typer.Option(
            metavar="INTEGER",
            help="Write this number of likely words under each word; in parentheses, words that "
            "the sampler removed.",
        ),
    ] = str(ALTERNATIVES.default),
    output: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Write the texts into this file, a line of JSON each, or as Parquet if its name "
            "ends with .parquet.",
        ),
    ] = None,
    receipt: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Write into this file what anyone needs to recompute each draw, for `corelm "
            "verify`; needs corelm-replay.",
        ),
    ] = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue an unfinished file of --output.")
    ] = False,
    built: Mapping[str, Any],
) -> None:
    """Write texts with a language model.

    Texts go to standard output, everything else to standard error. A parameter of the sampler
    whose name is an option of this command, such as length, is given as --sampler-length.

    \b
    corelm sample "This movie" --sampler temperature --t 0.2
    corelm sample --sampler "temperature(t=0.5) | greedy" -n 3 --seed 1
    corelm sample -n 1000000 --output texts.jsonl --workers 8
    corelm sample --prompt-file prompts.jsonl --output texts.jsonl
    """
    where = (workers, scheduler, resume)
    count = ALTERNATIVES.convert(alternatives)
    _refuse_unused(output, where, json or no_stream or color is not None or count > 0)
    with Output.open() as out:
        prompts = _prompts(prompt, prompt_file)
        if receipt is not None and (prompts or output is not None):
            raise UsageError("--receipt is of one text: leave out --output and a file of prompts")
        text = None if prompts else read_prompt(prompt, prompt_file)
        chosen = sampler_of(built, sampler, preset)
        file = None
        if output is not None:
            from corelm.cli.many_texts import Destination  # late: few texts need no workers
            from corelm.scaling.executor import Executor

            file = Destination(Path(output), Executor.of(workers, scheduler), resume)
        # Texts added to a file continue its run, so they need its seed.
        stored = None if file is None else file.stored_seed()
        if seed is None and stored is not None:
            seed = str(stored)
        settings: dict[str, Any] = {
            "length": LENGTH.convert(length),
            "n": N.convert(n),
            "seed": RandomStream.fresh_seed() if seed is None else SEED.convert(seed),
            "endings": Endings.of(
                stop or [],
                stop_regex or [],
                None if stop_loop is None else LOOP.convert(stop_loop),
            ),
        }
        language_model = load(model, device=device, dtype=dtype)
        note_prompts(language_model, prompts)
        if chat:
            prompts = [FullVocabulary(language_model.vocabulary).message(each) for each in prompts]
        texts = Texts(
            prompt=prompts[0] if prompts else prompt_for(language_model, text, chat),
            strategy=Strategy(chosen, built["decoder"]),
            unknown=unknown,
            **settings,
        )
        request = SampleRequest(
            label(model), language_model, texts, prompts, is_colored(out, color),
            _alternatives(language_model, texts.prompt, prompts, count),
            None if receipt is None else _receipt(receipt, model, language_model, texts),
            is_answer=chat,
        )  # fmt: skip
        if seed is None:
            messages.tell(f"drawn with --seed {texts.seed}", "note")
        if file is not None:
            file.write(request)
            return
        write(request, out, json, whole=no_stream)
        if receipt is not None and request.record is not None:
            request.record.write(receipt)


def _prompts(prompt: str | None, file: str | None) -> list[str]:
    """Return the prompts of a .jsonl file; none for another file, or none at all."""
    if file is None or prompt is not None or not file.endswith(SUFFIXES):
        return []
    lines = text_lines(read_text(file, "the prompt file"), file, "prompt", "cluster")
    return [text for text, _ in lines]  # the cluster is for reports


def _alternatives(
    model: LanguageModel, prompt: str, prompts: Sequence[str], count: int
) -> Alternatives | None:
    """Return a recorder of each word's likely alternatives; None if none are requested.

    Raises:
        UsageError: several prompts.
    """
    if not count:
        return None
    if prompts:
        raise UsageError("--alternatives takes one prompt, not a file of prompts")
    from corelm.cli.output.alternatives import Alternatives  # late: few texts need it

    return Alternatives(model.vocabulary, prompt, count)


def _receipt(file: str, name: str, model: LanguageModel, texts: Texts) -> RecordWriter:
    """Return what records a text for a receipt.

    Raises:
        UsageError: not one text, or one whose tokens don't follow from the seed and the chain; or
            a file that can't be written.
        MissingDependencyError: corelm-replay is not installed.
    """
    if texts.n != 1:
        raise UsageError("--receipt is of one text: leave out -n")
    if file == STDIN:
        raise UsageError("--receipt takes a file: standard output has the text")
    decoder = texts.strategy.decoder
    if texts.unknown or (decoder is not None and not decoder.is_ancestral):
        raise UsageError(
            "--receipt is of tokens that the sampler draws one by one: leave out --decoder and "
            "--unknown"
        )
    folder = Path(file).parent
    if not folder.is_dir():
        raise UsageError(f"cannot write to {file!r}: {folder} is not a folder")
    offers = [each for each in entry_points("corelm.records") if each.name == "receipt"]
    if not offers:
        raise MissingDependencyError("--receipt needs corelm-replay: pip install corelm-replay")
    make: Callable[..., RecordWriter] = offers[0].load()
    return make(name, model, prompt=texts.prompt, sampler=texts.strategy.sampler, seed=texts.seed)


def _refuse_unused(output: str | None, where: tuple[Any, ...], is_for_stdout: bool) -> None:
    """Raise if an option would have no effect."""
    if output is None and where != (None, None, False):
        raise UsageError("--workers, --scheduler and --resume need --output FILE")
    if output == STDIN:
        raise UsageError("--output writes a file: leave it out to write to standard output")
    if output is not None and is_for_stdout:
        raise UsageError(
            "--json, --no-stream, --color and --alternatives are for standard output: leave out "
            "--output"
        )
