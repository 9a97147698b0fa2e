"""`corelm study`: run a study from a file, show and compare results, plan its size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from corelm import hookimpl
from corelm.commands import Output, application
from corelm.errors import UsageError
from corelm.runs import params

File = Annotated[str, typer.Argument(metavar="FILE", help="The study, as TOML.")]
Place = Annotated[
    str, typer.Argument(metavar="FILE|FOLDER", help="A study, or the folder of its results.")
]

DIFFERENCE = params.Parameter.of("difference", float, None, gt=0)
WIDTH = params.Parameter.of("width", float, None, gt=0)
POWER = params.Parameter.of("power", float, 0.8, gt=0, lt=1)
PAIRS = params.Parameter.of("pairs", int, 50, ge=1)
PILOT = params.Parameter.of("pilot", int, 16, ge=2)
FIGURE = "surprisal"


@hookimpl
def corelm_commands() -> Mapping[str, Any]:
    short_help = "Run a study from a file, and compare results."
    commands = {
        "run": (run, "Measure and write a study."),
        "show": (show, "Show the results of a study."),
        "diff": (diff, "Compare two results."),
        "plan": (plan, "Find the cheapest design of a study."),
        "freeze": (freeze, "Register a study before it is run."),
        "judge": (judge, "Let people or a model judge the texts."),
        "read": (read, "Compare logs of other programs."),
    }
    return {"study": application(study, short_help, commands, no_args_is_help=True)}


def study() -> None:
    """Run studies: reports on several models, described in a file.

    \b
    corelm study run study.toml
    corelm study show study.toml
    corelm study diff before after
    corelm study plan study.toml --difference 0.1
    corelm study freeze study.toml
    corelm study judge study.toml --write pairs.html
    corelm study read before/samples_gsm8k.jsonl after/samples_gsm8k.jsonl
    """


@contextmanager
def _study_product() -> Iterator[Output]:
    """Open the output of a command that needs the extra `report`."""
    from corelm_pages.report import check_extra

    with Output.open() as out:
        check_extra("a study")
        yield out


def run(file: File, *, workers: str | None = None, scheduler: str | None = None) -> int:
    """Measure a study, and write its reports, tables, pictures and how to repeat it.

    What an earlier run has measured is not measured again, so an interrupted study continues, and
    after a change in the file only what it concerns is measured.

    \b
    corelm study run study.toml
    corelm study run study.toml --workers 4
    """
    from corelm.runs import scaling
    from corelm_study.study_file import read_study
    from corelm_study.study_output import run_study

    with _study_product() as out:
        return run_study(read_study(Path(file)), scaling.Executor.of(workers, scheduler), out)


def show(place: Place) -> int:
    """Show the tables of a study that was run, and what made them."""
    from corelm_study.study_file import read_study
    from corelm_study.study_output import result_at, show_result

    path = Path(place)
    with _study_product() as out:
        study = read_study(path) if path.suffix == ".toml" else None
        return show_result(result_at(path), out, study)


def diff(before: Place, after: Place) -> int:
    """Say which figures of two results differ beyond their interval, and what else differs.

    The exit code is 1 if any figure does, or if a model or a sampler is missing.
    """
    from corelm_study.study_output import diff_results, result_at

    with _study_product() as out:
        return diff_results(result_at(Path(before)), result_at(Path(after)), out)


def freeze(file: File) -> int:
    """Register a study before it is run.

    Writes `registration.json` into the folder of its results: the study's settings, and digests of
    its prompts, human texts, models and code. Then `corelm study run` and `corelm study show` say
    that the results are as registered, or list what has changed since.
    """
    from corelm_study.study_file import read_study
    from corelm_study.study_output import freeze_study

    with _study_product() as out:
        return freeze_study(read_study(Path(file)), out)


def judge(
    place: Place,
    *,
    write: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Write blinded pairs of texts: a page if it ends in .html, or CSV."
        ),
    ] = None,
    pairs: Annotated[
        str, typer.Option(metavar="INTEGER", help="The pairs of each sampler, at most.")
    ] = str(PAIRS.default),
    people: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="Read people's verdicts; may be given more than once."),
    ] = None,
    by_model: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="Read the verdicts of a language model as a judge."),
    ] = None,
) -> int:
    """Let people or a language model judge the texts of a study, and show the win rates.

    A pair has the texts of two samplers for one prompt, seed and sample, and no name. Verdicts are
    CSV or JSON lines with `pair` and `verdict`: first, second or tie. Win rates have intervals over
    prompts if there are 8 or more. Where people and a model have judged the same pairs, the error
    of the model is shown, and its win rates are corrected by it.

    \b
    corelm study judge study.toml --write pairs.html
    corelm study judge study.toml --people verdicts.csv
    corelm study judge study.toml --people verdicts.csv --by-model llm.jsonl
    """
    from corelm_study.judging.judge import show_verdicts, write_pairs
    from corelm_study.study_output import result_at

    if (write is None) == (people is None and by_model is None):
        raise UsageError("give either --write, or --people and --by-model")
    with _study_product() as out:
        reports = result_at(Path(place)).reports()
        if write is not None:
            return write_pairs(reports, Path(write), PAIRS.convert(pairs))
        first, second = ([Path(name) for name in names or ()] for names in (people, by_model))
        return show_verdicts(reports, first, second, out)


def read(
    logs: Annotated[
        list[str],
        typer.Argument(
            metavar="LOG...",
            help="samples_*.jsonl of lm-evaluation-harness, .eval or .json of Inspect; the others "
            "are compared with the first.",
        ),
    ],
    *,
    metric: Annotated[
        list[str] | None,
        typer.Option(metavar="SCORE", help="Compare this score; by default all in common."),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            help="What questions have in common, such as a passage: a key of the document, or of "
            "the metadata of a sample. Then the clusters are the independent units.",
        ),
    ] = None,
) -> int:
    """Compare two samplers by logs of other programs, question by question.

    Both answered the same questions, so the differences are paired, and how hard a question is
    cancels. Several answers to one question are one unit. p-values have Holm's correction.

    \b
    corelm study read top_p/samples_gsm8k.jsonl min_p/samples_gsm8k.jsonl
    corelm study read first.eval second.eval --metric match --cluster passage
    """
    from corelm_study.logs.differences import show_logs

    with _study_product() as out:
        names = metric or []
        return show_logs([Path(log) for log in logs], names, cluster, out)


def plan(
    file: File,
    *,
    difference: Annotated[
        str | None,
        typer.Option(metavar="NUMBER", help="The difference to find, in units of the figure."),
    ] = None,
    width: Annotated[
        str | None,
        typer.Option(metavar="NUMBER", help="Or the width of the interval of a difference."),
    ] = None,
    figure: Annotated[
        str, typer.Option(metavar="FIGURE", help="A figure of texts, such as surprisal or rep_4.")
    ] = FIGURE,
    power: Annotated[
        str, typer.Option(metavar="NUMBER", help="The probability of finding it.")
    ] = str(POWER.default),
    pilot: Annotated[
        str,
        typer.Option(metavar="INTEGER", help="Texts of each sampler for each prompt in the pilot."),
    ] = str(PILOT.default),
    workers: str | None = None,
    scheduler: str | None = None,
) -> int:
    """Find the cheapest design of a study: how many prompts, and how many texts of each.

    A pilot with few texts measures how much the paired differences vary between prompts, and how
    much between texts of one prompt. It writes texts of its own, by other seeds, so the study can
    be registered before any of its texts is measured. The study names the sampler that the others
    are compared with as `against`. With fewer than 8 prompts the plan is for these prompts alone.

    \b
    corelm study plan study.toml --difference 0.1
    corelm study plan study.toml --difference 0.02 --figure rep_4 --power 0.9
    corelm study plan study.toml --width 0.2
    """
    from corelm.runs import scaling
    from corelm_stats.study_design import Goal
    from corelm_study.study_file import read_study
    from corelm_study.study_plan import pilot_of, plan_study

    if (difference is None) == (width is None):
        raise UsageError("give either --difference or --width")
    if width is None:
        goal = Goal(DIFFERENCE.convert(difference), POWER.convert(power))
    else:
        goal = Goal(WIDTH.convert(width) / 2, None)
    with _study_product() as out:
        study = pilot_of(read_study(Path(file)), PILOT.convert(pilot))
        return plan_study(study, figure, goal, scaling.Executor.of(workers, scheduler), out)
