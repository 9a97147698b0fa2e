"""`corelm train`: make a model from texts."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from corelm.cli.keras_import import needs_keras
from corelm.cli.options.parameters import Options, extended, flag
from corelm.cli.options.prompt import argument
from corelm.cli.output.product import product
from corelm.cli.output.progress import training_report
from corelm.errors import UsageError
from corelm.model.paths import home
from corelm.model.training.presets import PRESETS
from corelm.model.training.settings import TrainingSettings
from corelm.model.vocabulary import STYLES
from corelm.params import Parameter, Rule
from corelm.plugins.expressions import sampler as read_sampler

IMDB = "imdb"
DEFAULTS = TrainingSettings(data=IMDB, out=Path())


def _setting(name: str, kind: type, help: str, item: type | None = None, **rule: Any) -> Parameter:
    return Parameter(name, kind, getattr(DEFAULTS, name), Rule(help, **rule), item)


def _each(things: Mapping[str, Any]) -> str:
    return "; ".join(f"{name}: {thing.help}" for name, thing in things.items())


SETTINGS = (
    _setting("preset", str, f"the network and how it is trained. {_each(PRESETS)}"),
    _setting("epochs", int, "how often to go through the data", ge=1),
    _setting("temperatures", tuple, "a text at each of them after every epoch", float),
    _setting("prompt", str, "what these texts go on from"),
    _setting("length", int, "tokens in each of these texts", ge=0),
    _setting("seed", int, "decides the first weights and all order", ge=0),
    _setting("tokens", str, f"how texts are cut, if not as the preset has it. {_each(STYLES)}"),
    _setting("vocabulary_size", int, "tokens in the vocabulary at most", ge=3),
    _setting("context_length", int, "tokens that the network sees at most", ge=1),
    _setting("batch", int, "rows per step", ge=1),
    _setting("learning_rate", float, "the learning rate, or its peak", gt=0),
    _setting("held_out", float, "share of the texts to measure on", gt=0, lt=1),
    _setting("precision", str, "what to compute in; auto is what is faster here",
             choices=("auto", "float32", "mixed_bfloat16")),
    _setting("checkpoint_steps", int, "steps between two checkpoints", ge=1),
)  # fmt: skip


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
            help="A name for `corelm sample --model NAME`, or a folder; when left out, a name "
            "made of the data and the preset, such as imdb-book.",
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a model that is there already.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from where an interrupted run left off.")
    ] = False,
    built: Mapping[str, Any],
) -> None:
    """Train a model on texts, and write a text at every temperature after each epoch.

    Where nothing is given for an option and it shows no default, the preset decides. Ctrl-C
    keeps a checkpoint, from which --resume goes on. At the end the folder of the model is
    written to standard output.

    \b
    corelm train --data imdb --preset book --epochs 20
    corelm train --data notes.txt --tokens symbols --prompt "C4 E4" --out notes
    """
    given = built["settings"]
    source = _existing(data)
    folder = _folder(out or f"{_stem(source)}-{given['preset']}")
    _refuse_to_lose(folder, overwrite or resume)
    given["prompt"] = argument(given["prompt"])
    settings = TrainingSettings(data=source, out=folder, **given)
    settings.resolve()
    for t in settings.temperatures:
        read_sampler("temperature", t=t)
    with product() as stdout:
        with training_report() as report:
            folder = _trainer()(settings, report, resume)
        stdout.text(f"{folder}\n")


def command() -> Callable[..., Any]:
    """The command."""
    names = {parameter.name: [flag(parameter.name)] for parameter in SETTINGS}
    called = extended(_train, [Options("settings", SETTINGS, names)])
    called.__name__ = "train"
    return called


def _existing(data: str | None) -> str:
    if data is None:
        raise UsageError("say what to train on: --data imdb, or --data with a folder or a file")
    if data != IMDB and not Path(data).exists():
        raise UsageError(f"there is no file or folder {data}")
    return data


def _stem(data: str) -> str:
    return Path(data).resolve().stem if data != IMDB else IMDB


def _folder(out: str) -> Path:
    """A bare name is a folder among the models of this user."""
    bare = Path(out).name == out and out not in (os.curdir, os.pardir)
    return home() / "models" / out if bare else Path(out)


def _refuse_to_lose(folder: Path, allowed: bool) -> None:
    if folder.exists() and not allowed:
        raise UsageError(
            f"there is something at {folder}; choose another --out, or replace it with --overwrite"
        )


def _trainer() -> Callable[..., Path]:
    with needs_keras("training"):
        from corelm.model.training.run import train

        return train
