"""The arithmetic of one stage: from logits to probabilities, for a few tokens."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from corelm import softmax

Row = NDArray[Any]


def arithmetic(before: Row, after: Row, count: int) -> dict[str, Any]:
    """Return how a stage's logits become probabilities, with the tokens in their order before it.

    The rows are the likeliest tokens before the stage, and the tokens around the first one that it
    removes, where the running sum shows the cut.

    Args:
        before: (vocabulary,) logits that the stage got.
        after: (vocabulary,) logits that it returned.
        count: the number of likely tokens.

    Returns:
        `largest`, the largest logit after the stage, `sum`, the sum of exp(logit - largest), and
        `rows`. Of each: `token`, `rank` (from 1 on), `before` and `after` (logits; None for minus
        infinity), `exponential`, `probability`, and `running`, the probability before the stage
        of all tokens down to this rank.

    Example:
        >>> table = arithmetic(np.log([0.5, 0.3, 0.2]), np.array([0.0, -np.inf, -np.inf]), 2)
        >>> [round(row["running"], 6) for row in table["rows"]]
        [0.5, 0.8]
        >>> table["sum"], table["rows"][1]["after"]
        (1.0, None)
    """
    order = np.argsort(-before, kind="stable")[: np.count_nonzero(before > -np.inf)]
    running = np.cumsum(softmax(before.astype(np.float64))[order])
    remains = after[order] > -np.inf
    ranks = set(range(min(count, len(order))))
    if not remains.all():
        cut = int(np.argmin(remains))
        ranks |= {max(cut - 1, 0), cut}
    exponentials = np.exp(after.astype(np.float64) - float(after.max()))
    whole = float(exponentials.sum())
    return {
        "largest": float(after.max()),
        "sum": whole,
        "rows": [
            {
                "token": (token := int(order[at])),
                "rank": at + 1,
                "before": float(before[token]),
                "after": float(after[token]) if remains[at] else None,
                "exponential": float(exponentials[token]),
                "probability": float(exponentials[token] / whole),
                "running": float(running[at]),
            }
            for at in sorted(ranks)
        ],
    }
