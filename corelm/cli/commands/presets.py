"""`corelm presets`: the default samplers of other engines, as expressions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from corelm.cli.options.completion import preset_names
from corelm.cli.output import messages
from corelm.cli.output.product import Output, product
from corelm.cli.text_values import TextCommand
from corelm.plugins.engine_presets import ENGINES, EnginePreset, preset

SHORT_HELP = "List the default samplers of other engines."


def register(app: typer.Typer, words: Sequence[str] | None) -> None:
    """Add the command to the application."""
    app.command("presets", cls=TextCommand, short_help=SHORT_HELP)(presets)


def presets(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME", autocompletion=preset_names, help="An engine, such as llama.cpp."
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """List the default samplers of llama.cpp, transformers, vLLM, mlx-lm and KerasHub.

    Each is a chain that you can print, edit and compare: with NAME the expression is printed,
    to be edited and passed to --sampler.

    \b
    corelm presets
    corelm presets llama.cpp
    corelm sample --sampler "$(corelm presets keras-hub | sed s/k=5/k=9/)"
    """
    with product() as out:
        if name is not None:
            preset(name)  # refuses an unknown name
        engines = ENGINES if name is None else {name: ENGINES[name]}
        documents = [_as_json(name, engine) for name, engine in engines.items()]
        if json:
            out.json(documents if name is None else documents[0])
        elif name is None:
            _list(out)
        else:
            messages.note(ENGINES[name].about)
            out.text(f"{ENGINES[name].expression}\n")


def _as_json(name: str, engine: EnginePreset) -> dict[str, object]:
    return {"name": name, "about": engine.about, "sampler": engine.expression}


def _list(out: Output) -> None:
    from corelm.cli.output import blocks

    for name, engine in ENGINES.items():
        out.show(
            *blocks.section(
                name, blocks.several(map(blocks.line, (engine.about, engine.expression)))
            )
        )
