"""`corelm models`: list, show, export and remove models."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from corelm.cli.applications import TextGroup, application
from corelm.cli.output import messages
from corelm.cli.output.messages import Output
from corelm.cli.parameters import model_names
from corelm.contracts.hookspecs import hookimpl
from corelm.errors import CorelmError, UsageError
from corelm.machine import home
from corelm.models.export import FORMATS as ENGINE_FORMATS
from corelm.registry.expressions import sampler as read_sampler
from corelm.registry.listed_models import ListedModel, list_models
from corelm.registry.models import load

if TYPE_CHECKING:
    from corelm.models.bundle import Description

Json = Annotated[bool, typer.Option("--json", help="One JSON document.")]
Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME|PATH",
        autocompletion=model_names,
        help="A name from `corelm models`, or the path of a model.",
    ),
]


class ModelsGroup(TextGroup):
    """The subcommands; `corelm models NAME` is short for `corelm models show NAME`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the words after `models`."""
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            args = ["show", *args]
        return super().parse_args(ctx, args)


EACH_FORMAT = "; ".join(f"{name}: {format.help}" for name, format in ENGINE_FORMATS.items())


@hookimpl
def corelm_commands() -> dict[str, Any]:
    short_help = "List, show, export or remove models."
    commands = {
        "show": (show, "Show a model."),
        "export": (export, "Write a model in the format of another engine."),
        "export-generate": (export_generate, "Write a sampler as a folder for transformers."),
        "remove": (remove, "Delete a model from corelm's home."),
    }
    app = application(models, short_help, commands, cls=ModelsGroup, invoke_without_command=True)
    return {"models": app}


def models(context: typer.Context, json: Json = False) -> None:
    """List the models.

    `corelm models NAME` is short for `corelm models show NAME`.

    \b
    corelm models imdb
    corelm models export imdb --to imdb.keras
    """
    if context.invoked_subcommand:
        return
    with Output.open() as out:
        described = [(model, _described(model)) for model in list_models()]
        if json:
            out.json([_as_json(model, about) for model, about in described])
        else:
            headers = ("model", "network", "vocabulary", "perplexity", "source")
            out.rows(headers, [_row(model, about) for model, about in described])


def show(name: Name, json: Json = False) -> None:
    """Show a model's network, its training and its measured figures."""
    with Output.open() as out:
        model = _find(name)
        about = _description(model)
        if json:
            out.json(_as_json(model, about))
        else:
            _show(out, model, about)


def export(
    name: Name,
    path: Annotated[
        str | None,
        typer.Argument(metavar="PATH", help="The folder or file to write in the format of --to."),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            metavar=f"{'|'.join(ENGINE_FORMATS)}|FILE",
            help=f"A format, or a file whose name ends with .keras. {EACH_FORMAT}.",
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing file or folder.")
    ] = False,
) -> None:
    """Write a model in the format of another engine, and print its path.

    A .keras file holds any network. The other formats hold the network gpt2 with byte pairs.

    \b
    corelm models export imdb --to imdb.keras
    corelm models export gpt2 --to transformers gpt2-for-transformers
    corelm models export gpt2 --to gguf gpt2.gguf
    """
    form, target = _target(name, to, path)
    with Output.open() as out:
        model = _find(name)
        if not model.path:
            raise UsageError(f"{name} is not a model in a folder; only those can be exported")
        from corelm.models.bundle import Bundle
        from corelm.models.export import export as write

        bundle = Bundle.read(model.path)
        if form == "keras":
            write_keras = import_module("corelm_train.keras_file").write_keras
            out.text(f"{write_keras(bundle, target, overwrite=overwrite)}\n")
        else:
            out.text(f"{write(bundle, form, target, overwrite=overwrite)}\n")


def export_generate(
    sampler: Annotated[str, typer.Argument(metavar="SAMPLER", help="A sampler or a chain.")],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder to write.")],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier export.")
    ] = False,
) -> None:
    """Write a sampler as a folder that transformers generates with, and print its path.

    In Python: model.generate(**inputs, custom_generate=FOLDER, trust_remote_code=True, seed=7).
    It needs corelm and corelm-transformers there; without them transformers says so.

    \b
    corelm models export-generate "min_p(p=0.05) | temperature(t=0.8)" my-generate
    """
    from corelm.models.export import write_files
    from corelm.models.export.transformers import generate_files, local_parameters

    with Output.open() as out:
        chain = read_sampler(sampler)
        files = generate_files(chain)
        out.text(f"{write_files(lambda: files, folder, overwrite=overwrite)}\n")
        if local := local_parameters(chain):
            messages.tell(
                f"{', '.join(local)}: whoever gets the folder can read it, and needs the file, "
                "model or variable that it names",
                "note",
            )


