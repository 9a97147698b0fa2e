"""The figures of the next word: of the model's distribution, and of the one after each stage."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from corelm import Sampler
from corelm.runs import ExplainedStage


def expected_surprisal(
    stage: ExplainedStage, model: ExplainedStage, ends: Collection[int]
) -> float | None:
    """Return the expected surprisal under the model of a draw that doesn't end the text, in nats.

    None if it is infinite, or if the text can only end.
    """
    others = stage.distribution > 0
    # As in reports: human text, which it is compared with, has no end.
    others[list(ends)] = False
    q, nats = stage.distribution[others], model.surprisals[others]
    # Without BLAS, which would wait for its threads.
    expected = float((q * nats).sum() / q.sum()) if len(q) else math.inf
    return expected if math.isfinite(expected) else None


def likeliest(stages: Sequence[ExplainedStage], count: int) -> list[int]:
    """Return the likeliest tokens of the model and of the last stage, in the model's order."""
    ids = np.union1d(stages[0].likeliest(count), stages[-1].likeliest(count))
    return [int(i) for i in ids[np.lexsort((ids, -stages[0].logits[ids]))]]


def described(stages: Sequence[ExplainedStage], ends: Collection[int]) -> list[dict[str, Any]]:
    """Return the figures of each distribution, and the stage that returned it."""
    return [
        {
            "entropy": stage.entropy,
            "bits": stage.entropy_bits,
            "choices": stage.effective_choices,
            "kept": stage.tokens_kept,
            "surprisal": expected_surprisal(stage, stages[0], ends),
            "removed": int(np.count_nonzero(stage.removed)),
            "removed_mass": stage.removed_mass,
            "stage": None if stage.sampler is None else str(stage.sampler),
            "name": "model" if stage.sampler is None else _short(stage.sampler),
            "branch": stage.branch,
            "neutral": stage.sampler is not None and stage.sampler.is_neutral,
            "fell_back": stage.fell_back,
        }
        for stage in stages
    ]


def _short(stage: Sampler) -> str:
    """Return a stage as an expression, without parameters at their defaults if it has several."""
    parameters = type(stage).parameters()
    values = [(each, getattr(stage, each.name)) for each in parameters]
    written = [
        f"{each.name}={each.written(value)}"
        for each, value in values
        if len(values) == 1 or value != each.default
    ]
    return f"{stage.name}({', '.join(written)})" if written else stage.name


def arithmetic(before: ExplainedStage, after: ExplainedStage, count: int) -> dict[str, Any]:
    """Return how a stage's logits become probabilities, with the tokens in their order before it.

    The rows are the likeliest tokens before the stage, and the tokens around the first one that it
    removes, where the running sum shows the cut.

    Args:
        before: the distribution that the stage got.
        after: the one that it returned.
        count: the number of likely tokens.

    Returns:
        `largest`, the largest logit after the stage, `sum`, the sum of exp(logit - largest), and
        `rows`. Of each: `token`, `rank` (from 1 on), `before` and `after` (logits; None for minus
        infinity), `exponential`, `probability`, and `running`, the probability before the stage
        of all tokens down to this rank.

    Example:
        >>> before = ExplainedStage(None, np.log([0.5, 0.3, 0.2]))
        >>> after = ExplainedStage(None, np.array([0.0, -np.inf, -np.inf]), before)
        >>> table = arithmetic(before, after, 2)
        >>> [round(row["running"], 6) for row in table["rows"]]
        [0.5, 0.8]
        >>> table["sum"], table["rows"][1]["after"]
        (1.0, None)
    """
    order = before.ranked_tokens
    running = np.cumsum(before.distribution[order])
    remains = after.possible[order]
    ranks = set(range(min(count, len(order))))
    if not remains.all():
        cut = int(np.argmin(remains))
        ranks |= {max(cut - 1, 0), cut}
    largest = float(after.logits.max())
    exponentials = np.exp(after.logits.astype(np.float64) - largest)
    whole = float(exponentials.sum())
    return {
        "largest": largest,
        "sum": whole,
        "rows": [
            {
                "token": (token := int(order[at])),
                "rank": at + 1,
                "before": float(before.logits[token]),
                "after": float(after.logits[token]) if remains[at] else None,
                "exponential": float(exponentials[token]),
                "probability": float(exponentials[token] / whole),
                "running": float(running[at]),
            }
            for at in sorted(ranks)
        ],
    }
