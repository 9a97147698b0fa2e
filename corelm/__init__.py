"""Sampling strategies for language models, as plugins: exact, composable, reproducible.

A sampling strategy is a pure map from one next-token distribution to another. The model says
what is likely, the sampler says which distribution to draw from, the core draws once.
"""

import importlib
import typing

from corelm import filters as filters  # as corelm.filters, without another import
from corelm.context import Context
from corelm.decoder import Decoder
from corelm.decoding.random_stream import RandomStream
from corelm.decoding.state import Decoding, DecodingTask
from corelm.decoding.step import NextLogits, Step
from corelm.errors import CorelmError, ParameterError
from corelm.exact import sampling_distribution
from corelm.generation.ancestral import Ancestral
from corelm.generation.generate import generate, stream
from corelm.generation.open_texts import Generation, TokenRecord
from corelm.generation.patterns import TextPatterns
from corelm.hookspecs import API_VERSION, hookimpl
from corelm.language_model import (
    LanguageModel,
    ModelScheme,
    Session,
    StatelessModel,
    Vocabulary,
    same_vocabulary,
)
from corelm.metric import HumanMetric, SetMetric, TextMetric, TokenMetric
from corelm.numerics.distributions import (
    Array,
    apply_temperature,
    draw,
    entropy,
    log_softmax,
    mask_logits,
    softmax,
    surprisals,
)
from corelm.params import param, renamed
from corelm.registry.expressions import sampler
from corelm.registry.models import load
from corelm.sampling import Chain, Mask, Sampler, Switch

if typing.TYPE_CHECKING:
    from corelm_presets.engine_presets import preset as preset
    from corelm_presets.engine_presets import presets as presets
    from corelm_presets.engine_settings.convert import EngineSettings as EngineSettings
    from corelm_presets.engine_settings.convert import from_settings as from_settings
    from corelm_presets.engine_settings.convert import to_settings as to_settings
    from corelm_report import plot as plot
    from corelm_report.report import Report as Report
    from corelm_report.report import compare as compare

    from corelm.explanation import Explanation, explain
    from corelm.linting import lint
    from corelm.numerics.reshaping import reweight_distribution

__all__ = [
    "API_VERSION",
    "Ancestral",
    "Array",
    "Chain",
    "Context",
    "CorelmError",
    "Decoder",
    "Decoding",
    "DecodingTask",
    "Explanation",
    "Generation",
    "HumanMetric",
    "LanguageModel",
    "Mask",
    "ModelScheme",
    "NextLogits",
    "ParameterError",
    "RandomStream",
    "Sampler",
    "Session",
    "SetMetric",
    "StatelessModel",
    "Step",
    "Switch",
    "TextMetric",
    "TextPatterns",
    "TokenMetric",
    "TokenRecord",
    "Vocabulary",
    "apply_temperature",
    "draw",
    "entropy",
    "explain",
    "generate",
    "hookimpl",
    "lint",
    "load",
    "log_softmax",
    "mask_logits",
    "param",
    "renamed",
    "reweight_distribution",
    "same_vocabulary",
    "sampler",
    "sampling_distribution",
    "softmax",
    "stream",
    "surprisals",
]


_LATER = {
    "corelm.explanation": ("Explanation", "explain"),
    "corelm.linting": ("lint",),
    "corelm.numerics.reshaping": ("reweight_distribution",),
}
"""Modules that are imported when one of their names is first used: few programs need them."""

_IN_PACKAGES = {
    *("EngineSettings", "from_settings", "preset", "presets", "to_settings"),
    *("Report", "compare", "plot"),
}
"""Names that packages offer as entry points of the group `corelm.names`.

They aren't in `__all__`: where a package isn't installed, `from corelm import *` would fail.
"""


def __getattr__(name: str) -> typing.Any:
    if name in _IN_PACKAGES:
        from corelm.registry.packages import NAMES, package_object

        return package_object(NAMES, name)
    module = next((module for module, names in _LATER.items() if name in names), None)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(module), name)
