"""Write texts word by word, whole, or as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from corelm.cli.applications import PartialError
from corelm.cli.output import messages
from corelm.cli.output.messages import Output
from corelm.cli.output.words import WordTable, share, style_of
from corelm.contracts.language_model import LanguageModel
from corelm.contracts.step import Step
from corelm.errors import SamplerError
from corelm.generation.generate import Texts, batches
from corelm.generation.open_texts import Generation, OpenTexts

if TYPE_CHECKING:
    from corelm.cli.output.alternatives import Alternatives


class RecordWriter(Protocol):
    """A file about one text, which a package offers in the group `corelm.records`.

    It is called with the arguments of `corelm.stream` that decide the text: `model_name`, `model`,
    `prompt`, `sampler` and `seed`.
    """

    def watch(self, steps: Iterator[Step]) -> Iterator[Step]:
        """Yield the steps, and keep what the file is to hold."""

    def write(self, file: str) -> None:
        """Write the file, after the text."""


class SampleRequest(NamedTuple):
    """The texts to draw, and the model that draws them.

    Attributes:
        model_name: the name of the model.
        model: the model.
        texts: the texts of one prompt.
        prompts: the prompts, if there are several; empty for one.
        is_colored: colour words by their surprisal.
        alternatives: records the likely words in place of each; None for texts alone.
        record: records the steps of the text for a file; None without one.
        is_answer: leave out the prompts: they are messages in the marks of a chat template.
    """

    model_name: str
    model: LanguageModel
    texts: Texts
    prompts: Sequence[str] = ()
    is_colored: bool = False
    alternatives: Alternatives | None = None
    record: RecordWriter | None = None
    is_answer: bool = False

    def write_prompt(self, prompt: str, out: Output) -> None:
        """Write a prompt before its text."""
        out.text("" if self.is_answer else prompt, bold=True)

    @property
    def total(self) -> int:
        """The number of texts."""
        return self.texts.n * (len(self.prompts) or 1)

    def steps(self, samples: Sequence[int], measured: bool = False) -> Iterator[Step]:
        """Yield the steps of some samples."""
        steps = self.texts.steps(self.model, samples, measured)
        for watching in (self.alternatives, self.record):
            steps = steps if watching is None else watching.watch(steps)
        return steps

    @property
    def is_streamed(self) -> bool:
        """True if a text is written word by word as it is drawn.

        A stop string holds words back, whose colours would be lost.
        """
        held_back = self.is_colored and bool(self.texts.endings.stops)
        is_plain = self.alternatives is None and not held_back
        return self.total == 1 and not self.prompts and is_plain


def write(request: SampleRequest, out: Output, json: bool, whole: bool) -> None:
    """Write the texts of a request."""
    plain = _write_stream if request.is_streamed and not whole else _write_texts
    (_write_json if json else plain)(request, out)


def _write_stream(request: SampleRequest, out: Output) -> None:
    open_texts = request.texts.open(request.model, (0,))
    request.write_prompt(request.texts.prompt, out)
    written, line_end = 0, "\n"
    try:
        for step in open_texts.stream(request.steps((0,))):
            style = style_of(float(step.model_surprisal[0])) if request.is_colored else {}
            out.text(step.text, **style)
            written += len(step.text)
            if step.finish_reason:  # before messages of a decoder that has finished
                out.text(line_end)
                line_end = ""
    except (Exception, KeyboardInterrupt) as error:
        for text in getattr(error, "generations", ()):
            out.text(text.text[written:])  # held back, as it may have begun a stop string
            written = len(text.text)
        if not (written or (request.texts.prompt and not request.is_answer)):
            line_end = ""  # no line was begun
        raise
    finally:
        out.text(line_end)
    _note_masks(open_texts.generations())


def _write_texts(request: SampleRequest, out: Output) -> None:
    """Write texts in order; if there are several, each under its number."""
    texts = []
    measured = request.is_colored or request.alternatives is not None
    for number, text in enumerate(_texts(request, measured)):
        if request.total > 1:
            out.text(f"[{number}]\n", dim=True)
        request.write_prompt(text.prompt, out)
        if request.alternatives is not None:
            out.text("\n")
            _write_alternatives(text, request, request.alternatives, out)
        else:
            for piece, step in text.pieces() if request.is_colored else [(text.text, None)]:
                out.text(piece, **(style_of(step.model_surprisal) if step else {}))
            out.text("\n\n" if request.total > 1 else "\n")
        texts.append(text)
    _note_masks(texts)


def _write_alternatives(
    text: Generation, request: SampleRequest, alternatives: Alternatives, out: Output
) -> None:
    """Write each word with its probability and the likely words under it."""
    table = WordTable(out)
    own, others = alternatives.own[text.sample], alternatives.of_samples[text.sample]
    for step, drawn, likely in zip(text.steps, own, others, strict=False):
        style = style_of(step.model_surprisal) if request.is_colored else {"bold": True}
        table.add(drawn.text, [share(drawn.probability), *map(str, likely)], style)
    table.end()


def _note_masks(texts: Sequence[Generation]) -> None:
    """Note where a mask was cut off, or overruled the stages before it."""
    cut_off = sum(text.is_cut_off for text in texts)
    if cut_off:
        subject = "the text is" if len(texts) == 1 else f"{cut_off} of {len(texts)} texts are"
        messages.tell(
            f"note: {subject} cut off where the sampler allows no end; "
            "draw more tokens with --length",
            "note",
        )
    fallbacks = sum(text.fallbacks for text in texts)
    if fallbacks:
        tokens = "one token" if fallbacks == 1 else f"{fallbacks} tokens"
        messages.tell(
            f"note: at {tokens}, the stages before a mask kept nothing that it allows, so the "
            "likeliest of these was drawn; put the mask first",
            "note",
        )


def _write_json(request: SampleRequest, out: Output) -> None:
    """Write one document; on failure it holds the texts so far and the error."""
    from importlib.metadata import version

    from corelm import machine

    here = machine.facts()
    document: dict[str, Any] = {
        "corelm": version("corelm"),
        **{key: here[key] for key in ("numpy", "processor", "kernels", "vector_width")},
        "model": request.model_name,
        "sampler": str(request.texts.strategy.sampler),
        "decoder": str(request.texts.strategy.decoder),
        "seed": request.texts.seed,
        **(
            {"prompts": [*request.prompts]} if request.prompts else {"prompt": request.texts.prompt}
        ),
        "length": request.texts.length,
        **request.texts.endings.settings,
        "texts": [],
    }
    try:
        for text in _texts(request, measured=True):
            of_prompt = {"prompt": text.prompt} if request.prompts else {}
            document["texts"].append(of_prompt | _as_json(text, request.alternatives))
    except Exception as error:
        out.json(document | {"error": str(error)})
        raise
    out.json(document)


def _texts(request: SampleRequest, measured: bool = False) -> Iterator[Generation]:
    """Yield the texts; on failure, yield the texts so far and then raise.

    Raises:
        PartialError: an error ended a text after others were complete.
    """
    complete = 0
    for texts, failure in _written(request, measured):
        try:
            written = texts.generations()
        except SamplerError as error:  # of a mask, after the last token
            written, failure = error.generations, error  # type: ignore[attr-defined]
        yield from written
        complete += sum(reason is not None for reason in texts.finish_reasons)
        if isinstance(failure, Exception) and complete:
            raise PartialError(failure, f"{complete} of {request.total} texts are complete")
        if failure:
            raise failure


def _written(
    request: SampleRequest, measured: bool
) -> Iterator[tuple[OpenTexts, BaseException | None]]:
    """Yield batches of finished texts, each with the error that cut it short, or None."""
    if request.prompts:
        from corelm.generation.continuous_batch import ContinuousBatch

        parts = chain.from_iterable(request.texts.batches(request.prompts))
        for ended in ContinuousBatch.in_order(request.model, parts, measured):
            yield ended.open_texts, ended.error
        return
    for samples in batches(request.texts.n):
        texts = request.texts.open(request.model, samples, measured)
        yield texts, _failure(texts.take(request.steps(samples, measured)))


def _failure(drawn: Iterator[Any]) -> BaseException | None:
    """Draw to the end; return the error that stopped it, if any."""
    try:
        for _ in drawn:
            pass
    except (Exception, KeyboardInterrupt) as error:
        return error
    return None


def _as_json(text: Generation, alternatives: Alternatives | None) -> dict[str, Any]:
    tokens = [asdict(step) for step in text.steps]
    if alternatives is not None:
        for place, token in enumerate(tokens):
            token["alternatives"] = alternatives.as_json(text.sample, place)
    return {
        "sample": text.sample,
        "text": text.text,
        "finish_reason": text.finish_reason,
        "is_cut_off": text.is_cut_off,
        "constraint_cost": text.constraint_cost,
        "fallbacks": text.fallbacks,
        "tokens": tokens,
    }
