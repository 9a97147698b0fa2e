"""`corelm bench`: how fast texts are written on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated, Any

import typer

from corelm.cli.options.choices import (
    Model,
    Preset,
    Prompt,
    PromptFile,
    SamplerChoice,
    loaded,
    sampler_of,
)
from corelm.cli.options.prompt import read_prompt
from corelm.cli.output.product import Output, product
from corelm.cli.output.progress import stages
from corelm.model.load import MODEL, label
from corelm.params import Parameter, Rule

if TYPE_CHECKING:
    from corelm.generation.benchmark import Speed

BATCHES = ("1", "8", "64")
BATCH = Parameter("batch", int, None, Rule(ge=1))
LENGTH = Parameter("length", int, 50, Rule(ge=2))
SECONDS = Parameter("seconds", float, 10, Rule(ge=0))
NARROW = 60
"""Columns below which the figures of a batch stand under it, not beside it."""


def bench(
    prompt: Prompt = None,
    *,
    sampler: SamplerChoice = None,
    preset: Preset = None,
    model: Model = MODEL,
    batch: Annotated[
        list[str] | None,
        typer.Option(
            metavar="INTEGER",
            help="How many texts are written together; may be given more than once. "
            f"When left out: {', '.join(BATCHES)}.",
        ),
    ] = None,
    length: Annotated[
        str, typer.Option(metavar="INTEGER", help="Tokens to draw for each text, at least 2.")
    ] = str(LENGTH.default),
    seconds: Annotated[
        str, typer.Option(metavar="NUMBER", help="For how long to measure, about.")
    ] = str(SECONDS.default),
    prompt_file: PromptFile = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
    built: Mapping[str, Any],
) -> None:
    """Measure how fast a model and a sampler write on this machine.

    Tokens per second of all texts together, what the sampler and the draw take of a step, and
    how near a step is to its limit: the bare matrix products with the model's weights.

    \b
    corelm bench
    corelm bench --sampler "top_p(p=0.9) | temperature(t=0.7)" --batch 1
    """
    with product() as out:
        text = read_prompt(prompt, prompt_file)
        chosen = sampler_of(built, sampler, preset)
        batches = [BATCH.convert(one) for one in batch or BATCHES]
        tokens, time = LENGTH.convert(length), SECONDS.convert(seconds)
        from corelm.generation.benchmark import measure
        from corelm.machine import machine

        of = partial(measure, loaded(model), text, chosen, length=tokens)
        with stages("rounds") as tell:
            speeds = [
                of(batch=one, seconds=time / len(batches), tell=partial(tell, f"batch {one}"))
                for one in batches
            ]
        about = {"model": label(model), "sampler": str(chosen), "prompt": text, "length": tokens}
        if json:
            document = {"corelm": version("corelm"), "machine": machine(), **about}
            out.json(document | {"batches": list(map(_figures, speeds))})
            return
        _show(out, about, machine(), speeds)


def _figures(speed: Speed) -> dict[str, Any]:
    """The figures of a batch; times are in seconds."""
    return {
        "batch": speed.batch,
        "rounds": speed.rounds,
        "tokens_per_second": speed.tokens_per_second,
        "step_seconds": speed.step,
        "sampler_share": speed.sampler / speed.step,
        "draw_share": speed.draw / speed.step,
        "limit_tokens_per_second": speed.limit,
        "share_of_limit": speed.share_of_limit,
    }


def _show(
    out: Output,
    about: Mapping[str, Any],
    machine: Mapping[str, Any],
    speeds: Sequence[Speed],
) -> None:
    from corelm.cli.output import blocks

    arithmetic = "kernels" if machine["kernels"] else "NumPy alone: no kernels"
    headers = ("batch", "tokens/s", "a step", "sampler", "draw", "limit", "of the limit")
    rows = [_row(speed) for speed in speeds]
    narrow = out.width < NARROW
    out.show(
        blocks.heading(f"{about['model']}, {about['sampler']}, {about['length']} tokens"),
        blocks.line(f"{machine['processor']}, {machine['cores']} cores, {arithmetic}", "dim"),
        blocks.line(""),
        blocks.stacked(headers, rows) if narrow else blocks.figures(headers, rows),
    )
    if speeds[0].limit is None:
        out.show(
            blocks.line(""),
            blocks.line(
                "There is no limit: it is known of corelm's own networks alone, whose "
                "matrix products can be measured by themselves."
            ),
        )


def _row(speed: Speed) -> list[str]:
    limit, share = speed.limit, speed.share_of_limit
    return [
        str(speed.batch),
        f"{speed.tokens_per_second:,.0f}",
        _duration(speed.step),
        f"{speed.sampler / speed.step:.0%}",
        f"{speed.draw / speed.step:.0%}",
        "" if limit is None else f"{limit:,.0f}",
        "" if share is None else f"{share:.0%}",
    ]


def _duration(seconds: float) -> str:
    return f"{seconds * 1e3:,.2f} ms"
