"""`corelm presets`: other engines' default samplers; read and write their settings."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any

import typer

from corelm import Sampler, hookimpl
from corelm import sampler as read_sampler
from corelm.commands import ExitCode, Output, application, messages
from corelm.errors import SettingsError, UsageError
from corelm_presets.engine_presets import ENGINES, preset

if TYPE_CHECKING:
    from corelm_presets.engine_settings.convert import EngineSettings

_KEYS = {
    "--seed": "seed sampler_seed",
    "-n": "n n_cmpl num_return_sequences",
    "--stop": "stop stop_strings stopping_strings stop_sequence",
    "--length": "max_tokens max_completion_tokens max_new_tokens n_predict num_predict max_length "
    "genamt",
}
OPTIONS = {key: option for option, keys in _KEYS.items() for key in keys.split()}
"""The option of `corelm sample` for each setting that doesn't belong to a sampler."""
LONGEST = 60
"""The characters of a long key that a note shows."""
SHOWN = 100
"""The most keys that a note lists: more than any engine has."""

SHORT_HELP = "List the default samplers of other engines; read and write their settings."
STDIN = "-"


def engine_names() -> list[str]:
    """Return the names of the engines whose settings corelm reads and writes."""
    from corelm_presets.engine_settings.convert import ENGINES

    return list(ENGINES)


@hookimpl
def corelm_commands() -> Mapping[str, Any]:
    return {"presets": application(presets, SHORT_HELP)}


