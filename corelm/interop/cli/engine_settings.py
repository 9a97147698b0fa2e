"""The settings of an engine as notes on standard error, and as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from corelm.cli.output import messages
from corelm.interop.engine_settings.convert import EngineSettings
from corelm.toolkit import LONGEST

OPTIONS = {
    "seed": "--seed",
    "n": "--samples",
    "n_cmpl": "--samples",
    "num_return_sequences": "--samples",
    "stop": "--stop",
    "stop_strings": "--stop",
    "stopping_strings": "--stop",
    "max_tokens": "--length",
    "max_completion_tokens": "--length",
    "max_new_tokens": "--length",
    "n_predict": "--length",
    "genamt": "--length",
}
"""The option of `corelm sample` for a setting that is not a sampler's."""
SHOWN = 100
"""Keys that a note lists at most: more than any engine has."""


def comment(settings: EngineSettings) -> None:
    """Write the engine of the settings and the keys outside the chain to standard error."""
    messages.note(f"the settings of {settings.engine}; keys that are left out have its defaults")
    if settings.unsupported:
        reasons = [f"{k} ({why})" if why else k for k, why in settings.unsupported.items()]
        messages.warn(f"no counterpart in corelm: {_listed(reasons)}")
    if settings.idle:
        messages.note(f"without effect in {settings.engine} here: {_listed(settings.idle)}")
    if settings.other:
        keys = [f"{key} ({OPTIONS[key]})" if key in OPTIONS else key for key in settings.other]
        messages.note(f"not samplers, left out: {_listed(keys)}")
    if settings.unknown:
        messages.warn(f"unknown to corelm, left out: {_listed(settings.unknown)}")


def as_json(settings: EngineSettings) -> dict[str, Any]:
    """Return the settings for JSON."""
    return {
        "engine": settings.engine,
        "sampler": str(settings.sampler),
        "unsupported": dict(settings.unsupported),
        "idle": list(settings.idle),
        "other": dict(settings.other),
        "unknown": list(settings.unknown),
    }


def _listed(keys: Iterable[str]) -> str:
    (*shown,) = (key if len(key) <= 2 * LONGEST else f"{key[:LONGEST]}..." for key in keys)
    more = f" and {len(shown) - SHOWN} more (all with --json)" if len(shown) > SHOWN else ""
    return ", ".join(shown[:SHOWN]) + more
