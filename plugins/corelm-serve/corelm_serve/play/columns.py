"""The next word's way through a chain: a distribution for the model, and one after each stage."""

from __future__ import annotations

import math
from collections.abc import Collection
from functools import cached_property
from itertools import takewhile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corelm import Array, Mask, Sampler, softmax
from corelm.filters import likeliest_tokens, min_and_shannon_entropy
from corelm.runs import chain_stages


def valid_results(trace: list[chain_stages.StageResult]) -> list[chain_stages.StageResult]:
    """Return the results of the stages before the first whose result is no distribution."""
    return [*takewhile(lambda each: np.isfinite(each.logits.max()), trace)]


class Column:
    """One distribution, with its probabilities in double precision.

    Most stages leave few tokens of a large vocabulary, so only those that are possible are kept.

    Args:
        row: (vocabulary,) logits.
        ends: the tokens that end a text.
    """

    def __init__(self, row: Array, ends: Collection[int]) -> None:
        self.row, self.possible, self.ends = row, row > -np.inf, ends
        self.ids: NDArray[np.int64] = np.flatnonzero(self.possible)
        logits = row[self.ids].astype(np.float64)
        self._below: NDArray[np.float64] = logits - logits.max()
        weights = np.exp(self._below)
        self._total = weights.sum()
        self.q: NDArray[np.float64] = weights / self._total
        self.entropy = float(min_and_shannon_entropy(row[self.ids])[1])
        self._likeliest: dict[int, NDArray[np.int64]] = {}

    @cached_property
    def nats(self) -> NDArray[np.float64]:
        """(vocabulary,): the surprisal of each token; infinite where it is impossible."""
        nats = np.full(self.row.shape, np.inf)
        nats[self.ids] = np.log(self._total) - self._below
        return nats

    @cached_property
    def probabilities(self) -> NDArray[np.float64]:
        """(vocabulary,): the probability of each token."""
        probabilities = np.zeros(self.row.shape)
        probabilities[self.ids] = self.q
        return probabilities

    def likeliest(self, count: int) -> NDArray[np.int64]:
        """Return the likeliest tokens, in falling order."""
        if count not in self._likeliest:
            self._likeliest[count] = self.ids[likeliest_tokens(self.row[self.ids], count)]
        return self._likeliest[count]

    def probability(self, token: int) -> float:
        """Return the probability of a token."""
        return float(self.q[np.searchsorted(self.ids, token)]) if self.possible[token] else 0.0

    @cached_property
    def own_surprisal(self) -> float | None:
        """The expected surprisal under itself; a model's is the same while a slider moves."""
        return self.surprisal_under(self)

    def surprisal_under(self, model: Column) -> float | None:
        """Return the expected surprisal under the model of a draw that doesn't end the text.

        None if it is infinite, or if the text can only end.
        """
        # As in reports: human text, which it is compared with, has no end.
        ends = [token for token in self.ends if self.possible[token]]
        others = self.q > 0
        others[np.searchsorted(self.ids, ends)] = False
        q, nats = self.q[others], model.nats[self.ids[others]]
        # Without BLAS, which would wait for its threads.
        expected = float((q * nats).sum() / q.sum()) if len(q) else math.inf
        return expected if math.isfinite(expected) else None


class Columns:
    """The distributions along a chain: the model's, then one after each stage.

    Args:
        model: the model's.
        trace: the results of the stages, in order.
    """

    def __init__(self, model: Column, trace: list[chain_stages.StageResult]) -> None:
        self._trace = trace
        self._columns = [model, *(Column(result.logits[0], model.ends) for result in trace)]

    def __len__(self) -> int:
        return len(self._columns)

    @property
    def last(self) -> Array:
        """(1, vocabulary): the logits that are drawn from."""
        last: Array = self._columns[-1].row[None]
        return last

    def arithmetic(self, at: int, count: int) -> dict[str, Any]:
        """Return the arithmetic of a column, as the function `arithmetic` describes it."""
        return arithmetic(self._columns[max(at - 1, 0)].row, self._columns[at].row, count)

    def likeliest(self, count: int) -> list[int]:
        """Return the likeliest tokens of the model and of the last stage, in the model's order."""
        model, last = self._columns[0], self._columns[-1]
        ids = np.union1d(model.likeliest(count), last.likeliest(count))
        return [int(i) for i in ids[np.lexsort((ids, -model.row[ids]))]]

    def of_token(self, token: int) -> dict[str, Any]:
        """Return the probability of a token after each stage, and the stage that removed it."""
        possible = [bool(each.possible[token]) for each in self._columns]
        removed = next(
            (at for at in range(1, len(possible)) if possible[at - 1] and not possible[at]), None
        )
        return {
            "id": token,
            "probabilities": [each.probability(token) for each in self._columns],
            "removed_by": removed,
        }

    def described(self) -> list[dict[str, Any]]:
        """Return each distribution's figures."""
        return [self._described(at) for at in range(len(self))]

    def _described(self, at: int) -> dict[str, Any]:
        model, column = self._columns[0], self._columns[at]
        about: dict[str, Any] = {
            "entropy": column.entropy,
            "bits": column.entropy / math.log(2),
            "choices": math.exp(column.entropy),
            "kept": len(column.ids),
        }
        if column is model:
            about |= {"surprisal": model.own_surprisal, "mass_kept": 1.0}
            about |= {"removed": 0, "removed_mass": 0.0}
            return about | {"stage": None, "name": "model", "branch": ""}
        before = self._columns[at - 1]
        removed = ~column.possible[before.ids]
        about |= {
            "surprisal": column.surprisal_under(model),
            "mass_kept": float(model.probabilities[column.ids].sum()),
            "removed": int(np.count_nonzero(removed)),
            "removed_mass": float(before.q[removed].sum()),
        }
        return about | _about(self._trace[at - 1])


def _about(result: chain_stages.StageResult) -> dict[str, Any]:
    fell_back = result.fell_back is not None and bool(result.fell_back[0])
    return {
        "stage": str(result.stage),
        "name": _short(result.stage),
        "branch": result.branch,
        "neutral": result.stage.is_neutral,
        "mask": isinstance(result.stage, Mask),
        "fell_back": fell_back,
    }


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


def arithmetic(before: NDArray[Any], after: NDArray[Any], count: int) -> dict[str, Any]:
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
