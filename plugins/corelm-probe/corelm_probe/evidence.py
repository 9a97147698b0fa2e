"""The tokens that an engine drew, and how likely a chain makes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from corelm import Context, Sampler, log_softmax, softmax
from corelm_probe.models import SIZE, ProbeModel
from corelm_probe.variants import LossyDraft

HISTORY = frozenset({"tokens", "position", "surprisal", "model_surprisal"})
"""The parts of the context that make a chain's distribution depend on the text."""

IMPOSSIBLE = 1e300
"""The loss of impossible draws, in place of infinity, which ends a search."""
STAGES = ("first tokens", "later tokens", "texts drawn alone")


def reads_history(sampler: Sampler) -> bool:
    """Return True if the distribution of a chain depends on the tokens so far."""
    return not HISTORY.isdisjoint(sampler.reads)


@dataclass(frozen=True, eq=False)
class DrawnTexts:
    """Texts that an engine drew after one prompt.

    Attributes:
        prompt: its ids.
        tokens: (texts, length) ids; -1 after the end of a text that is shorter.
        alone: True if each text had a request of its own.
    """

    prompt: tuple[int, ...]
    tokens: NDArray[np.int64]
    alone: bool = False


@dataclass(frozen=True, eq=False)
class PositionDraws:
    """The draws at one position of texts with one prompt.

    Attributes:
        contexts: (rows, time) ids before the draw, the prompt first.
        drawn: (rows,) ids.
        probabilities: (rows, tokens) under a chain.
    """

    contexts: NDArray[np.int64]
    drawn: NDArray[np.int64]
    probabilities: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class CountedDraws:
    """Draws that have the same distribution under a chain, counted.

    Attributes:
        label: the place of the draws, in words.
        stage: draws of one stage are independent of each other, given the stages before.
        counts: (tokens,) how often each token was drawn.
        probabilities: (tokens,) under the chain.
    """

    label: str
    stage: str
    counts: NDArray[np.int64]
    probabilities: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Evidence:
    """All draws of one setting of an engine.

    Attributes:
        model: the model that the engine ran.
        texts: the texts of each prompt.
    """

    model: ProbeModel
    texts: Sequence[DrawnTexts]

    @property
    def draws(self) -> int:
        """The number of tokens drawn."""
        return int(self.counts.sum())

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """The count of each drawn token, (tokens,)."""
        drawn = np.concatenate([texts.tokens.ravel() for texts in self.texts])
        return np.bincount(drawn[drawn >= 0], minlength=SIZE)

    @cached_property
    def transitions(self) -> Mapping[str, NDArray[np.int64]]:
        """The counts of drawn tokens after each last token, (tokens, tokens), by stage."""
        tables = {stage: np.zeros((SIZE, SIZE), np.int64) for stage in STAGES}
        for texts, steps in zip(self.texts, self._steps, strict=True):
            for i, (contexts, drawn) in enumerate(steps):
                table = tables[STAGES[2 if texts.alone else min(i, 1)]]
                np.add.at(table, (contexts[:, -1], drawn), 1)
        return tables

    @cached_property
    def _steps(self) -> list[list[tuple[NDArray[np.int64], NDArray[np.int64]]]]:
        """The contexts and the tokens drawn after them at each position, by prompt."""
        return [list(_steps(texts)) for texts in self.texts]

    def log_likelihood(self, sampler: Sampler) -> float:
        """Return the log-probability of all draws under a chain, in nats."""
        with np.errstate(divide="ignore", invalid="ignore"):
            if not reads_history(sampler):
                return sum(
                    float(np.where(table, table * np.log(self._rows(sampler, stage)), 0.0).sum())
                    for stage, table in self.transitions.items()
                )
            return float(
                sum(
                    np.log(part.probabilities[np.arange(len(part.drawn)), part.drawn]).sum()
                    for part in self.positions(sampler)
                )
            )

    def likeliest_share(self, lossy: LossyDraft) -> float:
        """Return the share of drafted tokens under which the draws are likeliest."""
        from scipy.optimize import minimize_scalar

        whole, none = (replace(lossy, share=share) for share in (1.0, 0.0))
        parts = [
            (table[drawn], self._rows(none, stage)[drawn], self._rows(whole, stage)[drawn])
            for stage, table in self.transitions.items()
            for drawn in (table > 0,)
        ]

        def loss(share: float) -> float:
            logs = (counts @ np.log((1 - share) * p + share * q) for counts, p, q in parts)
            return min(-float(sum(logs)), IMPOSSIBLE)

        with np.errstate(divide="ignore"):
            return round(float(minimize_scalar(loss, bounds=(0, 1), method="bounded").x), 4)

    def positions(self, sampler: Sampler) -> Iterator[PositionDraws]:
        """Yield the draws of each position, with their probabilities under a chain."""
        for texts, steps in zip(self.texts, self._steps, strict=True):
            if reads_history(sampler):
                yield from self._followed(sampler, texts, steps)
                continue
            for i, (contexts, drawn) in enumerate(steps):
                rows = self._rows(sampler, STAGES[min(i, 1)])
                yield PositionDraws(contexts, drawn, rows[contexts[:, -1]])

    def divergence(self, chain: Sampler, other: Sampler) -> float:
        """Return the mean Kullback-Leibler divergence of a draw under two chains, in nats.

        A token that the other chain never draws counts with its probability, since a single draw of
        it decides.
        """
        both = chain, other
        if any(map(reads_history, both)):
            pairs = zip(*map(self.positions, both), strict=True)
            total = sum(
                float(_divergences(a.probabilities, b.probabilities).sum()) for a, b in pairs
            )
        else:
            total = sum(
                float(table.sum(axis=1) @ _divergences(*(self._rows(one, stage) for one in both)))
                for stage, table in self.transitions.items()
            )
        return max(total / max(self.draws, 1), 0.0)

    def cells(self, sampler: Sampler) -> list[CountedDraws]:
        """Group the draws that have the same distribution under a chain."""
        if reads_history(sampler):
            return list(self._cells_of_contexts(sampler))
        return list(self._cells_of_last_tokens(sampler))

    def _rows(self, sampler: Sampler, stage: str) -> NDArray[np.float64]:
        """Return the distribution after each last token in a stage, (tokens, tokens)."""
        if isinstance(sampler, LossyDraft) and stage == STAGES[0] and not sampler.from_first:
            sampler = sampler.chain  # an engine reads the prompt, and only then takes a draft
        last = np.arange(SIZE)[:, None]
        if self.model.is_constant:
            p = distribution(sampler, self.model, last[:1])
            return np.broadcast_to(p, (SIZE, SIZE))
        return distribution(sampler, self.model, last)

    def _followed(
        self,
        sampler: Sampler,
        texts: DrawnTexts,
        steps: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]],
    ) -> Iterator[PositionDraws]:
        """Yield each position as drawn by a chain that reads the history, surprisals included."""
        length = len(texts.prompt)
        shape = (len(texts.tokens), length + texts.tokens.shape[1])
        surprisal, model_surprisal = np.full(shape, np.nan), np.full(shape, np.nan)
        rows = np.arange(len(texts.tokens))
        for i, (contexts, drawn) in enumerate(steps):
            rows = rows[texts.tokens[rows, i] >= 0]
            logits = self.model.logits(contexts)
            now = length + i
            context = Context.of(
                contexts,
                prompt_length=length,
                surprisal=surprisal[rows, :now],
                model_surprisal=model_surprisal[rows, :now],
            )
            p = softmax(np.asarray(sampler(logits, context), dtype=np.float64))
            places = np.arange(len(drawn))
            with np.errstate(divide="ignore"):
                surprisal[rows, now] = -np.log(p[places, drawn])
            model_surprisal[rows, now] = -log_softmax(logits)[places, drawn]
            yield PositionDraws(contexts, drawn, p)

    def _cells_of_last_tokens(self, sampler: Sampler) -> Iterator[CountedDraws]:
        """Yield the draws after each last token.

        Later tokens of `last` are a Markov chain: how often a token is the last one depends on the
        draws, so their test is exact only in the limit of many.
        """
        for stage, table in self.transitions.items():
            rows = self._rows(sampler, stage)
            if self.model.is_constant:
                table = table.sum(axis=0, keepdims=True)
            for last in np.flatnonzero(table.any(axis=1)).tolist():
                after = "" if self.model.is_constant else f" after {self.model.words[last]!r}"
                yield CountedDraws(stage + after, stage, table[last], rows[last])

    def _cells_of_contexts(self, sampler: Sampler) -> Iterator[CountedDraws]:
        for number, (texts, steps) in enumerate(zip(self.texts, self._steps, strict=True), 1):
            where = f"the prompt of {len(texts.prompt)} tokens"
            where += " alone" if texts.alone else ""
            for i, part in enumerate(self._followed(sampler, texts, steps), 1):
                _, first, group = np.unique(
                    part.contexts, axis=0, return_index=True, return_inverse=True
                )
                for j, row in enumerate(first.tolist()):
                    counts = np.bincount(part.drawn[group.ravel() == j], minlength=SIZE)
                    after = self.model.decode(part.contexts[row, len(texts.prompt) :].tolist())
                    label = where + (f" and {after!r}" if after else "")
                    stage = f"token {i} after prompt {number}"
                    yield CountedDraws(label, stage, counts, part.probabilities[row])


def distribution(
    sampler: Sampler, model: ProbeModel, contexts: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return a chain's distribution of the next token after prompts, (rows, tokens)."""
    logits = model.logits(contexts)
    return np.asarray(softmax(np.asarray(sampler(logits, Context.of(contexts)), dtype=np.float64)))


def _divergences(p: NDArray[np.float64], q: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the divergence of each row."""
    possible = (p > 0) & (q > 0)
    ratios = np.log(np.divide(p, q, where=possible, out=np.ones_like(p)))
    return np.asarray((p * ratios + np.where(q == 0, p, 0)).sum(axis=1))


def _steps(texts: DrawnTexts) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield the contexts, (rows, time), and the tokens drawn after them, of each position."""
    prompt = np.tile(np.array(texts.prompt, np.int64), (len(texts.tokens), 1))
    whole = np.concatenate([prompt, texts.tokens], axis=1)
    for now in range(len(texts.prompt), whole.shape[1]):
        open_rows = whole[whole[:, now] >= 0]
        yield open_rows[:, :now], open_rows[:, now]
