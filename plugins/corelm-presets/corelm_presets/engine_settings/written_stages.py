"""The stages of a chain as values of an engine's keys, and the few stages that matter."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from corelm import Chain, Sampler
from corelm.errors import SettingsError
from corelm.runs import printable
from corelm_presets.engine_settings.engine import Engine
from corelm_presets.engine_settings.setting import NoCounterpartError, Setting, Values, own


def until_greedy(stages: Iterable[Sampler]) -> list[Sampler]:
    """Return the stages that matter: greedy makes all stages after it idle, and some before it."""
    kept: list[Sampler] = []
    for stage in stages:
        if is_own(stage, "greedy") or (is_own(stage, "temperature") and stage == cold()):
            # A stage that keeps the likeliest token has no effect just before it, but may have one
            # before a stage that doesn't: typical | greedy depends on a top_k before.
            while kept and kept[-1].is_argmax_invariant:
                kept.pop()
            return [*kept, own("greedy")]
        if not is_own(stage, "stochastic"):
            kept.append(stage)
    return kept


def write_stages(
    engine: Engine, settings: Sequence[Setting], stages: Sequence[Sampler], values: dict[str, Any]
) -> list[Setting]:
    """Add the values of the stages to `values`; return the setting of each stage."""
    used: list[Setting] = []
    failures = []
    stated: dict[str, Any] = {}
    for stage in stages:
        try:
            setting, written = _counterpart(settings, stage)
            # Merge only once: the check of the order refuses a second stage of a setting later.
            if setting not in used:
                _merge(stated, written)
            used.append(setting)
        except NoCounterpartError as error:
            failures.append(f"{stage}{f' ({error})' if str(error) else ''}")
    if failures:
        have = "has" if len(failures) == 1 else "have"
        raise SettingsError(f"{', '.join(failures)} {have} no counterpart in {engine.name}")
    values |= stated
    return used


def _counterpart(settings: Sequence[Setting], stage: Sampler) -> tuple[Setting, Values]:
    """Find the engine's setting equivalent to a stage; return it with its keys' values."""
    if is_own(stage, "greedy"):
        stage = cold()
    reason = ""
    for setting in settings:
        if is_own(stage, setting.sampler):
            try:
                return setting, setting.values(stage)
            except NoCounterpartError as error:
                reason = str(error)
    raise NoCounterpartError(reason)


def _merge(stated: dict[str, Any], written: Values) -> None:
    """Add a stage's values to those stated: lists are joined; other values must be equal."""
    for key, value in written.items():
        if isinstance(stated.get(key), list):
            value = [*stated[key], *value]
        elif stated.get(key, value) != value:
            raise NoCounterpartError(
                f"{key} is {printable.shown(stated[key])} for an earlier stage"
            )
        stated[key] = value


def chain_of(stages: Sequence[Sampler]) -> Sampler:
    """Return the sampler made of these stages; `stochastic` if there are none."""
    if not stages:
        return own("stochastic")
    return stages[0] if len(stages) == 1 else Chain(tuple(stages))


def cold() -> Sampler:
    """Return the temperature 0, which is greedy."""
    return own("temperature", t=0.0)


def is_own(stage: Sampler, name: str) -> bool:
    """Return True if a stage is corelm's own sampler with this name."""
    return type(stage) is type(own(name))
