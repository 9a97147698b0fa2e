"""`corelm report`: compare samplers."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from corelm import hookimpl
from corelm.commands import (
    Device,
    Dtype,
    Model,
    Scheduler,
    Workers,
    application,
    flag,
    loaded,
    metric_names,
    model_names,
    product,
    read_prompts,
    sampler_names,
    text_argument,
)
from corelm.errors import UsageError
from corelm.runs import MODEL, Parameter, ParamRule, label
from corelm_report.plan import CONTEXTS, LENGTH, SEED, TEXTS, N
from corelm_report.plan.prompt_file import JSON_LINES, Prompts, read_clustered

SAMPLES = Parameter("samples", int, N, ParamRule(ge=1))
MEASURING = (
    "samplers", "reference", "prompts", "prompts_from_reference", "samples", "length", "seed",
    "seeds", "model", "contexts", "match", "against", "metric", "texts", "scorer", "resume",
    "until",
)  # fmt: skip
"""The options that decide what is measured; they contradict --from and --diff."""
ONE_REPORT = ("html", "csv", "latex", "p_values", "bibtex", "plots", "fail_if", "from_")
"""The options for one report; they contradict --diff."""


def _file(form: str) -> Any:
    return typer.Option(metavar="FILE", help=f"Write {form} to a file; - is standard output.")


SHORT_HELP = "Compare samplers by their entropy and their texts."


@hookimpl
def corelm_commands() -> Mapping[str, Any]:
    return {"report": application(report, SHORT_HELP)}


def report(
    context: typer.Context,
    samplers: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SAMPLER",
            autocompletion=sampler_names,
            help="Names from `corelm samplers`, or expressions such as 'top_p(p=0.9)', or sweeps "
            "such as 'temperature(t=0.1..2.0/20)' and 'top_p(p=0.5,0.8,0.9)'. Default: greedy, "
            "five temperatures, uniform and top_p.",
        ),
    ] = None,
    *,
    html: Annotated[str | None, _file("the page")] = None,
    json: Annotated[str | None, _file("the whole report as JSON")] = None,
    csv: Annotated[str | None, _file("every figure as CSV")] = None,
    markdown: Annotated[str | None, _file("the table as Markdown")] = None,
    latex: Annotated[str | None, _file("the table for a paper as LaTeX")] = None,
    p_values: Annotated[
        str | None,
        _file(
            "p-values of paired permutation tests as CSV, with Holm's correction (needs --texts "
            "all and --against a sampler),"
        ),
    ] = None,
    bibtex: Annotated[str | None, _file("what to cite for the methods as BibTeX")] = None,
    plots: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="Write the plots, as PNG, SVG and PDF.")
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="Human texts to compare with: a folder of .txt files, or one file. Default: "
            "the reviews of `corelm data imdb`, if they were downloaded.",
        ),
    ] = None,
    contexts: Annotated[
        str,
        typer.Option(
            metavar="INTEGER",
            help="The largest number of texts on whose positions the samplers are compared.",
        ),
    ] = str(CONTEXTS),
    prompts: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="A file of prompts, one a line, or JSON lines with the cluster of each, such as "
            'its document: a .jsonl file of {"prompt": ..., "cluster": ...}. Default: the '
            "model's own prompt.",
        ),
    ] = None,
    prompts_from_reference: Annotated[
        str | None,
        typer.Option(
            metavar="INTEGER",
            help="The first tokens of each human text are a prompt, and human text is their "
            "continuations, so differences from it are paired. At most --contexts prompts, at "
            "least 8.",
        ),
    ] = None,
    samples: Annotated[
        str,
        typer.Option(
            "--samples",
            "-n",
            metavar="INTEGER",
            help="The number of texts of each sampler for each prompt.",
        ),
    ] = str(N),
    length: Annotated[
        str, typer.Option(metavar="INTEGER", help="The largest number of tokens in a text.")
    ] = str(LENGTH),
    seed: Annotated[
        str | None, typer.Option(metavar="INTEGER", help=f"The random seed. Default: {SEED}.")
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Several random seeds instead, such as 1..5 or 1,2,7: every sampler writes texts "
            "for each, and the report has the spread of its figures over them.",
        ),
    ] = None,
    model: Model = MODEL,
    device: Device = None,
    dtype: Dtype = None,
    match: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FIGURE=VALUE",
            help="Choose the open parameter of each sampler, such as top_p, so that a figure on "
            "the same contexts has this value: entropy=3, mass_kept=0.9, human_recall=0.95, or "
            "surprisal=human for human text; may be given more than once, each for an entry.",
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="SAMPLER|human",
            help="The entry that the others are compared with. Default: human text if "
            "there is any, else the first sampler.",
        ),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METRIC",
            autocompletion=metric_names,
            help="Measure this figure of the texts too, which a plugin offers (`corelm plugins` "
            'lists them), by its name or with parameters, such as "mattr(window=30)"; may be '
            "given more than once.",
        ),
    ] = None,
    scorer: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|PATH",
            autocompletion=model_names,
            help="Measure the surprisal of the texts under this model too, in nats per token and "
            "in bits per byte.",
        ),
    ] = None,
    texts: Annotated[
        str,
        typer.Option(
            metavar="INTEGER|all",
            help="The number of texts of each prompt that the report keeps, with the figures of "
            "each text and token.",
        ),
    ] = str(TEXTS),
    fail_if: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CONDITION",
            help="Exit with code 1 if this holds, such as 'temperature(t=0.2).loops > 0.3'; may "
            "be given more than once.",
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            metavar="CONDITION",
            help="Stop as soon as all intervals are narrow enough, such as 'width(surprisal) < "
            "0.1' or 'width(surprisal.difference) < 0.1'. --samples or --prompts are the most; "
            "all intervals hold at every moment.",
        ),
    ] = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue an interrupted report.")
    ] = False,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="FILE", help="Measure nothing; write this JSON report in other forms."
        ),
    ] = None,
    diff: Annotated[
        tuple[str, str] | None,
        typer.Option(
            metavar="FILE FILE",
            help="Measure nothing; say which figures of the second JSON report differ from the "
            "first beyond their interval. Exit with code 1 if any does, or an entry is missing.",
        ),
    ] = None,
) -> int:
    """Compare samplers: their entropy on the same contexts, and the texts that they write.

    The table goes to standard output. Ctrl-C keeps the finished parts, and --resume continues.

    \b
    corelm report --html report.html
    corelm report "temperature(t=0.7)" "min_p(p=0.05)" -n 200 --json report.json
    corelm report temperature top_p min_p --match entropy=3
    corelm report --from report.json --html report.html
    corelm report --diff before.json after.json
    """
    from corelm.runs import choose
    from corelm_report.cli.finish_report import ReportFiles, ReportOutput, compare_files
    from corelm_report.extra import check_extra
    from corelm_report.measure.until import Until
    from corelm_report.plan.plan import NamedModel, plan

    with product() as out:
        check_extra("a report")
        files = {
            "json": json, "csv": csv, "markdown": markdown, "html": html, "latex": latex,
            "p_values": p_values, "bibtex": bibtex,
        }  # fmt: skip
        places = {form: path for form, path in files.items() if path}
        if diff is not None:
            _refuse_measuring(context, "--diff")
            _refuse_forms(context)
            return compare_files(diff, places, out)
        conditions = [text_argument(text) for text in fail_if or []]
        output = ReportOutput(ReportFiles(places, plots), conditions, out)
        if from_ is not None:
            _refuse_measuring(context, "--from")
            return output.rewrite(from_)
        stop = None if until is None else Until.read(text_argument(until))
        if stop and resume:
            raise UsageError("--resume continues a whole report: leave out --until")
        count, chosen = SAMPLES.convert(samples), choose(workers, scheduler)
        language_model = loaded(model, device, dtype)
        asked = plan(
            language_model,
            label(model),
            None if not samplers else [text_argument(text) for text in samplers],
            prompts=None if prompts is None else _prompts_in(prompts),
            n=count,
            length=length,
            seed=seed,
            seeds=seeds,
            reference=None if reference is None else Path(reference),
            prompts_from_reference=prompts_from_reference,
            contexts=contexts,
            match=[text_argument(text) for text in match or []],
            against=None if against is None else text_argument(against),
            metrics=[text_argument(name) for name in metric or []],
            texts=texts,
            scorer=None if scorer is None else NamedModel(loaded(scorer), label(scorer)),
        )
        opened = chosen.opened(asked.models, lambda: asked.jobs(model, scorer, device, dtype))
        command = shlex.join(["corelm", *context.obj])
        return output.measure(asked, opened, resume, command, stop)


def _prompts_in(file: str) -> Prompts:
    return read_clustered(file) if file.endswith(JSON_LINES) else read_prompts(file)


def _refuse_measuring(context: typer.Context, option: str) -> None:
    """Raise if the command line gives options that an earlier report has already decided."""
    for name in _given(context, MEASURING):
        what = "a sampler" if name == "samplers" else flag(name)
        raise UsageError(f"{option} measures nothing: leave out {what}")


def _refuse_forms(context: typer.Context) -> None:
    """Raise if the command line gives options that only one report has."""
    for name in _given(context, ONE_REPORT):
        raise UsageError(
            f"--diff writes a table, --markdown and --json: leave out {flag(name.strip('_'))}"
        )


def _given(context: typer.Context, names: Iterable[str]) -> Iterator[str]:
    """Yield the parameters that the command line gives."""
    for name in names:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            yield name
