"""Sampling strategies for language models, as plugins: exact, composable, reproducible.

A sampling strategy is a pure map from one next-token distribution to another. The model says
what is likely, the sampler says which distribution to draw from, the core draws once.
"""

import importlib
import typing

if typing.TYPE_CHECKING:
    from corelm_presets.engine_presets import preset as preset
    from corelm_presets.engine_presets import presets as presets
    from corelm_presets.engine_settings.convert import EngineSettings as EngineSettings
    from corelm_presets.engine_settings.convert import from_settings as from_settings
    from corelm_presets.engine_settings.convert import to_settings as to_settings
    from corelm_report import plot as plot
    from corelm_report.report import Report as Report
    from corelm_report.report import compare as compare

    from corelm import filters as filters
    from corelm.context import Context
    from corelm.decoder import Decoder
    from corelm.decoding.draws import RandomStream
    from corelm.decoding.state import Decoding, DecodingTask
    from corelm.decoding.step import NextLogits, Step
    from corelm.errors import CorelmError, ParameterError
    from corelm.exact import sampling_distribution
    from corelm.explanation import Explanation, explain
    from corelm.generation.endings import TextPatterns
    from corelm.generation.generate import Ancestral, generate, stream
    from corelm.generation.open_texts import Generation, TokenRecord
    from corelm.hookspecs import API_VERSION, hookimpl
    from corelm.language_model import (
        LanguageModel,
        ModelScheme,
        Session,
        StatelessModel,
        Vocabulary,
    )
    from corelm.linting import lint
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
    from corelm.numerics.filters import reweight_distribution
    from corelm.params import param, renamed
    from corelm.registry.expressions import sampler
    from corelm.registry.models import load
    from corelm.sampling import Chain, Mask, Sampler, Switch

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
    "sampler",
    "sampling_distribution",
    "softmax",
    "stream",
    "surprisals",
]


_HOMES = {
    "API_VERSION": "corelm.hookspecs:API_VERSION",
    "Ancestral": "corelm.generation.generate:Ancestral",
    "Array": "corelm.numerics.distributions:Array",
    # The samplers too: a parameter that is a sampler reads expressions once this is imported.
    "Chain": "corelm.registry.expressions:Chain",
    "Context": "corelm.context:Context",
    "CorelmError": "corelm.errors:CorelmError",
    "Decoder": "corelm.decoder:Decoder",
    "Decoding": "corelm.decoding.state:Decoding",
    "DecodingTask": "corelm.decoding.state:DecodingTask",
    "Explanation": "corelm.explanation:Explanation",
    "Generation": "corelm.generation.open_texts:Generation",
    "HumanMetric": "corelm.metric:HumanMetric",
    "LanguageModel": "corelm.language_model:LanguageModel",
    "Mask": "corelm.sampling:Mask",
    "ModelScheme": "corelm.language_model:ModelScheme",
    "NextLogits": "corelm.decoding.step:NextLogits",
    "ParameterError": "corelm.errors:ParameterError",
    "RandomStream": "corelm.decoding.draws:RandomStream",
    "Sampler": "corelm.registry.expressions:Sampler",
    "Session": "corelm.language_model:Session",
    "SetMetric": "corelm.metric:SetMetric",
    "StatelessModel": "corelm.language_model:StatelessModel",
    "Step": "corelm.decoding.step:Step",
    "Switch": "corelm.sampling:Switch",
    "TextMetric": "corelm.metric:TextMetric",
    "TextPatterns": "corelm.generation.endings:TextPatterns",
    "TokenMetric": "corelm.metric:TokenMetric",
    "TokenRecord": "corelm.generation.open_texts:TokenRecord",
    "Vocabulary": "corelm.language_model:Vocabulary",
    "apply_temperature": "corelm.numerics.distributions:apply_temperature",
    "draw": "corelm.numerics.distributions:draw",
    "entropy": "corelm.numerics.distributions:entropy",
    "explain": "corelm.explanation:explain",
    "generate": "corelm.generation.generate:generate",
    "hookimpl": "corelm.hookspecs:hookimpl",
    "lint": "corelm.linting:lint",
    "load": "corelm.registry.models:load",
    "log_softmax": "corelm.numerics.distributions:log_softmax",
    "mask_logits": "corelm.numerics.distributions:mask_logits",
    "param": "corelm.params:param",
    "renamed": "corelm.params:renamed",
    "reweight_distribution": "corelm.numerics.filters:reweight_distribution",
    "sampler": "corelm.registry.expressions:sampler",
    "sampling_distribution": "corelm.exact:sampling_distribution",
    "softmax": "corelm.numerics.distributions:softmax",
    "stream": "corelm.generation.generate:stream",
    "surprisals": "corelm.numerics.distributions:surprisals",
}
"""The module of each name, imported on first use: no program needs all."""

_ROOMS = {
    *("abilities", "bundles", "commands", "errors", "filters", "interop", "native", "runs"),
    "testing",
}
"""Public modules, which `import corelm` is enough for."""

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
    if name in _ROOMS:
        return importlib.import_module(f"corelm.{name}")
    from corelm.lazy import on_first_use  # late: `import corelm` imports no module of it

    return on_first_use(__name__, _HOMES)(name)
