"""The provenance of a report: versions, and the plugin and parameters of each sampler."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from corelm import Decoder, Sampler
from corelm.toolkit import Parameterized, Source, Strategy, machine, parts, registry, temperature_of
from corelm.toolkit import source_of as source_of_docstring


def made_with() -> dict[str, Any]:
    """Return the versions, the build and the processor that made a report, and the time."""
    here = machine()
    keys = ("python", "numpy", "platform", "processor", "kernels", "vector_width")
    return {
        "corelm": version("corelm"),
        **{key: here[key] for key in keys},
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def failed_plugins() -> list[dict[str, str]]:
    """Return the installed plugins that could not be loaded, each with the reason."""
    registry().load_all()
    failures = registry().failures.items()
    return [{"plugin": str(source), "reason": reason} for source, reason in failures]


def described(strategy: Strategy) -> dict[str, Any]:
    """Describe a strategy, its parameters and its plugin; for a chain, those of each stage."""
    stages = [_stage(stage) for stage in strategy.stages]
    alone = stages[0] if len(stages) == 1 else {"params": {}, "plugin": None}
    return {
        "sampler": str(strategy),
        "name": name_of(strategy),
        "params": alone["params"],
        "plugin": alone["plugin"],
        "temperature": _temperature(strategy.sampler) if strategy.decoder is None else None,
        "stages": stages,
    }


def name_of(strategy: Strategy) -> str:
    """Return the registered name; for a chain, those of its stages with bars between."""
    return " | ".join(stage.name for stage in strategy.stages)


def _temperature(sampler: Sampler) -> float | None:
    """Return the one temperature of a sampler; None if it has none, or an infinite one."""
    t = temperature_of(sampler)
    return t if t is not None and math.isfinite(t) else None


def source_of(sampler: Sampler | Decoder) -> Source:
    """Return the plugin of a sampler or decoder; this process for a class that none offers."""
    offer = registry().offer_of(type(sampler))
    return offer.source if offer else Source("this process", "", type(sampler).__qualname__)


def releases_of(strategy: Strategy) -> list[str]:
    """Return the plugin and its version of each stage, and of the samplers in its parameters."""
    sources = [source_of(part) for stage in strategy.stages for part in parts(stage)]
    return [f"{source} {source.version}".strip() for source in sources]


def _stage(sampler: Sampler | Decoder) -> dict[str, Any]:
    source = source_of(sampler)
    plugin = {
        "distribution": source.distribution,
        "version": source.version,
        "entry_point": source.entry_point,
    }
    return {
        "name": sampler.name,
        "kind": "decoder" if isinstance(sampler, Decoder) else sampler.kind,
        "params": parameters(sampler),
        "plugin": plugin,
        "sources": sources_of(sampler),
    }


def sources_of(thing: Sampler | Decoder) -> list[str]:
    """Return the sources that the docstrings of a strategy and of the samplers inside it name."""
    sources = [source_of_docstring(type(part)) for part in parts(thing)]
    return list(dict.fromkeys(filter(None, sources)))


def parameters(thing: Parameterized) -> dict[str, Any]:
    """Return the parameters by name, with values that JSON can hold."""
    return {p.name: _plain(getattr(thing, p.name)) for p in thing.parameters()}


def _plain(value: Any) -> Any:
    """A value as JSON holds it; a value that JSON lacks, such as infinity, as text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (bool, int, str)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return str(value)
