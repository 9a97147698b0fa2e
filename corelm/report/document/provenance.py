"""Where the parts of a report come from: versions, and the plugin of each sampler."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from corelm.machine import machine
from corelm.params import Parameterized
from corelm.plugins.offers import Source
from corelm.plugins.registry import registry
from corelm.sampler import Sampler


def made_with() -> dict[str, Any]:
    """What made a report, and when."""
    here = machine()
    return {
        "corelm": version("corelm"),
        **{key: here[key] for key in ("python", "numpy", "platform")},
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def failed_plugins() -> list[dict[str, str]]:
    """Of all plugins those that could not be loaded, each with its reason."""
    registry().load_all()
    failures = registry().failures.items()
    return [{"plugin": str(source), "reason": reason} for source, reason in failures]


def described(sampler: Sampler) -> dict[str, Any]:
    """A sampler, its parameters and its plugin; of a chain, those of each stage."""
    stages = [_stage(stage) for stage in sampler.stages]
    alone = stages[0] if len(stages) == 1 else {"params": {}, "plugin": None}
    return {
        "sampler": str(sampler),
        "name": name_of(sampler),
        "params": alone["params"],
        "plugin": alone["plugin"],
        "stages": stages,
    }


def name_of(sampler: Sampler) -> str:
    """The registered name; of a chain, those of its stages with bars between."""
    return " | ".join(stage.name for stage in sampler.stages)


def source_of(sampler: Sampler) -> Source:
    """The plugin of one sampler; this process for one that was made by hand."""
    offer = registry().offer_of(type(sampler))
    return offer.source if offer else Source("this process", "", type(sampler).__qualname__)


def release_of(sampler: Sampler) -> str:
    """The plugin of one sampler and its version."""
    source = source_of(sampler)
    return f"{source} {source.version}".strip()


def _stage(sampler: Sampler) -> dict[str, Any]:
    source = source_of(sampler)
    plugin = {
        "distribution": source.distribution,
        "version": source.version,
        "entry_point": source.entry_point,
    }
    return {"name": sampler.name, "params": parameters(sampler), "plugin": plugin}


def parameters(thing: Parameterized) -> dict[str, Any]:
    """The parameters by name, as JSON has them."""
    return {p.name: _plain(getattr(thing, p.name)) for p in thing.parameters()}


def _plain(value: Any) -> Any:
    """A value that JSON holds; what it lacks, such as infinity, in words."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (bool, int, str)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return str(value)
