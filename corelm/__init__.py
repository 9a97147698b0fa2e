"""Sampling strategies for language models, as plugins: exact, composable, reproducible.

A sampling strategy is a pure map from one next-token distribution to another. The model says
what is likely, the sampler says which distribution to draw from, the core draws once.
"""

import importlib
import typing

from corelm.context import Context
from corelm.decoder import Ancestral, Decoder, Step, Task
from corelm.distributions import (
    Array,
    below_largest,
    draw,
    entropies,
    entropy,
    greedy,
    keep,
    log_softmax,
    min_entropy,
    reweight_distribution,
    sharpen,
    softmax,
    surprisals,
)
from corelm.engines import preset, presets
from corelm.errors import CorelmError, ParameterError
from corelm.explanation import Explanation, Followed, Stage, explain
from corelm.filters import deviations, keep_within, largest, nucleus, typical
from corelm.generation import Drawn, Generation, generate, stream
from corelm.hookspecs import API_VERSION, hookimpl
from corelm.language_model import (
    GivingSession,
    HiddenStateSession,
    LanguageModel,
    RewindableSession,
    Session,
    Vocabulary,
)
from corelm.luck import Luck
from corelm.model.load import load
from corelm.params import param
from corelm.past import Past
from corelm.sampler import Chain, Sampler, sampling_distribution
from corelm.selection import (
    by_rows,
    falling_logits,
    filter_each_row,
    filter_logits,
    first_tokens,
    first_where,
    largest_tokens,
    reaches,
    tokens_within,
)
from corelm.spec import sampler
from corelm.tokens import (
    change_logits,
    known_tokens,
    past_tokens,
    remove_tokens,
    token_counts,
    token_id,
    token_sequence,
)

if typing.TYPE_CHECKING:
    from corelm.report.compare import compare
    from corelm.report.document import Report

__all__ = [
    "API_VERSION",
    "Ancestral",
    "Array",
    "Chain",
    "Context",
    "CorelmError",
    "Decoder",
    "Drawn",
    "Explanation",
    "Followed",
    "Generation",
    "GivingSession",
    "HiddenStateSession",
    "LanguageModel",
    "Luck",
    "ParameterError",
    "Past",
    "Report",
    "RewindableSession",
    "Sampler",
    "Session",
    "Stage",
    "Step",
    "Task",
    "Vocabulary",
    "below_largest",
    "by_rows",
    "change_logits",
    "compare",
    "deviations",
    "draw",
    "entropies",
    "entropy",
    "explain",
    "falling_logits",
    "filter_each_row",
    "filter_logits",
    "first_tokens",
    "first_where",
    "generate",
    "greedy",
    "hookimpl",
    "keep",
    "keep_within",
    "known_tokens",
    "largest",
    "largest_tokens",
    "load",
    "log_softmax",
    "min_entropy",
    "nucleus",
    "param",
    "past_tokens",
    "preset",
    "presets",
    "reaches",
    "remove_tokens",
    "reweight_distribution",
    "sampler",
    "sampling_distribution",
    "sharpen",
    "softmax",
    "stream",
    "surprisals",
    "token_counts",
    "token_id",
    "token_sequence",
    "tokens_within",
    "typical",
]


_LATER = {"Report": "corelm.report.document", "compare": "corelm.report.compare"}
"""What is imported when it is first asked for, since only reports need it: names and modules."""


def __getattr__(name: str) -> typing.Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LATER[name]), name)
