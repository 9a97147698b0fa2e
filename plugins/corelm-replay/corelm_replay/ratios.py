"""Importance ratios of a model's own rollouts under many chains, without and with replay."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

import corelm
from corelm.errors import UsageError
from corelm.runs import ForcedTokens
from corelm_replay.audit import Audit, audit
from corelm_replay.recording import Rollouts

CHAINS = (
    "stochastic",
    "temperature(t=0.7)",
    "temperature(t=1.3)",
    "top_k(k=20)",
    "top_p(p=0.8) | top_k(k=1024)",
    "top_p(p=0.95)",
    "min_p(p=0.05)",
    "temperature(t=0.7) | top_p(p=0.9)",
    "top_k(k=50) | top_p(p=0.95) | temperature(t=0.8)",
    "typical(p=0.9)",
    "eta(epsilon=0.002)",
    "top_n_sigma(n=1)",
    "top_h(h=0.6)",
    "tail_free(z=0.95)",
    "dynamic_temperature(t_min=0.5, t_max=1.5)",
    "xtc(probability=0.5, threshold=0.1)",
    "repetition_penalty(penalty=1.2) | top_p(p=0.9)",
    "frequency_penalty(penalty=0.5) | min_p(p=0.05)",
    "dry(multiplier=0.8) | min_p(p=0.05)",
    "mirostat(tau=5)",
)
"""The chains of the table in the documentation."""


def audit_of(rollouts: Rollouts, chain: corelm.Sampler | str, trainer: Any) -> Audit:
    """Audit rollouts of a chain with the logits of a trainer's corelm model."""
    return audit(
        chain, trainer_logits(trainer, rollouts), rollouts.tokens, rollouts.logprobs,
        prompt_length=rollouts.prompt_length, mask=rollouts.mask, vocabulary=trainer.vocabulary,
    )  # fmt: skip


def trainer_logits(model: Any, rollouts: Rollouts) -> NDArray[np.float32]:
    """Return a corelm model's logits of the drawn tokens: (batch, time, vocabulary), float32.

    Raises:
        UsageError: an id outside the model's vocabulary.
    """
    pairs = [rollouts.ids(row) for row in range(len(rollouts.tokens))]
    shape = (*rollouts.logprobs.shape, len(model.vocabulary))
    if rollouts.tokens.max(initial=0) >= shape[-1]:
        raise UsageError(f"an id of the rollouts is outside the vocabulary of {shape[-1]} tokens")
    logits = np.zeros(shape, np.float32)
    texts, firsts = [[*before, *drawn] for before, drawn in pairs], [len(one) for one, _ in pairs]
    for forced in ForcedTokens.of(model, texts, firsts):
        logits[forced.texts, forced.place] = forced.logits
    return logits
