"""`corelm score`: the surprisal of each word of given texts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Annotated, Any

import typer

from corelm.abilities import FullVocabulary
from corelm.cli.applications import application
from corelm.cli.choices import (
    Chat,
    Color,
    Device,
    Dtype,
    Model,
    is_colored,
    read_text,
)
from corelm.cli.output import messages
from corelm.cli.output.messages import Output
from corelm.cli.output.words import WordTable, style_of
from corelm.contracts.hookspecs import hookimpl
from corelm.contracts.language_model import LanguageModel
from corelm.errors import UsageError
from corelm.models import NamedModel
from corelm.questions.scoring import ScoredText, ScoredTotal, score
from corelm.registry.loading import MODEL, label
from corelm.registry.models import load
from corelm.text.lines import SUFFIXES, text_lines
from corelm.text.printable import one_line

Human = Mapping[str, float] | None
"""The surprisal of human text under the model, if it was measured."""
BEGINNING = 20
"""The number of characters of a text that name its row in the table."""


@hookimpl
def corelm_commands() -> dict[str, Any]:
    return {"score": application(score_file, "Show how surprising given texts are.")}


def score_file(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="A text; or a .jsonl file with a JSON string, or an object with a text and a "
            "prompt, in each line; - reads a text from standard input.",
        ),
    ],
    model: Model = MODEL,
    device: Device = None,
    dtype: Dtype = None,
    unknown: Annotated[
        bool, typer.Option("--unknown", help="Score [UNK], the token for unknown words, too.")
    ] = False,
    chat: Chat = False,
    brief: Annotated[
        bool, typer.Option("--brief", help="Show the figures of each text, and no words.")
    ] = False,
    color: Color = "auto",
    json: Annotated[
        bool,
        typer.Option("--json", help="One JSON document, with every word and every token."),
    ] = False,
) -> None:
    """Show how surprising each word of given texts is to a model.

    Under each word stands its surprisal in nats, -ln of the probability that the model gave it
    (1 nat is 1.44 bits). A text has the mean over its tokens, and its exponential, the perplexity.
    The words of a prompt are read and not scored.

    \b
    corelm score review.txt
    corelm score texts.jsonl --brief --model gpt2
    echo "This movie was great" | corelm score -
    """
    with Output.open() as out:
        texts = read_texts(file)
        language_model = load(model, device=device, dtype=dtype)
        read = _in_template(language_model, texts) if chat else texts
        scored = [
            replace(each, prompt=prompt)
            for each, (prompt, _) in zip(score(language_model, read, unknown), texts, strict=True)
        ]
        human = NamedModel(language_model).human_surprisal
        if json:
            out.json(_document(label(model), scored, human))
            return
        _note(language_model, texts, unknown)
        is_colored(out, color)
        if not brief:
            for number, text in enumerate(scored):
                _write(number, len(scored), text, human, out)
        if brief or len(scored) > 1:
            _write_table(scored, human, out)


def _in_template(model: LanguageModel, texts: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return answers with their messages in the model's chat template.

    Raises:
        UsageError: a text without a message, or a model without a template.
    """
    if not all(prompt for prompt, _ in texts):
        raise UsageError(
            "--chat scores answers to messages: give a .jsonl file with a prompt and a text in "
            "each line"
        )
    return [(FullVocabulary(model.vocabulary).message(prompt), text) for prompt, text in texts]


def _note(model: Any, texts: Sequence[tuple[str, str]], unknown: bool) -> None:
    """Note the words that the model does not know, which have no surprisal."""
    words = NamedModel(model).unknown_words(text for _, text in texts)
    if words and not unknown:
        messages.tell(
            f"note: the model does not know {words}: without --unknown, [UNK] has no surprisal"
        )


def _write(number: int, count: int, text: ScoredText, human: Human, out: Output) -> None:
    """Write a text as words with their surprisal."""
    if count > 1:
        out.text(f"[{number}]\n", dim=True)
    if text.prompt:
        out.text(f"{text.prompt}\n", bold=True)
    table = WordTable(out)
    for word in text.words:
        table.add(word.text, [_number(word.surprisal)], style_of(word.surprisal))
    table.end()
    if count == 1:
        out.text(
            f"{len(text.scored):,} tokens, {_number(text.surprisal)} nats: {_number(text.mean)} a "
            f"token, perplexity {_number(text.perplexity)}\n"
        )
        loop = "ends in a loop" if text.is_loop else "does not end in a loop"
        people = f"; human text has {_number(human['mean'])} nats a token" if human else ""
        out.text(f"rep-4 {_number(text.rep_4, '.0%')}, {loop}{people}\n")


def _write_table(scored: Sequence[ScoredText], human: Human, out: Output) -> None:
    from corelm.cli.output import blocks

    compared = ("from human",) if human else ()
    headers = ("", "tokens", "mean nats", *compared, "perplexity", "rep-4", "loop")
    rows = [
        _row(f"[{number}] {_beginning(text.text)}", len(text.scored), text, human, text.is_loop)
        for number, text in enumerate(scored)
    ]
    if len(scored) > 1:
        total = ScoredTotal.of(scored)
        rows.append(_row("all", total.tokens, total, human, total.loops))
    out.show(blocks.figures(headers, rows))


def _row(
    name: str, tokens: int, of: ScoredText | ScoredTotal, human: Human, loops: bool | float
) -> tuple[str, ...]:
    """Return the cells of one text, or of all texts; `from human` is a difference in mean nats."""
    distance = (_number(of.mean - human["mean"], "+.2f"),) if human else ()
    loop = ("yes" if loops else "no") if isinstance(loops, bool) else _number(loops, ".0%")
    nats = (_number(of.mean), *distance, _number(of.perplexity))
    return (name, f"{tokens:,}", *nats, _number(of.rep_4, ".0%"), loop)


def _beginning(text: str) -> str:
    line = one_line(text.strip())
    return line if len(line) <= BEGINNING else f"{line[: BEGINNING - 3]}..."


def _number(value: float, form: str = ".2f") -> str:
    return "-" if math.isnan(value) else f"{value:{form}}"


def _document(model: str, scored: Sequence[ScoredText], human: Human) -> dict[str, Any]:
    """Return the scores for JSON; surprisals and entropies are in nats."""
    from importlib.metadata import version  # takes 13 ms

    total = ScoredTotal.of(scored)
    return {
        "corelm": version("corelm"),
        "model": model,
        "human": human,
        "total": {**asdict(total), "perplexity": total.perplexity},
        "texts": [
            {
                "prompt": text.prompt,
                "text": text.text,
                "scored_tokens": len(text.scored),
                "surprisal": text.surprisal,
                "mean_surprisal": text.mean,
                "perplexity": text.perplexity,
                "rep_4": text.rep_4,
                "loops": text.is_loop,
                "words": [asdict(word) for word in text.words],
                "tokens": [asdict(token) for token in text.tokens],
            }
            for text in scored
        ],
    }


def read_texts(file: str) -> list[tuple[str, str]]:
    """Return the texts in a file, each with its prompt.

    A .jsonl file has a text in each line: a JSON string, or an object with a "text" and perhaps a
    "prompt", as `corelm sample --output` writes it. Any other file is one text.

    Args:
        file: the file, or `-` for standard input.

    Raises:
        UsageError: a file that cannot be read, or without a text.
    """
    content = read_text(file, "the text")
    if not content:
        raise UsageError(f"there is no text in {file}")
    if not file.endswith(SUFFIXES):
        return [("", content)]
    lines = text_lines(content, file, "text", "prompt")
    return [("" if prompt is None else str(prompt), text) for text, prompt in lines]
