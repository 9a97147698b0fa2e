"""A place in a text: the words before it, the next word's way through the chain, and the draw."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from itertools import takewhile
from typing import Any

import numpy as np

from corelm import (
    Array,
    Mask,
    RandomStream,
    Sampler,
    Vocabulary,
    draw,
    softmax,
)
from corelm.abilities import text_writer
from corelm.filters import entropy_of_logits, likeliest_tokens
from corelm.runs import ContextBuilder, chain_stages, params
from corelm_serve.models import ServedModel
from corelm_serve.play.arithmetic import arithmetic
from corelm_serve.play.rows import RowCache

SURPRISALS = {"surprisal", "model_surprisal"}
"""The parts of a context that don't follow from the tokens alone."""
AT_ONCE = 2**21
"""The largest number of logits that are drawn from at once."""


class Place:
    """A place in a text of a model.

    Args:
        served: the model.
        rows: its logits along texts.
        prompt: the prompt.
        tokens: the ids drawn since.
        seed: decides the random numbers.
    """

    def __init__(
        self, served: ServedModel, rows: RowCache, prompt: str, tokens: Sequence[int], seed: int
    ) -> None:
        self.model = served.model
        self.vocabulary: Vocabulary = served.model.vocabulary
        self.prompt = tuple(served.ids(prompt))
        self.ids = self.prompt + tuple(served.ids(tuple(tokens), may_be_empty=True))
        self._rows, self._seed, self._stream = rows, seed, RandomStream(seed, [0])

    @property
    def tokens(self) -> tuple[int, ...]:
        """The ids drawn since the prompt."""
        return self.ids[len(self.prompt) :]

    @property
    def ended(self) -> bool:
        """True if the last token ends the text."""
        return len(self.ids) > len(self.prompt) and self.ids[-1] in self.vocabulary.ends

    def row(self) -> Array:
        """Return (1, vocabulary): the model's logits here."""
        return self._rows.after(self.ids)

    def past(self, chain: Sampler) -> ContextBuilder:
        """Return the context that a chain sees here: the tokens, with their surprisals when drawn.

        Raises:
            CorelmError: the chain failed at an earlier place.
        """
        builder = ContextBuilder(
            np.array(self.prompt, dtype=np.int64), 1, len(self.tokens), self.vocabulary
        )
        reads = {name for stage in chain.active_stages for name in stage.reads}
        if not reads & SURPRISALS:
            for token in self.tokens:
                builder.append(np.array([token]), np.array([np.nan]))
        else:
            rows = self._rows.along(self.ids, len(self.prompt))
            for token, row in zip(self.tokens, rows, strict=True):
                builder.append_drawn(
                    np.array([token]), chain_stages.apply(chain, row, builder.context), row
                )
        return builder

    def words(self) -> list[dict[str, Any]]:
        """Return the drawn tokens: id, text, and surprisal under the model in nats."""
        write = text_writer(self.vocabulary)
        for token in self.prompt:
            write(token)
        nats = self._rows.surprisals(self.ids, len(self.prompt))
        return [
            {
                "id": token,
                "text": write(token),
                "end": token in self.vocabulary.ends,
                "surprisal": each if math.isfinite(each) else None,
            }
            for token, each in zip(self.tokens, nats, strict=True)
        ]

    @property
    def compared(self) -> list[float]:
        """The surprisals that are compared with human text, which has no end, in nats."""
        found = self._rows.surprisals(self.ids, len(self.prompt))
        ends = self.vocabulary.ends
        return [each for t, each in zip(self.tokens, found, strict=True) if t not in ends]

    def mean_surprisal(self) -> float | None:
        """Return the mean surprisal of the drawn tokens under the model, in nats.

        The end of the text doesn't count, as in reports: human text has none. None before the
        first token, and for a text that the model itself can't draw.
        """
        nats = self.compared
        return math.fsum(nats) / len(nats) if nats and all(map(math.isfinite, nats)) else None

    def drawn(self, logits: Array) -> int:
        """Return the token that is drawn here with the seed, as by `corelm sample`."""
        return int(draw(logits, self._stream.at(len(self.tokens)))[0][0])

    def counts(self, logits: Array, draws: int) -> dict[int, int]:
        """Return how many of a run's first samples draw each token here."""
        uniforms = RandomStream(self._seed, range(draws)).at(len(self.tokens))
        most = max(1, AT_ONCE // logits.shape[1])
        tokens = [
            draw(np.repeat(logits, len(part), axis=0), part)[0]
            for part in np.split(uniforms, range(most, draws, most))
        ]
        ids, counts = np.unique(np.concatenate(tokens), return_counts=True)
        return dict(zip(ids.tolist(), counts.tolist(), strict=True))

    def move_on(self, token: int) -> None:
        """Append a token."""
        self.ids = (*self.ids, token)


def valid_results(trace: list[chain_stages.StageResult]) -> list[chain_stages.StageResult]:
    """Return the results of the stages before the first whose result is no distribution."""
    return [*takewhile(lambda each: np.isfinite(each.logits.max()), trace)]


class Columns:
    """The distributions along a chain: the model's, then one after each stage.

    Args:
        model: (1, vocabulary) the model's logits.
        trace: the results of the stages, in order.
        ends: the tokens that end a text.
    """

    def __init__(
        self, model: Array, trace: list[chain_stages.StageResult], ends: Collection[int]
    ) -> None:
        self._ends = list(ends)
        self._rows = [model[0], *(result.logits[0] for result in trace)]
        self._trace = trace
        self._probabilities = [softmax(row.astype(np.float64)) for row in self._rows]
        self._impossible = self._probabilities[0] == 0  # the model's divergence from itself
        self._nats = -np.log(np.where(self._impossible, 1, self._probabilities[0]))

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def last(self) -> Array:
        """(1, vocabulary): the logits that are drawn from."""
        last: Array = self._rows[-1][None]
        return last

    def arithmetic(self, at: int, count: int) -> dict[str, Any]:
        """Return the arithmetic of a column, as `arithmetic.arithmetic` describes it."""
        return arithmetic(self._rows[max(at - 1, 0)], self._rows[at], count)

    def likeliest(self, count: int) -> list[int]:
        """Return the likeliest tokens of the model and of the last stage, in the model's order."""
        model = self._rows[0]
        ids = np.union1d(*(likeliest_tokens(row, count) for row in (model, self._rows[-1])))
        return [int(i) for i in ids[np.lexsort((ids, -model[ids]))]]

    def of_token(self, token: int) -> dict[str, Any]:
        """Return the probability of a token after each stage, and the stage that removed it."""
        kept = [bool(row[token] > -np.inf) for row in self._rows]
        removed = next((at for at in range(1, len(kept)) if kept[at - 1] and not kept[at]), None)
        return {
            "id": token,
            "probabilities": [float(each[token]) for each in self._probabilities],
            "removed_by": removed,
        }

    def described(self) -> list[dict[str, Any]]:
        """Return each distribution's figures."""
        return [self._described(at) for at in range(len(self._rows))]

    def _described(self, at: int) -> dict[str, Any]:
        row = self._rows[at]
        nats, possible = float(entropy_of_logits(row)), row > -np.inf
        removed = np.zeros_like(possible) if at == 0 else (self._rows[at - 1] > -np.inf) & ~possible
        found = {
            "entropy": nats,
            "bits": nats / math.log(2),
            "choices": math.exp(nats),
            "surprisal": self._expected_surprisal(at),
            "kept": int(np.count_nonzero(possible)),
            "mass_kept": float(self._probabilities[0][possible].sum()),
            "removed": int(np.count_nonzero(removed)),
            "removed_mass": float(self._probabilities[max(at - 1, 0)][removed].sum()),
        }
        return found | (
            _about(self._trace[at - 1]) if at else {"stage": None, "name": "model", "branch": ""}
        )

    def _expected_surprisal(self, at: int) -> float | None:
        """Return the expected surprisal under the model of a draw that doesn't end the text.

        None if it is infinite, or if the text can only end.
        """
        q = self._probabilities[at].copy()
        q[self._ends] = 0  # as in reports: human text, which it is compared with, has no end
        others = q.sum()
        if others == 0 or (at and (q[self._impossible] > 0).any()):
            return None
        # Without BLAS, which would wait for its threads.
        return float((q * self._nats).sum() / others)


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
    shown = [
        f"{each.name}={params.written(value)}"
        for each, value in values
        if len(values) == 1 or value != each.default
    ]
    return f"{stage.name}({', '.join(shown)})" if shown else stage.name
