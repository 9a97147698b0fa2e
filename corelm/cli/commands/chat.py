"""`corelm chat`: talk with a model that has a chat template."""

from __future__ import annotations

import contextlib
import sys
from typing import Annotated, Any

import typer

from corelm.cli.applications import application
from corelm.cli.output import messages
from corelm.cli.output.messages import Output
from corelm.cli.output.words import style_of
from corelm.contracts.hookspecs import hookimpl
from corelm.contracts.params import Parameter
from corelm.errors import CorelmError, UsageError
from corelm.generation.conversation import Conversation
from corelm.registry.loading import MODEL
from corelm.registry.models import load
from corelm.registry.strategies import Strategy
from corelm.text.printable import did_you_mean

LENGTH = Parameter.of("length", int, 500, ge=1)
SEED = Parameter.of("seed", int, None, ge=0)
SAMPLER = "min_p(p=0.05) | temperature(t=0.8)"
HELP = (
    "/sampler EXPRESSION   sample the next answers in another way; alone, show the sampler",
    "/seed NUMBER          set the random seed; alone, show it",
    "/undo                 forget the last question and its answer",
    "/again                answer the last question once more, with the seed and sampler of now",
    "/quit                 end",
)

LONGEST = 2**20
"""The most bytes of a message on standard input."""
COMMANDS = (*(line.split()[0] for line in HELP), "/help")


@hookimpl
def corelm_commands() -> dict[str, Any]:
    return {"chat": application(chat, "Talk with a model.", word="--model")}


def chat(
    model: str = MODEL,
    sampler: Annotated[
        str,
        typer.Option(metavar="SAMPLER", help="A name from `corelm samplers`, or an expression."),
    ] = SAMPLER,
    system: Annotated[
        str, typer.Option(metavar="TEXT", help="A message to the model before all others.")
    ] = "",
    length: Annotated[
        str, typer.Option(metavar="INTEGER", help="The largest number of tokens of an answer.")
    ] = str(LENGTH.default),
    seed: Annotated[
        str | None,
        typer.Option(
            metavar="INTEGER", help="The random seed. Default: a new one, which is shown."
        ),
    ] = None,
    device: str | None = None,
    dtype: str | None = None,
) -> None:
    """Talk with a model that has a chat template.

    Each line of standard input is a message, or a command: /help lists them. On a terminal, the
    colours show the surprisal of each token under the model: green from 2 nats on, underlined
    from 4, magenta from 6, red from 8, bold from 10. Ctrl-C ends an answer, Ctrl-D the
    conversation.

    \b
    corelm chat --model transformers:Qwen/Qwen3-0.6B
    corelm chat --model gguf:model.gguf --sampler "top_p(p=0.9)" --seed 1
    """
    with Output.open() as out:
        talk = Conversation(
            load(model, device=device, dtype=dtype),
            Strategy.of(sampler),
            seed=None if seed is None else SEED.convert(seed),
            length=LENGTH.convert(length),
            system=system,
        )
        messages.tell(f"seed {talk.seed}; /help lists the commands", "note")
        while (line := _line()) is not None and line != "/quit":
            try:
                if line.startswith("/"):
                    _command(talk, line, out)
                elif line:
                    _answer(talk, line, out)
            except CorelmError as error:  # the conversation continues
                messages.tell(str(error), "error")


def _line() -> str | None:
    """Return the next line of standard input; None at its end."""
    interactive = sys.stdin is not None and sys.stdin.isatty()
    if interactive:
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401 - gives `input` a history
    # Line by line: a text stream that cannot decode a byte would lose the lines after it.
    piped = None if interactive else getattr(sys.stdin, "buffer", None)
    try:
        if piped is not None:
            return line.decode().strip() if (line := piped.readline(LONGEST)) else None
        return input("> " if interactive else "").strip()
    except UnicodeDecodeError:
        messages.tell("the message is not UTF-8, so it was left out", "error")
        return ""
    except (EOFError, RuntimeError):  # the latter where standard input is closed
        return None


def _command(talk: Conversation, line: str, out: Output) -> None:
    name, _, value = line.partition(" ")
    value = value.strip()
    match name:
        case "/sampler":
            talk.strategy = Strategy.of(value) if value else talk.strategy
            messages.tell(f"sampler {talk.strategy}", "note")
        case "/seed":
            talk.seed = SEED.convert(value) if value else talk.seed
            messages.tell(f"seed {talk.seed}", "note")
        case "/undo":
            messages.tell(f"forgotten: {talk.undo()}", "note")
        case "/again":
            _answer(talk, talk.undo(), out)
        case "/help":
            messages.tell("\n".join(HELP), "picture")
        case _:
            hint = did_you_mean(name, COMMANDS)
            raise UsageError(f"there is no command {name}{hint} (there are: {', '.join(COMMANDS)})")


def _answer(talk: Conversation, text: str, out: Output) -> None:
    """Write the answer word by word; Ctrl-C ends it."""
    steps = talk.say(text)
    try:
        with contextlib.closing(steps):  # type: ignore[type-var]
            for step in steps:
                out.text(step.text, **style_of(float(step.model_surprisal[0])))
    except KeyboardInterrupt:
        messages.tell("the answer was cut off", "note")
    out.text("\n")
