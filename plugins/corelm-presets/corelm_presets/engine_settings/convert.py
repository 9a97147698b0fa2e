"""Read an engine's settings as a chain of samplers, and write a chain as an engine's settings."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from corelm import Sampler
from corelm import sampler as read_sampler
from corelm.errors import SettingsError, UnknownNameError, UsageError
from corelm.runs import printable
from corelm_presets.engine_settings import (
    files,
    koboldcpp,
    llama_cpp,
    llama_cpp_flags,
    ollama,
    openai,
    transformers,
)
from corelm_presets.engine_settings import text_generation_webui as webui
from corelm_presets.engine_settings.engine import (
    Engine,
    chain_of,
    cold,
    equal_chains,
    is_own,
    until_greedy,
    write_stages,
)
from corelm_presets.engine_settings.setting import NoCounterpartError, Values, own

ENGINES: Mapping[str, Engine] = {
    engine.name: engine
    for engine in (
        transformers.ENGINE,
        llama_cpp.ENGINE,
        llama_cpp_flags.ENGINE,
        openai.OPENAI,
        openai.VLLM,
        openai.MLX_LM,
        webui.SILLYTAVERN,
        webui.WEBUI,
        koboldcpp.ENGINE,
        ollama.ENGINE,
    )
}
SYNTAX = {
    "yaml": webui.WEBUI.name,
    "flags": llama_cpp_flags.ENGINE.name,
    "modelfile": ollama.ENGINE.name,
}
"""The engine of each file syntax that belongs to one engine only."""
SIGNS = {koboldcpp.ENGINE: koboldcpp.is_request, ollama.ENGINE: ollama.is_request}
"""Engines whose keys resemble another engine's, each with a function that recognises its
requests."""


@dataclass(frozen=True)
class EngineSettings:
    """The settings of an engine, as `from_settings` reads them.

    Attributes:
        engine: the name of the engine.
        sampler: the active samplers in the engine's order.
        unsupported: settings that change the text and have no counterpart in corelm, each with
            the reason if there is one.
        inexact: settings whose sampler in corelm acts differently from the engine's in this chain,
            each with the reason.
        idle: keys that the engine itself ignores here, such as `top_p` without `do_sample`.
        other: keys with their values that do not change the distribution of a token, such as
            `seed` and `max_tokens`.
        unknown: keys that corelm has no entry for.
    """

    engine: str
    sampler: Sampler
    unsupported: Mapping[str, str]
    inexact: Mapping[str, str]
    idle: tuple[str, ...]
    other: Mapping[str, Any]
    unknown: tuple[str, ...]


def from_settings(
    source: Mapping[str, Any] | str | os.PathLike[str], engine: str | None = None
) -> EngineSettings:
    """Read the settings of an engine as a sampler.

    A missing key has the engine's default: without `top_k`, llama.cpp keeps 40 tokens.

    Args:
        source: the settings; or a file with them in JSON, in YAML, as flags of llama.cpp, or as
            a Modelfile; or the folder of a model with a `generation_config.json`.
        engine: one of transformers, llama.cpp, llama.cpp-cli, openai, vllm, mlx-lm, sillytavern,
            text-generation-webui, koboldcpp and ollama; by default the engine whose keys these are.

    Raises:
        SettingsError: a file that cannot be read, or a value that a sampler cannot have.
        UsageError: keys that fit several engines, or none.
        UnknownNameError: no such engine.

    Example:
        >>> import corelm
        >>> settings = corelm.from_settings({"temp": 0.7, "rep_pen": 1.1, "seed": 3})
        >>> settings.engine, settings.other
        ('sillytavern', {'seed': 3})
        >>> corelm.from_settings({"top_k": 20, "repeat_penalty": 1.1, "repeat_last_n": 32}).sampler
        repetition_penalty(penalty=1.1, last=32, skip_prompt=False, normalised=False) | \
