"""`corelm bench`: measure the speed on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any

import typer

from corelm import hookimpl
from corelm.commands import Inputs, Output, application, messages, with_choices
from corelm.runs import NamedModel, machine, params
from corelm_bench import Speed, measure

BATCHES = ("1", "8", "64")
BATCH = params.Parameter.of("batch", int, None, ge=1, le=2**20)
LENGTH = params.Parameter.of("length", int, 50, ge=2, le=100_000)
SECONDS = params.Parameter.of("seconds", float, 10, ge=0, le=86_400)
NARROW = 60
"""Columns below which the figures of a batch are written under it instead of in a table."""
SHORT_HELP = "Measure the speed on this machine."


@hookimpl
def corelm_commands() -> Mapping[str, Any]:
    groups = {"The most important options": ("sampler", "model", "batch", "length", "seconds")}
    return {"bench": application(with_choices(bench), SHORT_HELP, groups=groups)}


def bench(
    inputs: Inputs,
    *,
    batch: Annotated[
        list[str] | None,
        typer.Option(
            metavar="INTEGER",
            help="The number of texts that are written together; may be given more than once. "
            f"Default: {', '.join(BATCHES)}.",
        ),
    ] = None,
    length: Annotated[
        str, typer.Option(metavar="INTEGER", help="Tokens to draw for each text, at least 2.")
    ] = str(LENGTH.default),
    seconds: Annotated[
        str, typer.Option(metavar="NUMBER", help="The approximate time to measure.")
    ] = str(SECONDS.default),
    json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Measure how fast a model and a sampler write on this machine.

    Shows the tokens per second of all texts together, the shares of a step that the sampler and
    the draw take, and the limit: the speed if a step were only the matrix products with the
    model's weights.

    \b
    corelm bench
    corelm bench --sampler "top_p(p=0.9) | temperature(t=0.7)" --batch 1
    """
    with Output.open() as out:
        batches = [BATCH.convert(one) for one in batch or BATCHES]
        tokens, time = LENGTH.convert(length), SECONDS.convert(seconds)
        model, chosen, text = inputs.read()
        measured = partial(measure, model, text, chosen, length=tokens)
        with messages.stages("rounds") as bar:
            speeds = [
                measured(
                    batch=one,
                    seconds=time / len(batches),
                    progress=partial(bar, f"batch {one}"),
                )
                for one in batches
            ]
        about = {
            "model": NamedModel.label(inputs.model),
            "sampler": str(chosen),
            "prompt": text,
            "length": tokens,
        }
        if json:
            from importlib.metadata import version  # takes 13 ms

            document = {"corelm": version("corelm"), "machine": machine.facts(), **about}
            out.json(document | {"batches": list(map(_figures, speeds))})
            return
        _show(out, about, machine.facts(), speeds)


def _figures(speed: Speed) -> dict[str, Any]:
    """Return the figures of a batch; times are in seconds."""
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
    from corelm.commands import blocks

    arithmetic = "kernels" if machine["kernels"] else "NumPy only, no kernels"
    headers = ("batch", "tokens/s", "a step", "sampler", "draw", "limit", "of the limit")
    rows = [_row(speed) for speed in speeds]
    narrow = out.width < NARROW
    out.show(
        blocks.line(f"{about['model']}, {about['sampler']}, {about['length']} tokens", "bold"),
        blocks.line(f"{machine['processor']}, {machine['cores']} cores, {arithmetic}", "dim"),
        blocks.line(""),
        blocks.figures(headers, rows, stacked=narrow),
    )
    if speeds[0].limit is None:
        out.show(
            blocks.line(""),
            blocks.line(
                "No limit is shown: it is measured only for corelm's own networks, whose "
                "matrix products can be run on their own."
            ),
        )


def _row(speed: Speed) -> list[str]:
    limit, share = speed.limit, speed.share_of_limit
    return [
        str(speed.batch),
        f"{speed.tokens_per_second:,.0f}",
        f"{speed.step * 1e3:,.2f} ms",
        f"{speed.sampler / speed.step:.0%}",
        f"{speed.draw / speed.step:.0%}",
        "" if limit is None else f"{limit:,.0f}",
        "" if share is None else f"{share:.0%}",
    ]
