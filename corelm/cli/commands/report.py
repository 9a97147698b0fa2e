"""`corelm report`: compare samplers."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from corelm.cli.options.choices import Model, loaded
from corelm.cli.options.completion import sampler_names
from corelm.cli.options.parameters import flag
from corelm.cli.options.prompt import DEFAULT, argument, read_prompts
from corelm.cli.output.product import product
from corelm.errors import UsageError
from corelm.model.load import MODEL, label
from corelm.report.measure.defaults import LENGTH, SEED, N

MEASURING = (
    "samplers", "reference", "prompts", "n", "length", "seed", "model", "match_entropy", "resume",
)  # fmt: skip
"""What decides what is measured, and so says nothing with --from."""


def _file(form: str) -> Any:
    return typer.Option(metavar="FILE", help=f"Write {form} to a file; - is standard output.")


def report(
    context: typer.Context,
    samplers: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SAMPLER",
            autocompletion=sampler_names,
            help="Names of `corelm samplers`, or expressions such as 'top_p(p=0.9)'. When left "
            "out: greedy, five temperatures, uniform and top_p.",
        ),
    ] = None,
    *,
    html: Annotated[str | None, _file("the page")] = None,
    json: Annotated[str | None, _file("all of it as JSON")] = None,
    csv: Annotated[str | None, _file("every figure as CSV")] = None,
    markdown: Annotated[str | None, _file("the table as Markdown")] = None,
    plots: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="Write the plots, as PNG and SVG.")
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Human texts to compare with: a folder of .txt files, or one file. When left "
            "out, the reviews of `corelm data imdb` if they are there.",
        ),
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help=f'Prompts, one a line. "{DEFAULT}" when left out.'),
    ] = None,
    n: Annotated[
        str, typer.Option("--n", metavar="INTEGER", help="Texts of each sampler for each prompt.")
    ] = str(N),
    length: Annotated[str, typer.Option(metavar="INTEGER", help="Tokens in a text at most.")] = str(
        LENGTH
    ),
    seed: Annotated[str, typer.Option(metavar="INTEGER", help="Decides all luck.")] = str(SEED),
    model: Model = MODEL,
    match_entropy: Annotated[
        str | None,
        typer.Option(
            metavar="NATS|human",
            help="Give samplers that leave one parameter open, such as top_p, the value with "
            "which their mean entropy is this.",
        ),
    ] = None,
    fail_if: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CONDITION",
            help="Exit with 1 if it holds, such as 'temperature(t=0.2).loops > 0.3'; may be given "
            "more than once.",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from where an interrupted report left off.")
    ] = False,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="FILE", help="Measure nothing: write this JSON report again."
        ),
    ] = None,
) -> int:
    """Compare samplers: their entropy on the same contexts, and the texts that they write.

    A table goes to standard output. Ctrl-C keeps what is finished, from which --resume goes on.

    \b
    corelm report --html report.html
    corelm report "temperature(t=0.7)" "min_p(p=0.05)" --n 200 --json report.json
    corelm report temperature top_p min_p --match-entropy 3
    corelm report --from report.json --html report.html
    """
    from corelm.cli.commands.finish_report import Ending
    from corelm.cli.output.report_files import Outputs
    from corelm.report.measure.settings import settings

    with product() as out:
        files = {"json": json, "csv": csv, "markdown": markdown, "html": html}
        places = {form: path for form, path in files.items() if path}
        end = Ending(Outputs(places, plots), [argument(text) for text in fail_if or []], out)
        if from_ is not None:
            _refuse_measuring(context)
            return end.of_earlier(from_)
        asked = settings(
            loaded(model),
            label(model),
            None if not samplers else [argument(text) for text in samplers],
            prompts=DEFAULT if prompts is None else read_prompts(prompts),
            n=n,
            length=length,
            seed=seed,
            reference=reference,
            match=match_entropy,
        )
        return end.of_measuring(asked, resume, shlex.join(["corelm", *context.obj]))


def _refuse_measuring(context: typer.Context) -> None:
    """Nothing that is given is ignored: a report that is read again has its own settings."""
    for name in MEASURING:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            what = "a sampler" if name == "samplers" else flag(name)
            raise UsageError(f"--from measures nothing, so {what} does not go with it")
