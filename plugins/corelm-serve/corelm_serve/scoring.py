"""The figures of a prompt's tokens, from teacher-forced passes, and of drawn ones."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from corelm import Array, LanguageModel, Step, log_softmax
from corelm.abilities import can
from corelm.errors import UsageError
from corelm.filters import likeliest_tokens
from corelm.runs import ModelLogits

if TYPE_CHECKING:
    from corelm_serve.scheduling.jobs import Writing

MEMORY = 2**26
"""The most bytes of logits at a time."""


@dataclass
class Scores:
    """The log-probabilities of the tokens of a prompt, in nats.

    Attributes:
        tokens: the log-probability of each token; None for a first token with nothing before it.
        ids: for each token, the likeliest tokens at its place.
        top: their log-probabilities.
    """

    tokens: list[float | None] = field(default_factory=list)
    ids: list[NDArray[np.int32]] = field(default_factory=list)
    top: list[Array] = field(default_factory=list)

    def add(self, logits: Array, tokens: Sequence[int], count: int) -> None:
        """Add tokens and the logits before each."""
        for row, token in zip(log_softmax(logits), tokens, strict=True):
            ids = likeliest(row, count)
            self.tokens.append(float(row[token]))
            self.ids.append(np.array(ids, np.int32))
            self.top.append(row[ids])

    def add_first(self) -> None:
        """Add a first token that has nothing before it."""
        self.tokens.append(None)
        self.ids.append(np.empty(0, np.int32))
        self.top.append(np.empty(0))


@dataclass(frozen=True, slots=True)
class TokenTable:
    """Log-probabilities at one token, in nats, for the tokens with the largest ones.

    Arrays, since a server holds a million of these numbers for some clients.

    Attributes:
        ids: the drawn token, then those with the largest log-probabilities, the likeliest first.
        model: their log-probabilities under the model.
        sampler: the same under the distribution that was drawn from.
    """

    ids: NDArray[np.int32]
    model: Array
    sampler: Array


def score(
    model: LanguageModel, ids: Sequence[int], count: int, unknown: bool = False
) -> Generator[None, int, Scores]:
    """Score the tokens of a prompt; yield before each block, to be sent its largest size.

    Tokens that are never drawn are impossible here too: these are the distributions that texts
    are drawn from before the sampler.

    Args:
        model: the language model.
        ids: the ids of the prompt.
        count: the number of likeliest tokens at each place.
        unknown: allow [UNK], so that unknown words have a log-probability.
    """
    scores, prepare = Scores(), ModelLogits(model.vocabulary, unknown)
    start = model.vocabulary.start
    if not ids:
        return scores
    most = MEMORY // (4 * len(model.vocabulary))
    text = np.array(ids, dtype=np.int64)
    if start is None or ids[0] == start:
        scores.add_first()
    if ids[0] == start:  # the model puts it there itself
        text = text[1:]
    first = 1 if start is None else 0
    # A block gives the logits after each of its tokens; the last ones belong to the next block.
    session = model.start(text[None, :first])
    before = session.next_logits()[:1]
    while first < len(text):
        size = max(1, min((yield), most))
        block = text[first : first + size]
        after = read_block(session, block)
        logits = prepare(np.concatenate([before, after[:-1]]), 0)
        scores.add(logits, block.tolist(), count)
        before, first = after[-1:], first + len(block)
    return scores


def together(model: LanguageModel, writings: Sequence[Writing], size: int) -> list[Writing]:
    """Return the writing whose turn it is, and others to score in one pass with it.

    It is the turn of the one with the fewest blocks so far: long prompts don't hold up short ones.

    Args:
        model: the language model.
        writings: at least one, with prompts that are not scored yet.
        size: the largest number of tokens in a pass.
    """
    first, *others = sorted(writings, key=lambda writing: writing.blocks)
    batch, most = [first], min(size, MEMORY // (4 * len(model.vocabulary)))
    for other in others:
        lengths = [len(writing.job.ids) for writing in (*batch, other)]
        fits = min(lengths) > 1 and len(lengths) * max(lengths) <= most  # padding included
        is_alike = other.job.unknown == first.job.unknown and not (first.is_alone or other.is_alone)
        if is_alike and fits:
            batch.append(other)
    return batch


def score_together(
    model: LanguageModel, prompts: Sequence[Sequence[int]], counts: Sequence[int], unknown: bool
) -> list[Scores]:
    """Score the tokens of several prompts, of any lengths, in one pass.

    Shorter ones are padded at their end: no token attends to what comes after it.

    Args:
        model: the language model.
        prompts: the ids of each, at least two.
        counts: the number of likeliest tokens at each place of each.
        unknown: allow [UNK].

    Raises:
        UsageError: a model whose sessions give no logits of earlier tokens.
    """
    prepare, start = ModelLogits(model.vocabulary, unknown), model.vocabulary.start
    first = 0 if start is not None else 1
    # The model puts the start token there itself.
    texts = [prompt[1:] if prompt[0] == start else prompt for prompt in prompts]
    ids = np.zeros((len(texts), max(map(len, texts))), dtype=np.int64)
    for row, text in zip(ids, texts, strict=True):
        row[: len(text)] = text
    session = model.start(ids[:, :first])
    if not can(session, "rewind"):
        raise UsageError("this model scores one token after the other")
    before = session.next_logits()[:, None]
    session.extend(ids[:, first:])
    after = session.last_logits(ids.shape[1] - first)
    rows = np.concatenate([before, after[:, :-1]], axis=1)
    scored = []
    for logits, prompt, text, count in zip(rows, prompts, texts, counts, strict=True):
        scored.append(Scores())
        if first or len(text) < len(prompt):
            scored[-1].add_first()
        scored[-1].add(prepare(logits[: len(text) - first], 0), text[first:], count)
    return scored


def read_block(session: Any, block: np.ndarray) -> Array:
    """Read a block of one text; return (time, vocabulary): the logits after each of its tokens."""
    if can(session, "rewind"):
        session.extend(block[None])
        after: Array = session.last_logits(len(block))[0]
        return after
    rows = []
    for token in block:
        session.extend(np.array([token]))
        rows.append(np.array(session.next_logits()[0]))
    return np.stack(rows)


def likeliest(row: np.ndarray, count: int) -> list[int]:
    """Return the ids of the `count` likeliest tokens, or of all possible ones if fewer."""
    ids: list[int] = likeliest_tokens(row, count).tolist() if count else []
    return ids


# ---- the figures of drawn tokens that a trainer needs, as corelm-replay's documents have them ----

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
