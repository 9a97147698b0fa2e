"""`corelm presets`: other engines' sampling, as expressions to be used or changed."""

from __future__ import annotations

from typing import Annotated

import typer

from corelm.cli.options.completion import preset_names
from corelm.cli.output import messages
from corelm.cli.output.product import Output, product
from corelm.plugins.engine_presets import ENGINES, EnginePreset, preset


def presets(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME", autocompletion=preset_names, help="One of them, such as llama.cpp."
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """List other engines' sampling, or print that of one as an expression.

    The expression may be changed and given to --sampler.

    \b
    corelm presets
    corelm presets llama.cpp
    corelm sample --sampler "$(corelm presets keras-hub | sed s/k=5/k=9/)"
    """
    with product() as out:
        if name is not None:
            preset(name)  # refuses a name that there is not
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
