"""`corelm report`: compare samplers."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from corelm import hookimpl
from corelm.commands import Output, application, offered_names, read_text
from corelm.errors import UsageError
from corelm_report.settings import SETTINGS, Prompts, ReportSetting

OPTIONS = {each.option or name: each for name, each in SETTINGS.items()}
"""The settings of a report by the name of their option."""
NAMES = dict(zip(OPTIONS, SETTINGS, strict=True))
"""The names of these settings in Python."""
MEASURING = ("samplers", *OPTIONS, "model", "resume", "until")
"""The options that decide what is measured; they exclude --from and --diff."""
ONE_REPORT = ("html", "csv", "latex", "p_values", "bibtex", "plots", "fail_if", "from_")
"""The options for one report; they exclude --diff."""


def _file(form: str) -> Any:
    return typer.Option(metavar="FILE", help=f"Write {form} to a file; - is standard output.")


GROUPS = {
    "The most important options": ("html", "n", "prompts", "reference", "model"),
    "Texts and figures": (
        *(name for name in OPTIONS if name not in ("n", "prompts", "reference")), "device", "dtype",
    ),
    "Output": ("details", "json", "csv", "markdown", "latex", "p_values", "bibtex", "plots"),
    "Runs": ("until", "fail_if", "workers", "scheduler", "resume"),
    "Reports that exist": ("from_", "diff"),
}  # fmt: skip
"""The options by the headings of the help."""
SHORT_HELP = "Compare samplers by their entropy and their texts."


@hookimpl
def corelm_commands() -> Mapping[str, Any]:
    return {"report": application(report, SHORT_HELP, groups=GROUPS)}


def _with_options(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command that takes `**settings` an option for each, before the model's options."""
    signature = inspect.signature(command, eval_str=True)
    *own, _ = signature.parameters.values()
    at = [each.name for each in own].index("model")
    listed = [*own[:at], *(_option(*each) for each in OPTIONS.items()), *own[at:]]
    # Typer reads both.
    command.__signature__ = signature.replace(parameters=listed)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in listed}
    return command


def _option(name: str, setting: ReportSetting) -> inspect.Parameter:
    kind: Any
    words = (setting.short,) if setting.short else ()
    names = {
        "metric": offered_names("corelm_metrics"),
        "scorer": offered_names("corelm_models"),
    }
    repeated, default = setting.kind == "texts", setting.default
    if setting.kind == "flag":
        option, kind = typer.Option(f"--{name}", help=setting.help), bool
    else:
        option = typer.Option(
            *words, metavar=setting.metavar, help=setting.help, autocompletion=names.get(name)
        )
        default = None if repeated or default is None else str(default)
        kind = list[str] | None if repeated else str if default else str | None
    annotation = Annotated[kind, option]
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
    )


def _read(options: Mapping[str, Any]) -> dict[str, Any]:
    """Convert the values of options for `corelm.compare`, except the scorer's."""
    readers: dict[str, Any] = {"path": Path, "prompts": _prompts_in, "texts": list}
    return {
        NAMES[name]: readers.get(OPTIONS[name].kind, lambda text: text)(value)
        for name, value in options.items()
        if value is not None and OPTIONS[name].kind != "model"
    }


@_with_options
def report(
    context: typer.Context,
    samplers: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SAMPLER",
            autocompletion=offered_names("corelm_samplers"),
            help="Names from `corelm samplers`, or expressions such as 'top_p(p=0.9)', or sweeps "
            "such as 'temperature(t=0.1..2.0/20)' and 'top_p(p=0.5,0.8,0.9)'. Default: greedy, "
            "five temperatures, uniform and top_p.",
        ),
    ] = None,
    *,
    details: Annotated[
        bool, typer.Option("--details", help="Show the evidence and the method under the table.")
    ] = False,
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
    model: str,
    device: str | None = None,
    dtype: str | None = None,
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
            "0.1' or 'width(surprisal.difference) < 0.1'. -n or --prompts are the most; "
            "all intervals hold at every moment.",
        ),
    ] = None,
    workers: str | None = None,
    scheduler: str | None = None,
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
    **settings: Any,
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
    from corelm_pages.report import check_extra
    from corelm_study.cli.finish_report import ReportFiles, ReportOutput

    with Output.open() as out:
        check_extra("a report")
        files = {
            "json": json, "csv": csv, "markdown": markdown, "html": html, "latex": latex,
            "p_values": p_values, "bibtex": bibtex,
        }  # fmt: skip
        places = {form: path for form, path in files.items() if path}
        if diff is not None:
            _refuse(context, MEASURING, "--diff measures nothing")
            _refuse(context, ONE_REPORT, "--diff writes a table, --markdown and --json")
            from corelm_study.cli.comparison import compare_files

            return compare_files(diff, places, out)
        conditions = fail_if or []
        output = ReportOutput(ReportFiles(places, plots), conditions, out, details)
        if from_ is not None:
            _refuse(context, MEASURING, "--from measures nothing")
            return output.rewrite(from_)
        from corelm import load
        from corelm.runs import NamedModel, scaling
        from corelm_report.plan.plan import plan

        stop = None
        if until is not None:
            from corelm_report.measure.until import Until

            stop = Until.read(until)
        if stop and resume:
            raise UsageError("--resume continues a whole report: leave out --until")
        executor, asked = scaling.Executor.of(workers, scheduler), _read(settings)
        scorer = settings["scorer"]
        report_plan = plan(
            load(model, device=device, dtype=dtype),
            NamedModel.label(model),
            samplers or None,
            scorer and NamedModel.of(scorer),
            **asked,
        )
        command = shlex.join(["corelm", *context.obj])
        return output.measure(report_plan, executor, resume, command, stop)


def _prompts_in(file: str) -> Prompts:
    from corelm_study.study_file import parse_prompts

    return parse_prompts(read_text(file, "the prompt file"), file)


def _refuse(context: typer.Context, names: Iterable[str], why: str) -> None:
    """Raise if one of these parameters is on the command line."""
    for each in context.command.params:
        source = context.get_parameter_source(each.name or "")
        if each.name in names and source is not None and source.name == "COMMANDLINE":
            what = "a sampler" if each.name == "samplers" else each.opts[0]
            raise UsageError(f"{why}: leave out {what}")