top_k(k=20) | top_p(p=0.95) | min_p(p=0.05) | temperature(t=0.8)
    """
    if isinstance(source, Mapping):
        return read_values(source, engine)
    try:
        if engine is None and files.file_at(source).name == files.FILE:  # or the keys decide
            engine = transformers.ENGINE.name
        return read_content(files.content_of(source), engine)
    except SettingsError as error:
        raise SettingsError(f"cannot read the settings in {os.fspath(source)}: {error}") from error


def to_settings(sampler: Sampler | str, engine: str) -> dict[str, Any]:
    """Write a sampler as the settings of an engine.

    Every sampler of the engine is written, even if it is off, so that no default acts.
    `from_settings` reads the settings as the same sampler, or, where the engine has a fixed order,
    as one with the same distribution: min_p(p) | temperature(t) is written as
    temperature(t) | min_p(p ** (1/t)).

    Args:
        sampler: a sampler, a registered name or an expression.
        engine: as in `from_settings`.

    Raises:
        SettingsError: the engine cannot do the same; the message names the stages.
        UnknownNameError: no such engine.

    Example:
        >>> import corelm
        >>> corelm.to_settings("temperature(t=0.7) | top_p(p=0.9)", "openai")
        {'frequency_penalty': 0.0, 'presence_penalty': 0.0, 'temperature': 0.7, 'top_p': 0.9}
        >>> corelm.to_settings("top_p(p=0.9) | temperature(t=0.5)", "vllm")
        Traceback (most recent call last):
        corelm.errors.SettingsError: vllm applies temperature before top_p
    """
    return _settings_and_chain(sampler, engine)[0]


def rewritten(sampler: Sampler | str, engine: str) -> Sampler | None:
    """Return the equivalent chain that `to_settings` writes instead; None if it writes this one."""
    stages = until_greedy(read_sampler(sampler).active_stages)
    written = _settings_and_chain(sampler, engine)[1]
    return None if written == stages else chain_of(written)


def _settings_and_chain(
    sampler: Sampler | str, engine: str
) -> tuple[dict[str, Any], list[Sampler]]:
    """Return the settings of a sampler, and its stages in the order that they express."""
    target = engine_named(engine)
    stages = until_greedy(read_sampler(sampler).active_stages)
    failure = None
    for each in (stages, *equal_chains(stages)):
        try:
            return _settings_of(target, each, str(sampler)), each
        except SettingsError as error:
            failure = failure or error
    assert failure is not None
    raise failure


def _settings_of(target: Engine, stages: Sequence[Sampler], text: str) -> dict[str, Any]:
    """Write stages as the settings of an engine.

    Raises:
        SettingsError: the engine cannot do the same.
    """
    values: dict[str, Any] = {}
    switched_off = bool(target.switch and stages and is_own(stages[-1], "greedy"))
    if target.switch:
        values[target.switch] = not switched_off
    for setting in target.acting(values):
        values |= setting.off  # otherwise the engine's default would act
    if switched_off:  # only penalties and masks act before greedy
        used = write_stages(target, target.acting(values), stages[:-1], values)
    else:
        used = write_stages(target, target.settings, stages, values)
    words = target.to_words({**values, **target.arranged(used)})
    # Read the settings back, so that an error in a table never writes a different chain.
    if _stages(target, target.from_words(words), {}) != stages:
        raise SettingsError(f"{target.name} cannot do the same as {text}")
    return dict(words)


def to_settings_in_part(
    sampler: Sampler | str, engine: str
) -> tuple[dict[str, Any], dict[str, str]]:
    """Write as many stages of a sampler as an engine can apply, the first ones first.

    Args:
        sampler: a sampler, a registered name or an expression.
        engine: as in `from_settings`.

    Returns:
        The settings, and each stage that is missing from them with the reason.

    Raises:
        UnknownNameError: no such engine.

    Example:
        >>> settings, lost = to_settings_in_part("min_p(p=0.1) | top_p(p=0.9)", "openai")
        >>> settings["top_p"], lost
        (0.9, {'min_p(p=0.1)': 'min_p(p=0.1) has no counterpart in openai'})
    """
    expressible: list[Sampler] = []
    lost: dict[str, str] = {}
    for stage in until_greedy(read_sampler(sampler).active_stages):
        try:
            # In the order that the engine takes, so that a failure is about this stage.
            expressible = _settings_and_chain(chain_of([*expressible, stage]), engine)[1]
        except SettingsError as error:
            lost[str(stage)] = str(error)
    return to_settings(chain_of(expressible), engine), lost


def engine_named(name: str) -> Engine:
    """Return the engine of a name.

    Raises:
        UnknownNameError: no such engine; the message lists them.
    """
    if name not in ENGINES:
        hint = printable.did_you_mean(name, ENGINES)
        raise UnknownNameError(
            f"there is no engine {name!r}{hint} (there are: {', '.join(ENGINES)})"
        )
    return ENGINES[name]


def read_content(content: bytes, engine: str | None = None) -> EngineSettings:
    """Read the content of a file of settings."""
    values, syntax = files.parsed(content)
    return read_values(values, engine or SYNTAX.get(syntax))


def read_values(values: Values, name: str | None) -> EngineSettings:
    """Read the values of keys; detect the engine by the keys if none is named."""
    values = {str(key): value for key, value in values.items()}
    return _read(engine_named(name), values) if name else _detected(values)


def _detected(values: Values) -> EngineSettings:
    """Read the values for the engine that matches most keys; sampler keys count first.

    If several engines match equally many keys and allow the values, they must agree on the sampler.
    """
    for engine, is_its_own in SIGNS.items():
        if is_its_own(values):
            return _read(engine, values)
    flags = any(key.startswith("-") for key in values)
    # Only one engine has flags; as keys they would match no other engine.
    engines = [e for e in ENGINES.values() if (e is llama_cpp_flags.ENGINE) == flags]
    engines = [e for e in engines if e not in SIGNS]
    counts = {engine: _matching_keys(engine, values) for engine in engines}
    most = max(counts.values())
    if not most[0]:
        raise UsageError(
            f"no key is a sampler's in {_any_of(e.name for e in engines)}; say which engine they "
            "are for: --format, or engine= in Python"
        )
    readings = _readable([engine for engine, count in counts.items() if count == most], values)
    if any(settings.sampler != readings[0].sampler for settings in readings):
        raise UsageError(
            f"the keys may be those of {_any_of(settings.engine for settings in readings)}, where "
            "they mean different samplers; say which one: --format, or engine= in Python"
        )
    return readings[0]


def _readable(engines: Iterable[Engine], values: Values) -> list[EngineSettings]:
    """Return the settings of each engine that allows the values; raise if none does.

    A value that is an error in other engines, and makes the rest greedy or is allowed by one alone,
    such as a temperature of -1 or a `top_p` of 1.5, is an error unless the engine is named.
    """
    readings, failures = [], []
    for engine in engines:
        try:
            readings.append(_read(engine, values))
        except SettingsError as error:
            failures.append(error)
    if failures and (
        len(readings) == 1 < len(failures)
        or all(is_own(settings.sampler, "greedy") for settings in readings)
    ):
        raise failures[0]
    return readings


def _any_of(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} or {last}" if most else last


def _matching_keys(engine: Engine, values: Values) -> tuple[int, int]:
    """Count an engine's keys among the values: its samplers' keys, and all keys."""
    words = engine.from_words(values)
    samplers = words.keys() & engine.sampler_keys  # not `spellings`: one may be another's own key
    keys = {engine.spellings.get(key, key) for key in words}
    others = {*engine.unsupported, *engine.other_keys, *engine.ignored_keys}
    return len(samplers), len(samplers | keys & others)


def _read(engine: Engine, named: Values) -> EngineSettings:
    words = engine.from_words(named)
    values = {engine.spellings.get(k, k): v for k, v in words.items()}
    unsupported = {f"{name} in the list of samplers": "" for name in engine.unknown_names(values)}
    # A key at its off value changes nothing, so nothing is lost.
    for key, off in engine.unsupported.items():
        if values.get(key) not in (None, off):
            unsupported[key] = ""
    stages = _stages(engine, values, unsupported)
    others = engine.other_keys
    known = {*engine.sampler_keys, *engine.unsupported, *engine.ignored_keys, *others}
    gone = [key for key in engine.ignored_keys if key in values]
    return EngineSettings(
        engine.name,
        chain_of(stages),
        unsupported,
        {**engine.inexact(stages), **_moved(engine, stages)},
        tuple(dict.fromkeys([*_idle(engine, values, stages), *gone])),
        {key: value for key, value in values.items() if key in others},
        tuple(key for key in values if key not in known),
    )


def _stages(engine: Engine, values: Values, unsupported: dict[str, str]) -> list[Sampler]:
    """Return the stages that act; note the settings without a counterpart."""
    stages, values = [], engine.heeded(values)
    for setting in engine.acting(values):
        try:
            stage = setting.stage(values)
        except NoCounterpartError as error:
            present = [key for key in setting.keys if values.get(key) is not None]
            unsupported[present[0] if present else setting.sampler] = str(error)
            continue
        stages += [] if stage is None else [stage]
    if engine.is_greedy(values):
        stages.append(own("greedy"))
    return until_greedy(stages)


def _moved(engine: Engine, stages: Sequence[Sampler]) -> dict[str, str]:
    """Return the repetition penalty's key and a reason, if corelm's quadratic comes before it.

    It may add a constant to all logits, while the engines' does not.
    """
    moved = False
    for stage in stages:
        if moved and is_own(stage, "repetition_penalty"):
            keys = next(s.keys for s in engine.settings if s.sampler == "repetition_penalty")
            return {next(iter(keys)): "quadratic before it moves all logits, and it goes by signs"}
        moved = moved or is_own(stage, "quadratic")
    return {}


def _idle(engine: Engine, values: Values, stages: Sequence[Sampler]) -> Iterator[str]:
    """Yield the keys of samplers that are on, but not among the stages.

    An invalid value is an error even in an idle key: the file is wrong, or another engine's.
    """
    heeded = engine.heeded(values)
    # A key may belong to several settings: a dynamic temperature's middle acts without its range.
    used = {key for setting in engine.acting(values) for key in setting.keys if key in heeded}
    for setting in engine.settings:
        with contextlib.suppress(NoCounterpartError):
            stage = setting.stage(values)
            # A temperature of 0 is among the stages as greedy.
            if stage is not None and stage != cold() and stage not in stages:
                present = [key for key in setting.keys if values.get(key) is not None]
                yield from ([key for key in present if key not in used] or present)[:1]
