"""The figures of drawn tokens that a trainer needs, in the rows of corelm-replay's documents."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corelm import Step

FIGURES, SETS = "figures", "sets"


@dataclass(frozen=True, slots=True)
class Recorded:
    """A drawn token. Log-probabilities and entropies are in nats.

    Attributes:
        token: its id.
        logprob: under the distribution that it was drawn from.
        model_logprob: under the model's own.
        kept_mass: the model's probability of the tokens that could be drawn.
        kept_size: the number of these tokens.
        entropy: of the distribution that it was drawn from.
        model_entropy: of the model's own.
        allowed: the ids of these tokens; empty if the chain removed no token, or if nobody asked.
    """

    token: int
    logprob: float
    model_logprob: float
    kept_mass: float
    kept_size: int
    entropy: float
    model_entropy: float
    allowed: NDArray[np.int32]


def recorded(step: Step, rows: Sequence[int], sets: bool) -> list[Recorded]:
    """Return the records of the tokens drawn in some rows of a step.

    Args:
        step: the step.
        rows: its rows.
        sets: record the tokens that could be drawn, too.
    """
    records, nothing = [], np.empty(0, np.int32)
    for row in rows:
        allowed, possible = (logits[row] > -np.inf for logits in (step.logits, step.model_logits))
        size = int(allowed.sum())
        is_whole = size == int(possible.sum())
        mass = np.where(allowed, step.model_distribution[row], 0).sum(dtype=np.float64)
        records.append(
            Recorded(
                int(step.tokens[row]),
                -float(step.surprisal[row]),
                -float(step.model_surprisal[row]),
                1.0 if is_whole else min(float(mass), 1.0),
                size,
                float(step.entropy[row]),
                float(step.model_entropy[row]),
                np.flatnonzero(allowed).astype(np.int32) if sets and not is_whole else nothing,
            )
        )
    return records


def rollout(prompt: Sequence[int], tokens: Sequence[Recorded], sets: bool) -> dict[str, Any]:
    """Return a row of the format `corelm.rollouts/1`, or in a stream a part of one.

    Args:
        prompt: the ids of the prompt.
        tokens: the tokens.
        sets: with `sampling_mask`, as vLLM's answers have it: a list of ids for each token.
    """
    row: dict[str, Any] = {"prompt": list(prompt), "tokens": [each.token for each in tokens]}
    if sets:
        row["sampling_mask"] = [each.allowed.tolist() for each in tokens]
    # JSON has no infinity: a token that the chain could not have drawn has null.
    row["logprobs"] = [x.logprob if math.isfinite(x.logprob) else None for x in tokens]
    row["model_logprobs"] = [x.model_logprob for x in tokens]
    for name in ("kept_mass", "kept_size", "entropy", "model_entropy"):
        row[name] = [getattr(x, name) for x in tokens]
    return row