def _target(name: str, to: str | None, path: str | None) -> tuple[str, Path]:
    """Return the format to export to, and the path to write.

    Raises:
        UsageError: a format without a path, a path without a format, or neither.
    """
    stem = Path(name).name
    if to is None:
        raise UsageError(
            f"give the file to write: corelm models export {name} --to {stem}.keras; "
            f"or one of the formats {', '.join(ENGINE_FORMATS)}"
        )
    if to in ENGINE_FORMATS:
        if path is None:
            example = f"{stem}{ENGINE_FORMATS[to].suffix or f'-{to}'}"
            raise UsageError(
                f"give the path to write: corelm models export {name} --to {to} {example}"
            )
        return to, Path(path)
    if Path(to).suffix != ".keras":
        raise UsageError(
            f"--to takes {', '.join(ENGINE_FORMATS)} or a file that ends with .keras, not {to!r}"
        )
    if path is not None:
        raise UsageError(f"give one path: {to!r} is a file already, and so is {path!r}")
    return "keras", Path(to)


def remove(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Remove it without asking.")] = False,
) -> None:
    """Delete a model that was trained or stored in corelm's home.

    Models that a plugin offers, and folders elsewhere, are never deleted.
    """
    with Output.open() as out:
        folder = _removable(name)
        is_asked = not yes and sys.stdin is not None and sys.stdin.isatty()
        question = f"Delete the model {folder.name} in {folder}?"
        if not (yes or (is_asked and typer.confirm(question, err=True))):
            raise CorelmError(
                f"nothing was deleted; to delete {folder.name}, answer y or add --yes"
            )
        shutil.rmtree(folder)
        out.text(f"{folder}\n")


def _removable(name: str) -> Path:
    """Return the folder of a model in corelm's home.

    Raises:
        UsageError: an unknown model, one of a plugin, or a folder outside corelm's home.
    """
    model = _find(name)
    models = (home() / "models").resolve()
    if model.path is None or model.source != str(model.path):
        raise UsageError(f"{name} comes with a plugin ({model.source}) and cannot be removed")
    folder = model.path
    # A link could lead to any folder of the user's.
    if folder.is_symlink() or folder.resolve().parent != models:
        raise UsageError(
            f"{folder} is not in {models}: corelm removes only the models that are stored there"
        )
    return folder


def _find(name: str) -> ListedModel:
    """Find a model by its name, its full name or its path.

    Raises:
        UsageError: none or several models; the message lists them.
        ModelFileError: a path without a model.
    """
    matches = [model for model in list_models() if name in (model.name, model.source)]
    if len(matches) == 1:
        return matches[0]
    if not matches and Path(name).is_dir():
        return ListedModel(name, name, Path(name))
    load(name)  # raises the right error, unless this is a plugin's model without a folder
    return ListedModel(name, name, None)


def _description(model: ListedModel) -> Description | None:
    """Read the description of a model in a folder."""
    from corelm.models.bundle import Bundle

    return Bundle.describe(model.path) if model.path else None


def _described(model: ListedModel) -> Description | str | None:
    """Read the description of a model in a folder; return the reason if that fails."""
    try:
        return _description(model)
    except CorelmError as error:
        return str(error)


def _row(model: ListedModel, about: Description | str | None) -> tuple[str, ...]:
    if isinstance(about, str):
        return model.name, "", "", "", f"{model.source} FAILED: {about}"
    if about is None:
        return model.name, "", "", "", model.source
    a = about.architecture
    vocabulary = f"{a.vocabulary_size:,} {about.tokens}"
    held_out = about.manifest["figures"].get("held_out")
    perplexity = held_out.get("perplexity") if isinstance(held_out, Mapping) else None
    measured = f"{perplexity:.1f}" if isinstance(perplexity, (int, float)) else ""
    return model.name, a.kind, vocabulary, measured, model.source


def _as_json(model: ListedModel, about: Description | str | None) -> dict[str, Any]:
    document: dict[str, Any] = {
        "name": model.name,
        "source": model.source,
        "path": str(model.path) if model.path else None,
    }
    if isinstance(about, str):
        return document | {"failure": about}
    if about is None:
        return document
    return document | {
        "architecture": about.architecture.to_dict(),
        "tokens": about.tokens,
        "training": about.manifest.get("training"),
        "figures": about.manifest.get("figures"),
    }


def _show(out: Output, model: ListedModel, about: Description | None) -> None:
    from corelm.cli.output import blocks

    out.show(
        blocks.heading(model.name), blocks.pairs([("source", str(model.path or model.source))])
    )
    if about is None:
        loaded = load(model.source)
        facts = {"vocabulary": len(loaded.vocabulary), "context length": loaded.context_length}
        out.show(blocks.pairs(_flat(facts)))
        return
    network = about.architecture.to_dict() | {"tokens": about.tokens}
    training = dict(about.manifest["training"])
    training.pop("architecture", None)  # the same as the network
    parts = {"network": network, "training": training, "figures": about.manifest["figures"]}
    out.show(blocks.line(""))
    sections = [blocks.section(title, blocks.pairs(_flat(p))) for title, p in parts.items()]
    out.page(chain.from_iterable(sections))


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Flatten nested facts to pairs of name and value; skip tables with several rows."""
    if not isinstance(value, Mapping):
        if not (isinstance(value, list) and any(isinstance(row, Mapping) for row in value)):
            yield name, _text(value)
        return
    for key, part in value.items():
        yield from _flat(part, f"{name} {key}".strip().replace("_", " "))


def _text(value: Any) -> str:
    if isinstance(value, list):
        return " to ".join(map(_text, value))
    if isinstance(value, float):
        return f"{value:.5g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
