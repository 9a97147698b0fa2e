"""`corelm explain`: one next token, stage by stage."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Annotated, Any

import typer

from corelm.cli.options.choices import (
    Model,
    Preset,
    Prompt,
    PromptFile,
    SamplerChoice,
    Unknown,
    loaded,
    sampler_of,
)
from corelm.cli.options.prompt import argument, read_prompt
from corelm.cli.output.product import product
from corelm.generation.explain import Explanation, Stage, TokenTrace
from corelm.generation.explain import explain as measure
from corelm.model.load import MODEL, label
from corelm.params import Parameter, Rule

TOP = Parameter("top", int, 10, Rule(ge=0))


def explain(
    prompt: Prompt = None,
    *,
    sampler: SamplerChoice = None,
    preset: Preset = None,
    token: Annotated[
        str | None, typer.Option(metavar="WORD", help="Follow this word through all stages.")
    ] = None,
    top: Annotated[
        str,
        typer.Option(
            metavar="INTEGER",
            help="How many of the model's likeliest tokens to show, and of the last stage's.",
        ),
    ] = str(TOP.default),
    model: Model = MODEL,
    prompt_file: PromptFile = None,
    unknown: Unknown = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
    built: Mapping[str, Any],
) -> None:
    """Show what every stage of a sampler does to the next token's distribution.

    The entropy and the tokens that are left at every stage, the likeliest tokens with their
    probability before and after it, and what it removed.

    \b
    corelm explain "This movie" --sampler "top_p(p=0.9) | temperature(t=0.7)"
    corelm explain "This movie" --sampler top_k --k 40 --token terrible
    corelm explain "This movie" --preset llama.cpp
    """
    with product() as out:
        text = read_prompt(prompt, prompt_file)
        chosen = sampler_of(built, sampler, preset)
        shown = TOP.convert(top)
        explanation = measure(loaded(model), text, chosen, unknown=unknown)
        followed = None if token is None else explanation.trace(argument(token))
        if json:
            out.json(_document(label(model), explanation, followed, shown))
            return
        from corelm.cli.output.explanation import Explained

        out.show(*Explained(explanation, out.width).page(followed, shown))


def _document(
    model: str, explanation: Explanation, followed: TokenTrace | None, top: int
) -> dict[str, Any]:
    """All of it; entropies are in nats unless they say bits."""
    return {
        "corelm": version("corelm"),
        "model": model,
        "sampler": str(explanation.sampler),
        "prompt": explanation.prompt,
        "stages": [_stage(explanation, at, top) for at in range(len(explanation.stages))],
        "likeliest": [_followed(one) for one in explanation.likeliest(top)],
        "followed": followed and _followed(followed),
    }


def _stage(explanation: Explanation, at: int, top: int) -> dict[str, Any]:
    stage = explanation.stages[at]
    before = explanation.stages[max(at - 1, 0)]
    removed = [
        _removed(explanation, before, token) for token in stage.removed_tokens[:top].tolist()
    ]
    return {
        "sampler": None if stage.sampler is None else str(stage.sampler),
        "changed": stage.changed,
        "entropy": stage.entropy,
        "entropy_bits": stage.entropy_bits,
        "effective_choices": stage.effective_choices,
        "kept": stage.tokens_kept,
        "kept_mass": stage.mass_kept,
        "removed": len(stage.removed_tokens),
        "removed_mass": stage.removed_mass,
        "likeliest_removed": removed,
    }


def _removed(explanation: Explanation, before: Stage, token: int) -> dict[str, Any]:
    probability = float(before.distribution[token])
    return {"token": token, "text": explanation.text_of(token), "probability": probability}


def _followed(one: TokenTrace) -> dict[str, Any]:
    return {
        "token": one.token,
        "text": one.text,
        "probabilities": one.probabilities,
        "ranks": one.ranks,
        "removed_by": one.removed_by,
    }
