"""Sampling strategies for language models, as plugins: exact, composable, reproducible.

A sampling strategy is a pure map from one next-token distribution to another. The model says
what is likely, the sampler says which distribution to draw from, the core draws once.
"""

from corelm.context import Context
from corelm.decoder import Ancestral, Decoder, Step, Task
from corelm.distributions import (
    Array,
    draw,
    entropy,
    greedy,
    keep,
    log_softmax,
    reweight_distribution,
    sharpen,
    softmax,
)
from corelm.errors import CorelmError, ParameterError
from corelm.generation import Drawn, Generation, generate, stream
from corelm.hookspecs import API_VERSION, hookimpl
from corelm.language_model import LanguageModel, Session, Vocabulary
from corelm.model.load import load
from corelm.params import param
from corelm.sampler import Chain, Sampler, sampling_distribution
from corelm.spec import sampler
from corelm.tokens import (
    change_logits,
    past_tokens,
    remove_tokens,
    token_counts,
    token_id,
    token_sequence,
)

__all__ = [
    "API_VERSION",
    "Ancestral",
    "Array",
    "Chain",
    "Context",
    "CorelmError",
    "Decoder",
    "Drawn",
    "Generation",
    "LanguageModel",
    "ParameterError",
    "Sampler",
    "Session",
    "Step",
    "Task",
    "Vocabulary",
    "change_logits",
    "draw",
    "entropy",
    "generate",
    "greedy",
    "hookimpl",
    "keep",
    "load",
    "log_softmax",
    "param",
    "past_tokens",
    "remove_tokens",
    "reweight_distribution",
    "sampler",
    "sampling_distribution",
    "sharpen",
    "softmax",
    "stream",
    "token_counts",
    "token_id",
    "token_sequence",
]
