"""`corelm explain`: show the choice of one next token, stage by stage."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from corelm.cli.applications import application
from corelm.cli.choices import DECODER, DecoderChoice, Unknown
from corelm.cli.inputs import Inputs, with_choices
from corelm.cli.output import messages
from corelm.cli.output.messages import Output
from corelm.contracts.decoder import Decoder
from corelm.contracts.hookspecs import hookimpl
from corelm.contracts.params import Parameter
from corelm.errors import UsageError
from corelm.generation.generate import Ancestral
from corelm.questions.explanation import ExplainedToken, Explanation
from corelm.questions.explanation import explain as explain_token
from corelm.registry.loading import label

TOP = Parameter.of("top", int, 10, ge=0)
STEP = Parameter.of("step", int, 0, ge=0)
SEED = Parameter.of("seed", int, None, ge=0)
SHORT_HELP = "Show how each stage of a sampler changes one distribution."


@hookimpl
def corelm_commands() -> dict[str, Any]:
    groups = {
        "The most important options": ("sampler", "decoder", "model", "token", "top"),
        "The place in the text": ("prompt_file", "chat", "after", "step", "seed"),
    }
    return {"explain": application(with_choices(explain), SHORT_HELP, groups=groups)}


def explain(
    inputs: Inputs,
    *,
    decoder: DecoderChoice = DECODER,
    after: Annotated[
        str | None,
        typer.Option(
            help="Explain the token after this text, whose tokens count as drawn after the prompt.",
        ),
    ] = None,
    step: Annotated[
        str,
        typer.Option(metavar="INTEGER", help="Draw this number of tokens first."),
    ] = str(STEP.default),
    seed: Annotated[
        str | None,
        typer.Option(
            metavar="INTEGER",
            help="The random seed of --step. Default: a new one, which is shown.",
        ),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            metavar="WORD", help="Trace this word, written by any token, through all stages."
        ),
    ] = None,
    top: Annotated[
        str,
        typer.Option(
            metavar="INTEGER",
            help="The number of likeliest tokens to show, of the model and of the last stage.",
        ),
    ] = str(TOP.default),
    unknown: Unknown = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Show how each stage of a sampler changes the next token's distribution.

    Shows the entropy and the number of tokens left after each stage, the likeliest tokens with
    their probability before and after it, and the tokens that it removed. Entropy measures how
    open the choice is, in nats (1 nat is 1.44 bits); "choices" is the number of equally likely
    tokens with the same entropy. A decoder is asked for the tokens that it considers next; which of
    them it takes may depend on the rest of the text.

    \b
    corelm explain "This movie" --sampler "top_p(p=0.9) | temperature(t=0.7)"
    corelm explain "This movie" --sampler top_k --k 40 --token terrible
    corelm explain "This movie" --preset llama.cpp
    corelm explain "This movie" --sampler mirostat --step 20 --seed 1
    corelm explain "This movie" --sampler stochastic --decoder beam --width 4
    """
    with Output.open() as out:
        count, around = TOP.convert(top), inputs.built["decoder"]
        if isinstance(around, Ancestral):  # it adds nothing to the stages that could be explained
            around = None
        drawn = _drawn(after, step, seed, around)
        model, chosen, text = inputs.read()
        explanation = explain_token(model, text, chosen, decoder=around, unknown=unknown, **drawn)
        if drawn["step"] and seed is None:
            messages.tell(f"drawn with --seed {explanation.seed}", "note")
        trace = None if token is None else explanation.trace(token)
        if json:
            out.json(_document(label(inputs.model), explanation, trace, count))
            return
        from corelm.cli.output.explanation import ExplanationPage

        page = ExplanationPage(explanation, out.width)
        out.page(page.blocks(trace, count))


def _drawn(
    after: str | None, step: str, seed: str | None, decoder: Decoder | None
) -> dict[str, Any]:
    """Return the arguments of `explain` for the tokens before the one that is explained.

    Raises:
        UsageError: options that exclude each other.
    """
    count = STEP.convert(step)
    if after is not None and count:
        raise UsageError("--after or --step, not both")
    if seed is not None and not count:
        raise UsageError("--seed needs --step: nothing is drawn without it")
    if decoder is not None and (after or count):
        raise UsageError(
            "--after and --step explain a sampler: leave out --decoder, whose next token may "
            "depend on more than the text so far"
        )
    return {
        "after": after or "",
        "step": count,
        "seed": None if seed is None else SEED.convert(seed),
    }


def _document(
    model: str, explanation: Explanation, trace: ExplainedToken | None, top: int
) -> dict[str, Any]:
    """Return the explanation for JSON; entropies are in nats unless their name ends in bits."""
    from importlib.metadata import version  # takes 13 ms

    return {
        "corelm": version("corelm"),
        "model": model,
        "sampler": str(explanation.sampler),
        "prompt": explanation.prompt,
        "after": explanation.after,
        "seed": explanation.seed,
        "stages": [_stage(explanation, at, top) for at in range(len(explanation.stages))],
        "likeliest": [asdict(one) for one in explanation.likeliest(top)],
        "decoder": explanation.decoder and _decoder(explanation, explanation.decoder),
        "followed": trace and asdict(trace),
    }


def _stage(explanation: Explanation, at: int, top: int) -> dict[str, Any]:
    stage, before = explanation.stages[at], explanation.stages[max(at - 1, 0)].distribution
    removed = [
        {"token": i, "text": explanation.text_of(i), "probability": float(before[i])}
        for i in stage.removed_tokens[:top].tolist()
    ]
    return {
        "sampler": None if stage.sampler is None else str(stage.sampler),
        "branch": stage.branch,
        "changed": stage.changed,
        "entropy": stage.entropy,
        "entropy_bits": stage.entropy_bits,
        "effective_choices": stage.effective_choices,
        "kept": stage.tokens_kept,
        "kept_mass": stage.mass_kept,
        "removed": len(stage.removed_tokens),
        "removed_mass": stage.removed_mass,
        "likeliest_removed": removed,
        "allowed_mass": stage.allowed_mass,
        "fell_back": stage.fell_back,
    }


def _decoder(explanation: Explanation, decoder: Decoder) -> dict[str, Any]:
    considered = explanation.next_tokens
    return {
        "decoder": str(decoder),
        "description": decoder.description(),
        "is_ancestral": decoder.is_ancestral,
        "next_tokens": None
        if considered is None
        else [
            {"token": token, "text": explanation.text_of(token), "score": score}
            for token, score in considered.items()
        ],
    }
