"""`corelm models`: what there is, what each is, and export for Keras."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from corelm.cli.keras_import import import_keras
from corelm.cli.options.completion import model_names
from corelm.cli.output.product import Output, product
from corelm.errors import CorelmError, UsageError
from corelm.model.load import Listed, list_models, load

if TYPE_CHECKING:
    from corelm.model.bundle import Description

Json = Annotated[bool, typer.Option("--json", help="One JSON document.")]
Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME|PATH",
        autocompletion=model_names,
        help="A model of `corelm models`, or the path of one.",
    ),
]
COMMANDS = ("show", "export")


def models(context: typer.Context, json: Json = False) -> None:
    """List the models, or show one: corelm models NAME is short for corelm models show NAME.

    \b
    corelm models imdb
    corelm models export imdb --to imdb.keras
    """
    if context.invoked_subcommand:
        return
    with product() as out:
        described = [(model, _described(model)) for model in list_models()]
        if json:
            out.json([_as_json(model, about) for model, about in described])
        else:
            headers = ("model", "network", "vocabulary", "perplexity", "where")
            out.rows(headers, [_row(model, about) for model, about in described])


def show(name: Name, json: Json = False) -> None:
    """Show what a model is, how it was trained and what was measured."""
    with product() as out:
        model = _find(name)
        about = _description(model)
        if json:
            out.json(_as_json(model, about))
        else:
            _show(out, model, about)


def export(
    name: Name,
    to: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What to write; its name ends with .keras.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a file that is there already.")
    ] = False,
) -> None:
    """Write a model as a .keras file, and say where it is."""
    if to is None:
        raise UsageError(f"say where to: corelm models export {name} --to {Path(name).name}.keras")
    with product() as out:
        model = _find(name)
        if not model.path:
            raise UsageError(f"{name} is no model in a folder, and only such can be exported")
        import_keras("the export of a model")
        from corelm.model.bundle import read
        from corelm.model.keras_file import write_keras

        path = write_keras(read(model.path), to, overwrite=overwrite)
        out.text(f"{path}\n")


def _find(name: str) -> Listed:
    """The one model of a name, a full name or a path.

    Raises:
        UsageError: none or several; says which there are.
        ModelFileError: a path where there is none.
    """
    found = [model for model in list_models() if name in (model.name, model.source)]
    if len(found) == 1:
        return found[0]
    if not found and Path(name).is_dir():
        return Listed(name, name, Path(name))
    load(name)  # says what is wrong with the name, or that it is a model without a folder
    return Listed(name, name, None)


def _description(model: Listed) -> Description | None:
    """What a model in a folder is; read only here, for no other command needs it."""
    from corelm.model.bundle import describe

    return describe(model.path) if model.path else None


def _described(model: Listed) -> Description | str | None:
    """What a model in a folder is, or why that cannot be read."""
    try:
        return _description(model)
    except CorelmError as error:
        return str(error)


def _row(model: Listed, about: Description | str | None) -> tuple[str, ...]:
    if isinstance(about, str):
        return model.name, "", "", "", f"{model.source} FAILED: {about}"
    if about is None:
        return model.name, "", "", "", model.source
    a = about.architecture
    vocabulary = f"{a.vocabulary_size:,} {about.tokens}"
    return model.name, a.kind, vocabulary, _perplexity(about), model.source


def _perplexity(about: Description) -> str:
    value = _at(about.manifest, "figures", "held_out", "perplexity")
    return f"{value:.1f}" if isinstance(value, (int, float)) else ""


def _at(value: Any, *keys: str) -> Any:
    """What lies at the end of some keys; None where there is nothing."""
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _as_json(model: Listed, about: Description | str | None) -> dict[str, Any]:
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


def _show(out: Output, model: Listed, about: Description | None) -> None:
    from corelm.cli.output import blocks

    out.show(blocks.heading(model.name), blocks.pairs([("where", str(model.path or model.source))]))
    if about is None:
        loaded = load(model.source)
        facts = {"vocabulary": len(loaded.vocabulary), "context length": loaded.context_length}
        out.show(blocks.pairs(_flat(facts)))
        return
    network = about.architecture.to_dict() | {"tokens": about.tokens}
    training = dict(about.manifest["training"])
    training.pop("architecture", None)  # the network, once more
    parts = {"network": network, "training": training, "figures": about.manifest["figures"]}
    out.show(blocks.line(""))
    for title, part in parts.items():
        out.show(*blocks.section(title, blocks.pairs(_flat(part))))


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Nested facts as pairs of a name and a value; tables of many rows are left out."""
    if not isinstance(value, Mapping):
        if not _is_table(value):
            yield name, _text(value)
        return
    for key, part in value.items():
        yield from _flat(part, f"{name} {key}".strip().replace("_", " "))


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(row, Mapping) for row in value)


def _text(value: Any) -> str:
    if isinstance(value, list):
        return " to ".join(map(_text, value))
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
