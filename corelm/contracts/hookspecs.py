"""The hooks: functions that a plugin may implement, each marked with `@corelm.hookimpl`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import pluggy

if TYPE_CHECKING:
    from corelm.contracts.decoder import Decoder
    from corelm.contracts.language_model import LanguageModel, ModelScheme
    from corelm.contracts.metric import Metric
    from corelm.contracts.sampling import Sampler
    from corelm.contracts.step import Step

    ModelLoader: TypeAlias = Callable[[], LanguageModel] | ModelScheme

API_VERSION = 1
"""The version of the plugin contract. A plugin module may state its own as
`CORELM_API_VERSION = 1`; a plugin made for a different version is not loaded."""

hookspec: pluggy.HookspecMarker = pluggy.HookspecMarker("corelm")
hookimpl: pluggy.HookimplMarker = pluggy.HookimplMarker("corelm")
"""Mark a function as the implementation of the hook of the same name."""


@hookspec
def corelm_samplers() -> Mapping[str, type[Sampler]]:  # type: ignore[empty-body]
    """Return the samplers this plugin offers: a mapping from name to Sampler class."""


@hookspec
def corelm_decoders() -> Mapping[str, type[Decoder]]:  # type: ignore[empty-body]
    """Return the decoders this plugin offers: a mapping from name to Decoder class."""


@hookspec
def corelm_models() -> Mapping[str, ModelLoader]:  # type: ignore[empty-body]
    """Return the models this plugin offers: a mapping from name to a function or a ModelScheme."""


@hookspec
def corelm_metrics() -> Mapping[str, type[Metric]]:  # type: ignore[empty-body]
    """Return the figures this plugin offers: a mapping from name to metric class."""


@hookspec
def corelm_commands() -> Mapping[str, Any]:  # type: ignore[empty-body]
    """Return the commands this plugin offers: a mapping from name to Typer app."""


@hookspec
def corelm_next_token(step: Step) -> None:
    """Observe a step of generation: the model's and the sampler's distribution, the token drawn."""