def presets(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            autocompletion=lambda: [*ENGINES],
            help="An engine, such as llama.cpp.",
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help="Read an engine's settings: a file, - for standard input, or a model's folder "
            "with generation_config.json.",
        ),
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            metavar="ENGINE",
            autocompletion=engine_names,
            help="The engine of the file. Default: the one whose keys it has.",
        ),
    ] = None,
    sampler: Annotated[
        str | None,
        typer.Option(metavar="SAMPLER", help="A sampler or a chain to write with --to."),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            metavar="ENGINE",
            autocompletion=engine_names,
            help="Write the settings of this engine: transformers, llama.cpp, llama.cpp-cli, "
            "openai, vllm, mlx-lm, sillytavern, text-generation-webui, koboldcpp or ollama.",
        ),
    ] = None,
    partial: Annotated[
        bool,
        typer.Option("--partial", help="With --to, leave out stages that the engine cannot apply."),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> int | None:
    """List the default samplers of llama.cpp, transformers, vLLM, mlx-lm and KerasHub.

    Each is a chain that you can print, edit and compare: with NAME the expression is printed,
    to be edited and passed to --sampler.

    With --from, the settings in a file are read as such an expression: a generation_config.json,
    a request to the server of llama.cpp, OpenAI, vLLM, mlx-lm, KoboldCpp or Ollama, flags of
    llama.cpp, a Modelfile, a preset of SillyTavern or text-generation-webui. With --to, a chain is
    written as the settings of an engine.

    The exit code is 3 if a setting that changes the text has no counterpart in corelm, and 1, with
    nothing written, if the engine of --to cannot do what the chain does. With --partial it is 3
    instead: the stages that are left out are named, and the others are written.

    \b
    corelm presets
    corelm presets llama.cpp
    corelm sample --sampler "$(corelm presets keras-hub | sed s/k=5/k=9/)"
    corelm presets --from generation_config.json
    corelm presets --from preset.json --to llama.cpp-cli
    corelm presets --sampler "min_p(p=0.05) | temperature(t=0.7)" --to llama.cpp
    """
    _check(name, source, format, sampler, to)
    if partial and to is None:
        raise UsageError("--partial is for --to, which names the engine to write the chain for")
    with Output.open() as out:
        complete = True
        settings = None if source is None else _read(source, format)
        if settings is not None:
            _comment(settings)
        chain = _chain(name, settings, sampler)
        if to is not None and chain is not None:
            complete = _write(out, chain, to, partial, json)
        elif settings is not None:
            sampler_text = str(settings.sampler)
            if json:
                out.json({**vars(settings), "sampler": sampler_text})
            else:
                out.text(f"{sampler_text}\n")
        else:
            _show(out, name, json)
    # A script must notice that the chain lacks something, although it was printed.
    complete = complete and not (settings is not None and settings.unsupported)
    return None if complete else ExitCode.PARTLY_FAILED


def _check(
    name: str | None, source: str | None, format: str | None, sampler: str | None, to: str | None
) -> None:
    """Raise if the options exclude each other."""
    from corelm_presets.engine_settings.convert import engine_named

    chains = [word for word in (name, source, sampler) if word is not None]
    if len(chains) > 1:
        raise UsageError("a NAME, --from or --sampler, not several of them")
    if format is not None and source is None:
        raise UsageError("--format says which engine's the file of --from is; give --from too")
    if to is not None and not chains:
        raise UsageError("--to writes a chain: give a NAME, --from or --sampler too")
    if sampler is not None and to is None:
        raise UsageError("--sampler is for --to, which names the engine to write the chain for")
    for engine in (format, to):
        if engine is not None:
            engine_named(engine)  # raises for an unknown name before anything is read


def _read(source: str, format: str | None) -> EngineSettings:
    from corelm_presets.engine_settings import files
    from corelm_presets.engine_settings.convert import from_settings, read_content

    if source != STDIN:
        return from_settings(source, format)
    if sys.stdin is None:
        raise SettingsError("standard input is closed: there is nothing to read")
    try:
        return read_content(sys.stdin.buffer.read(files.LARGEST_FILE + 1), format)
    except SettingsError as error:
        raise SettingsError(f"cannot read the settings in standard input: {error}") from error


def _chain(
    name: str | None, settings: EngineSettings | None, sampler: str | None
) -> Sampler | None:
    if settings is not None:
        return settings.sampler
    if sampler is not None:
        return read_sampler(sampler)
    return None if name is None else preset(name)  # raises for an unknown name


def _write(out: Output, chain: Sampler, to: str, partial: bool, json: bool) -> bool:
    """Write a chain as an engine's settings; return False if a stage was left out."""
    from corelm_presets.engine_settings.convert import (
        engine_named,
        rewritten,
        to_settings,
        to_settings_in_part,
    )

    lost: Mapping[str, str] = {}
    try:
        values = to_settings(chain, to)
        if (equal := rewritten(chain, to)) is not None:
            messages.tell(
                f"written as {equal}, which draws from the same distribution in its order", "note"
            )
    except SettingsError as error:
        if not partial:
            raise SettingsError(f"{error}; --partial writes the rest") from error
        values, lost = to_settings_in_part(chain, to)
    for stage, reason in lost.items():
        named = reason.startswith(stage)
        messages.tell(f"left out: {reason if named else f'{stage}: {reason}'}", "warning")
    if json:
        out.json(values)
    else:
        out.document(engine_named(to).text(values))
    return not lost


def _show(out: Output, name: str | None, json: bool) -> None:
    engines = ENGINES if name is None else {name: ENGINES[name]}
    documents = [
        {"name": name, "about": engine.about, "sampler": engine.expression}
        for name, engine in engines.items()
    ]
    if json:
        out.json(documents if name is None else documents[0])
    elif name is None:
        from corelm.commands import blocks

        entries = (
            [*blocks.entry(name, (), engine.about, engine.expression), blocks.line("")]
            for name, engine in ENGINES.items()
        )
        out.page(chain.from_iterable(entries))
    else:
        messages.tell(ENGINES[name].about, "note")
        out.text(f"{ENGINES[name].expression}\n")


def _comment(settings: EngineSettings) -> None:
    """Write the engine of the settings and the keys outside the chain to standard error."""
    messages.tell(
        f"the settings of {settings.engine}; keys that are left out have its defaults", "note"
    )
    if settings.unsupported:
        reasons = [f"{k} ({why})" if why else k for k, why in settings.unsupported.items()]
        messages.tell(f"no counterpart in corelm: {_listed(reasons)}", "warning")
    if settings.inexact:
        reasons = [f"{key} ({why})" for key, why in settings.inexact.items()]
        messages.tell(f"not the same in {settings.engine}: {_listed(reasons)}", "warning")
    if settings.idle:
        messages.tell(f"without effect in {settings.engine} here: {_listed(settings.idle)}", "note")
    if settings.other:
        keys = [f"{key} ({OPTIONS[key]})" if key in OPTIONS else key for key in settings.other]
        messages.tell(f"not samplers, left out: {_listed(keys)}", "note")
    if settings.unknown:
        messages.tell(f"unknown to corelm, left out: {_listed(settings.unknown)}", "warning")


def _listed(keys: Iterable[str]) -> str:
    (*shown,) = (key if len(key) <= 2 * LONGEST else f"{key[:LONGEST]}..." for key in keys)
    more = f" and {len(shown) - SHOWN} more (all with --json)" if len(shown) > SHOWN else ""
    return ", ".join(shown[:SHOWN]) + more
