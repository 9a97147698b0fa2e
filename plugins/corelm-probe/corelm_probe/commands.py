"""`corelm probe`: write the models, and probe an engine that runs one of them."""

from __future__ import annotations

import json as json_format
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import corelm
from corelm.commands import ExitCode, read_text
from corelm.errors import UsageError
from corelm.runs import json_object, printable

if TYPE_CHECKING:
    from corelm_probe.engine import Engine, Settings


def write(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to write.")],
    only: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A model; all by default.")
    ] = None,
) -> None:
    """Write the models: folders for transformers, vLLM, MLX and KerasHub, GGUF for llama.cpp.

    GGUF files need the package gguf.
    """
    from corelm_probe.files import write_models
    from corelm_probe.models import model_named

    for path in write_models(folder, [model_named(name).name for name in only or []]):
        typer.echo(path)


def run(
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET",
            help="http://HOST:PORT of a server, or ENGINE:PATH in this process: transformers, "
            "keras_hub and mlx with a folder, llama_cpp with a file.",
        ),
    ],
    settings: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="The settings, as the engine reads them."),
    ] = None,
    sampler: Annotated[
        str | None,
        typer.Option(
            metavar="SAMPLER", help="The settings as a chain, written in the engine's keys."
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The model that it runs; by default TARGET's name."),
    ] = None,
    api: Annotated[
        str, typer.Option(help="Of a server: openai, llama.cpp, koboldcpp or ollama.")
    ] = "openai",
    served: Annotated[
        str, typer.Option(metavar="NAME", help="The model's name in requests to a server.")
    ] = "",
    key: Annotated[
        str | None,
        typer.Option(metavar="env:NAME", help="The environment variable with a server's key."),
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            metavar="ENGINE",
            help="Whose keys the settings have, such as vllm; corelm sends the sampler as it is.",
        ),
    ] = None,
    draws: Annotated[int, typer.Option(help="Tokens to draw.", min=100)] = 20_000,
    seed: Annotated[int, typer.Option(help="Of the first request.", min=0)] = 1,
    level: Annotated[
        float, typer.Option(help="How often a correct engine may fail.", min=0.001, max=0.5)
    ] = 0.001,
    json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> int | None:
    """Draw tokens, test them against the settings, and find the chain that explains them.

    Exits with 1 if the draws are not consistent with the settings.

    \b
    corelm probe models probes
    corelm probe run transformers:probes/slope --sampler "top_k(k=20)"
    corelm probe run http://localhost:8080 --api llama.cpp --from request.json
    """
    from corelm_probe.checks import NEIGHBOURS, run_checks
    from corelm_probe.engines import open_engine
    from corelm_probe.models import model_named
    from corelm_probe.report import document, lines
    from corelm_probe.verdict import SEVERAL, SINGLE, probe

    # The folder or file is named after the model; a server has no such name.
    of_target = "slope" if target.startswith("http") else Path(target.partition(":")[2]).stem
    probed = model_named(model or of_target)
    engine = open_engine(target, api=api, served=served, key=_key(key))
    if format is not None:
        engine.format = None if format == "corelm" else format
    sent = _settings(settings, sampler, engine.format)
    announced: Any = _Announced(engine)
    verdict = probe(announced, sent, probed, draws=draws, seed=seed, level=level)
    real = verdict.explanation.sampler if verdict.explanation else verdict.fit.chain
    checks = run_checks(engine, sent, real, probed, seed)
    if verdict.fault in (SEVERAL, SINGLE):
        checks = {**checks, NEIGHBOURS: f"no: the draws are wrong for {verdict.fault} alone"}
    verdict = replace(verdict, checks=checks)
    if json:
        typer.echo(json_format.dumps(document(verdict), indent=2, default=str))
    else:
        for line in lines(verdict):
            typer.echo(printable.strip_controls(line))
    return None if verdict.consistent else ExitCode.FAILED


class _Announced:
    """An engine whose requests are named on stderr: a slow one can take minutes for each."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self._announced = engine, ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def draw(
        self, prompt: Sequence[int], settings: Settings, n: int, seed: int, length: int
    ) -> Any:
        line = f"drawing {n:,} x {length} tokens after {len(prompt)} of a prompt"
        if line != self._announced:  # once for all texts that are drawn alone
            typer.echo(line, err=True)
            self._announced = line
        return self._engine.draw(prompt, settings, n, seed, length)


def _key(named: str | None) -> str:
    """Return the key from the variable in `env:NAME`, as other users can read a command line."""
    if named is None:
        return ""
    scheme, _, name = named.partition(":")
    if scheme != "env" or not os.environ.get(name):
        raise UsageError("--key takes env:NAME, with a variable that holds the server's key")
    return os.environ[name]


def _settings(file: Path | None, sampler: str | None, engine: str | None) -> dict[str, Any]:
    """Return the settings to send, in the engine's keys."""
    if (file is None) == (sampler is None):
        raise UsageError("give the settings as --from FILE or as --sampler, one of them")
    if sampler is not None:
        if engine is None:
            return {"sampler": sampler}
        return corelm.to_settings(corelm.sampler(sampler), engine)
    assert file is not None
    return json_object(read_text(str(file), "the settings"), repr(str(file)))


@corelm.hookimpl
def corelm_commands() -> dict[str, typer.Typer]:
    app = typer.Typer(help="Find out which distribution an engine really draws from.")
    app.command("models")(write)
    app.command("run")(run)
    return {"probe": app}
