"""Sampling strategies for language models, as plugins: exact, composable, reproducible.

A sampling strategy is a pure map from one next-token distribution to another. The model says
what is likely, the sampler says which distribution to draw from, the core draws once.
"""

import importlib
import typing

from corelm import filters as filters  # as corelm.filters, without another import
from corelm.context import Context
from corelm.decoder import Decoder, DecodingTask
from corelm.decoding.random_stream import RandomStream
from corelm.decoding.state import Decoding
from corelm.decoding.step import Distributions, Step
from corelm.errors import CorelmError, ParameterError
from corelm.generation.ancestral import Ancestral
from corelm.generation.generate import generate, stream
from corelm.generation.open_texts import Generation, TokenRecord
from corelm.generation.patterns import TextPatterns
from corelm.hookspecs import API_VERSION, hookimpl
from corelm.language_model import (
    ByteVocabulary,
    ContextualVocabulary,
    HiddenStateSession,
    JoinableSession,
    LanguageModel,
    ModelScheme,
    RewindableSession,
    Session,
    Vocabulary,
)
from corelm.metric import Metric
from corelm.numerics.distributions import (
    Array,
    apply_temperature,
    draw,
    entropy,
    keep,
    log_softmax,
    softmax,
    surprisals,
)
from corelm.params import param
from corelm.plugins.expressions import sampler
from corelm.plugins.models import load
from corelm.sampler import Chain, Choice, Mask, Sampler, sampling_distribution

if typing.TYPE_CHECKING:
    from corelm import plot as plot
    from corelm.explanation import Explanation, Stage, TokenTrace, explain
    from corelm.interop.engine_presets import preset, presets
    from corelm.interop.engine_settings.convert import EngineSettings, from_settings, to_settings
    from corelm.lint import notes
    from corelm.numerics.reshaping import reweight_distribution
    from corelm.reports.report import Report, compare

__all__ = [
    "API_VERSION",
    "Ancestral",
    "Array",
    "ByteVocabulary",
    "Chain",
    "Choice",
    "Context",
    "ContextualVocabulary",
    "CorelmError",
    "Decoder",
    "Decoding",
    "DecodingTask",
    "Distributions",
    "EngineSettings",
    "Explanation",
    "Generation",
    "HiddenStateSession",
    "JoinableSession",
    "LanguageModel",
    "Mask",
    "Metric",
    "ModelScheme",
    "ParameterError",
    "RandomStream",
    "Report",
    "RewindableSession",
    "Sampler",
    "Session",
    "Stage",
    "Step",
    "TextPatterns",
    "TokenRecord",
    "TokenTrace",
    "Vocabulary",
    "apply_temperature",
    "compare",
    "draw",
    "entropy",
    "explain",
    "from_settings",
    "generate",
    "hookimpl",
    "keep",
    "load",
    "log_softmax",
    "notes",
    "param",
    "preset",
    "presets",
    "reweight_distribution",
    "sampler",
    "sampling_distribution",
    "softmax",
    "stream",
    "surprisals",
    "to_settings",
]


_LATER = {
    "corelm.explanation": ("Explanation", "Stage", "TokenTrace", "explain"),
    "corelm.numerics.reshaping": ("reweight_distribution",),
    "corelm.interop.engine_presets": ("preset", "presets"),
    "corelm.lint": ("notes",),
    "corelm.reports.report": ("Report", "compare"),
    "corelm.interop.engine_settings.convert": ("EngineSettings", "from_settings", "to_settings"),
}
"""Modules that are imported when one of their names is first used: few programs need them."""


def __getattr__(name: str) -> typing.Any:
    if name == "plot":  # as corelm.plot, without another import
        return importlib.import_module("corelm.plot")
    module = next((module for module, names in _LATER.items() if name in names), None)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(module), name)
