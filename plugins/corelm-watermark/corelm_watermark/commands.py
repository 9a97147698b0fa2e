"""`corelm watermark`: detect a watermark, and measure how well that works."""

import json as json_format
from dataclasses import asdict
from typing import Annotated

import typer

import corelm
from corelm.commands import read_text
from corelm.errors import UsageError
from corelm_watermark.detection import detect, watermark_of

Model = Annotated[
    str,
    typer.Option(
        metavar="NAME|PATH", help="The model whose vocabulary splits the text into tokens."
    ),
]


def detect_text(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="A text in UTF-8; - reads standard input.")
    ],
    key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            help="The secret text, or env:NAME for an environment variable that holds it.",
        ),
    ] = None,
    sampler: Annotated[
        str,
        typer.Option(
            metavar="SAMPLER",
            help="The watermark: green_list, gumbel_max, synthid, or the expression that wrote "
            "the text.",
        ),
    ] = "green_list",
    model: Model = "imdb",
    json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Look for a watermark in a text.

    The p-value is the probability of such a score, or a higher one, without the watermark.

    \b
    corelm watermark detect review.txt --key env:WATERMARK_KEY
    corelm watermark detect - --sampler synthid --key env:WATERMARK_KEY
    """
    watermark = read_watermark(sampler, key)
    detection = detect(watermark, read_text(file, "the text"), corelm.load(model).vocabulary)
    if json:
        typer.echo(json_format.dumps({"watermark": watermark.name} | asdict(detection), indent=2))
        return
    digits = watermark.score_format
    rows = {
        "tokens": detection.tokens,
        "scored": detection.scored,
        "score": f"{detection.score:{digits}} (by chance {detection.chance:{digits}})",
        "z-score": f"{detection.z:.2f}",
        "p-value": f"{detection.p_value:.2g}",
    }
    for name, value in rows.items():
        typer.echo(f"{name:8} {value}")


def measure_power(
    texts: Annotated[int, typer.Option(help="Texts with each watermark.", min=1)] = 200,
    unmarked: Annotated[
        int | None, typer.Option(help="Texts without one; as many by default.", min=1)
    ] = None,
    human: Annotated[
        str | None,
        typer.Option(metavar="FOLDER", help="Measure false positives on the texts of a folder."),
    ] = None,
    most: Annotated[int, typer.Option(help="Texts of the folder.", min=1)] = 2500,
    level: Annotated[
        list[float] | None,
        typer.Option(help="Detected means a p-value of at most this; 0.01 by default."),
    ] = None,
    sampler: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A watermark; all by default.")
    ] = None,
    temperature: Annotated[
        list[float] | None, typer.Option(help="The texts' temperature; 0.3, 0.7 and 1 by default.")
    ] = None,
    repeat: Annotated[
        int | None,
        typer.Option(help="Also repeat each phrase of this many tokens three times.", min=1),
    ] = None,
    model: Model = "imdb",
    seed: Annotated[int, typer.Option(help="The seed of the texts.")] = 1,
) -> None:
    """Measure how often each watermark is found, by the length of the text.

    The texts are written at three temperatures, with and without a watermark.
    """
    from corelm_watermark.power import TEMPERATURES, WATERMARKS, PowerPlan, tables

    plan = PowerPlan(
        texts=texts,
        unmarked=unmarked or texts,
        human=human,
        most=most,
        levels=tuple(level or [0.01]),
        seed=seed,
        watermarks=tuple(sampler or WATERMARKS),
        temperatures=tuple(temperature or TEMPERATURES),
        repeat=repeat,
    )
    for line in tables(corelm.load(model), plan):
        typer.echo(line)


def read_watermark(sampler, key):
    """Return the watermark for a name and a key, or for an expression with the key."""
    if key is None:
        return watermark_of(corelm.sampler(sampler))
    if "(" in sampler:  # an expression, which must contain the key that wrote the text
        raise UsageError("give the key in --sampler or as --key, not both")
    return watermark_of(corelm.sampler(sampler, key=key))


@corelm.hookimpl
def corelm_commands():
    app = typer.Typer(help="Detect a watermark in a text, or measure how well that works.")
    app.command("detect")(detect_text)
    app.command("power")(measure_power)
    return {"watermark": app}
