"""`corelm train`: train a model on texts."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from corelm import hookimpl
from corelm import sampler as read_sampler
from corelm.bundles import Bundle
from corelm.commands import Output, application, messages, offered_names, with_choices
from corelm.errors import UsageError
from corelm.runs import machine
from corelm_train.keras_import import needs_keras
from corelm_train.settings import DEFAULTS, SETTINGS, TrainingSettings, preset_for

IMDB = "imdb"
SHORT_HELP = "Train a model on texts."
GROUPS = {
    "The most important options": ("data", "out", "settings_preset", "settings_epochs", "resume"),
    "The model": (
        "from_",
        "settings_tokens",
        "settings_vocabulary_size",
        "settings_context_length",
    ),
    "Texts while it trains": ("settings_temperatures", "settings_prompt", "settings_length"),
}
"""The options by the headings of the help."""


@hookimpl
def corelm_commands() -> Mapping[str, Any]:
    return {"train": application(command(), SHORT_HELP, word="--data", groups=GROUPS)}


def _train(
    data: Annotated[
        str | None,
        typer.Option(
            metavar="imdb|PATH",
            help="The reviews of `corelm data imdb`, or a folder or a file of texts.",
        ),
    ] = None,
    *,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FOLDER",
            help="A name for `corelm sample --model NAME`, or a folder. Default: a name made of "
            "the data and the preset, such as imdb-book.",
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing model.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue an interrupted training.")
    ] = False,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="NAME|FOLDER",
            autocompletion=offered_names("corelm_models"),
            help="Train this model further, with its network, vocabulary and weights.",
        ),
    ] = None,
    context: typer.Context,
    built: Mapping[str, Any],
) -> None:
    """Train a model on texts, and write a text at each temperature after every epoch.

    The preset decides each option that shows no default. After the last epoch the two losses are
    drawn as a curve, and the model gets the weights of the epoch with the lowest held-out loss.
    Ctrl-C keeps a checkpoint, and --resume
    continues from it, with more --epochs if you like. At the end the folder of the model is
    printed.

    \b
    corelm train --data imdb --preset book --epochs 20
    corelm train --data notes.txt --tokens symbols --prompt "C4 E4" --out notes
    """
    values = dict(built["settings"])
    if data is None:
        raise UsageError("give the texts to train on: --data imdb, or a folder or a file")
    if data != IMDB and not Path(data).exists():
        raise UsageError(f"there is no file or folder {data}")
    if values.get("preset") is None:
        values["preset"] = _preset_for(data, from_)
    name = out or f"{Path(data).resolve().stem}-{values['preset']}"
    # A bare name is a folder in corelm's home.
    is_bare = Path(name).name == name and name not in (os.curdir, os.pardir)
    folder = machine.home() / "models" / name if is_bare else Path(name)
    start = None if from_ is None else _model_folder(from_)
    settings = TrainingSettings(data=data, out=folder, start_from=start, **values)
    settings.resolve()
    if folder.exists() and not (overwrite or resume):
        raise UsageError(
            f"{folder} already exists; choose another --out, or replace it with --overwrite"
        )
    for t in settings.temperatures:
        read_sampler("temperature", t=t)
    from corelm_train.checkpoint import only_run

    with only_run(folder):  # before the slow import of Keras
        Bundle.check_target(folder)
    with Output.open() as stdout:
        stdout.text(f"{_run(settings, resume, context.obj)}\n")


def _run(settings: TrainingSettings, resume: bool, words: Sequence[str]) -> Path:
    """Train; after Ctrl-C, print the command that continues."""
    from corelm_train.cli.output import training_report

    with training_report() as report:
        try:
            with needs_keras("training"):
                from corelm_train.run import train
            return train(settings, report, resume)
        except KeyboardInterrupt:
            if report.checkpoint is None:
                messages.tell("stopped before the first step; no checkpoint was saved")
            else:
                own = [word for word in words if word not in ("--overwrite", "--resume")]
                messages.tell(f"continue with: {shlex.join(['corelm', *own, '--resume'])}")
            raise


def command() -> Callable[..., Any]:
    """Return the command with its settings as options."""
    called = with_choices(_train, SETTINGS)
    called.__name__ = "train"
    return called


def _preset_for(data: str, start: str | None) -> str:
    """Return the preset for the amount of text; None with a model to start from."""
    if data == IMDB or start is not None:
        return DEFAULTS.preset
    path = Path(data)
    if not path.is_dir() and not path.is_file():  # a pipe has no size
        return DEFAULTS.preset
    files = path.rglob("*.txt") if path.is_dir() else [path]
    return preset_for(sum(file.stat().st_size for file in files if file.is_file()))


def _model_folder(name: str) -> Path:
    """Return the folder of the model to train further."""
    from corelm.runs import NamedModel

    folders = [model.path for model in NamedModel.listed() if name in (model.name, model.source)]
    if len(folders) == 1 and folders[0] is not None:
        return folders[0]
    if Path(name).is_dir():
        return Path(name)
    raise UsageError(f"there is no model folder {name!r}; `corelm models` lists the models")
