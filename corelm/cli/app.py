"""The commands, and how each is found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Annotated, Any

import typer

from corelm.cli.exit_codes import outcome

DEBUG = "--debug"
COMMANDS = (
    "sample", "explain", "report", "bench", "samplers", "presets", "plugins", "models", "data",
    "train",
)  # fmt: skip


def run(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit code."""
    words, debug = _without_debug(arguments)
    command = command_of(words)
    help = f"corelm {command} --help" if command in COMMANDS else "corelm --help"

    def work() -> int | None:
        code: int | None = build(words)(
            _spelt_out(words) or ["--help"], standalone_mode=False, prog_name="corelm"
        )
        return code

    return outcome(work, help, debug)


def build(arguments: Sequence[str] = ()) -> typer.Typer:
    """The application.

    Args:
        arguments: those that it will be called with: the options of `sample`, `explain` and
            `bench` are those of the sampler in them.
    """
    from corelm.cli.commands import (
        bench,
        explain,
        models,
        new_plugin,
        plugins,
        presets,
        report,
        sample,
        samplers,
        train,
    )
    from corelm.cli.commands import data as datasets
    from corelm.cli.options.choices import with_choices

    app = typer.Typer(
        rich_markup_mode=None,  # help holds strings of plugins, which are no markup
        pretty_exceptions_enable=False,
        context_settings={
            "help_option_names": ["--help", "-h"],
            "token_normalize_func": _dashes,
            "obj": list(arguments),
        },
    )
    app.callback()(_global_options)
    for choosing in (sample.sample, explain.explain, bench.bench):
        name = choosing.__name__
        app.command(name)(with_choices(choosing, _after(arguments, name)))
    app.command("report")(report.report)
    app.command("samplers")(samplers.samplers)
    app.command("presets")(presets.presets)
    app.command("train")(train.command())
    app.add_typer(_group(plugins.plugins, new_plugin.new, alone=True), name="plugins")
    app.add_typer(_group(models.models, models.show, models.export, alone=True), name="models")
    app.add_typer(_group(datasets.data, datasets.imdb), name="data")
    return app


def _group(
    callback: Callable[..., Any], *commands: Callable[..., Any], alone: bool = False
) -> typer.Typer:
    """A command that has commands itself, and may do something alone."""
    group = typer.Typer(rich_markup_mode=None)
    group.callback(invoke_without_command=alone)(callback)
    for command in commands:
        group.command()(command)
    return group


def _spelt_out(words: list[str]) -> list[str]:
    """The command line with `models NAME` as `models show NAME`."""
    from corelm.cli.commands.models import COMMANDS as OF_MODELS

    match words:
        case ["models", name, *_] if not name.startswith("-") and name not in OF_MODELS:
            return ["models", "show", *words[1:]]
    return words


def command_of(arguments: Sequence[str]) -> str:
    """The command in a command line; empty when there is none."""
    return next((word for word in arguments if not word.startswith("-")), "")


def _after(arguments: Sequence[str], command: str) -> Sequence[str] | None:
    """The words after a command; None when it is not the one called."""
    if command_of(arguments) != command:
        return None
    return arguments[list(arguments).index(command) + 1 :]


def _without_debug(arguments: Sequence[str]) -> tuple[list[str], bool]:
    """The command line without `--debug`, which may stand anywhere before `--`."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    words = [word for word in arguments[:end] if word != DEBUG]
    return [*words, *arguments[end:]], len(words) < end


def _dashes(name: str) -> str:
    """So that `--t_min` is `--t-min`."""
    return name.replace("_", "-")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"corelm {version('corelm')}")
        raise typer.Exit


def _global_options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
    debug: Annotated[bool, typer.Option(DEBUG, help="Show where in the code it failed.")] = False,
) -> None:
    """Sampling strategies for language models, as plugins: exact, composable, reproducible.

    \b
    corelm sample --sampler temperature --t 0.2     write a text
    corelm samplers                                 what can be chosen
    corelm explain --sampler top_p --p 0.9          what a sampler does to one word
    corelm report                                   compare samplers
    corelm bench                                    how fast it is on this machine
    """
