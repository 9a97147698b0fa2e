"""Replay receipts: was each token drawn as stated, within the rounding of the engines?

Engines compute the same logits with other roundings: in single precision they differ by some 1e-6
nats, and llama.cpp, which looks GELU up in a table of half precision, by some 1e-3. No constant
serves both. A recorded log-probability under the model shows how far rounding moved the token; the
other tokens of the text show whether that is far for these two engines. Given this move and the
kept mass, little freedom is left: disturbed copies of the logits show how much.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import corelm
from corelm.errors import UsageError
from corelm.runs import NamedModel
from corelm_replay.documents import stated_sampler
from corelm_replay.fixed_sets import token_logprobs
from corelm_replay.receipts import Receipt

NAME = re.compile(r"(corelm:)?[\w.-]*\w")
"""The name of a model, neither a path nor a scheme of another engine."""
STOCHASTIC = corelm.sampler("stochastic")
TOLERANCE = 2e-3
"""Nats: the largest distance of two engines' logits that is taken for rounding."""
SINGLE = 1e-5
"""Nats: the rounding of a figure in single precision."""
COPIES = 16
"""The disturbed copies of a row of logits."""
WIDER = 5
"""How much more the copies are disturbed: the distances of single tokens are far from equal."""
DEVIATIONS = 10
"""How many standard deviations rounding may move a token; honest ones were moved by up to 6."""
SURE = 5
"""How many standard deviations of a normal distribution are taken for certain."""
CERTAIN = -1e-6
"""Nats: a larger log-probability is that of a certain token, which shows no rounding."""


@dataclass(frozen=True)
class Finding:
    """One token of a receipt that was not drawn as stated."""

    place: int
    token: int
    reason: str


def verify(
    receipt: Receipt, model: Any = None, *, sampler: corelm.Sampler | str | None = None,
    tolerance: float | None = None,
) -> list[Finding]:  # fmt: skip
    """Replay a receipt on the model; return the tokens that were not drawn as it states.

    A token was drawn as stated if its uniform number falls into the token's part of the cumulative
    distribution, and if the recorded log-probabilities, kept mass and size of the set are those of
    the replay. Where they are not, they may still be what rounding makes of them: see
    `engine_distances` and `Draw.reason`.

    Args:
        receipt: a `Receipt`.
        model: the model or its name, also in another engine; by default the one that the receipt
            names. In the engine of the receipt, its checksum must be the same.
        sampler: the sampler that the receipt must state; by default any that reads nothing of this
            machine.
        tolerance: nats, the largest standard deviation of the difference of logits that is taken
            for rounding; by default `SINGLE` for the network that the receipt names, and
            `TOLERANCE` for other models, which may be engines.

    Returns:
        `Finding`s in the order of the text; none if all was drawn as stated.

    Raises:
        UsageError: no token, another model or sampler, or ids outside its vocabulary.
    """
    receipt.check()
    stated = stated_sampler(receipt.chain, sampler)
    loaded = model_of(receipt, model)
    size = len(loaded.vocabulary)
    if any(token >= size for token in (*receipt.prompt, *receipt.tokens)):
        raise UsageError(f"an id of the receipt is outside the vocabulary of {size} tokens")
    if tolerance is None:
        is_same = NamedModel(loaded).sha256 == receipt.model_sha256
        tolerance = SINGLE if is_same else TOLERANCE
    exact, moves = [], []
    for draw in replayed(receipt, loaded, stated):
        exact.append(draw.reason())
        moves.append(draw.move)
    distances = engine_distances(moves, tolerance)
    reasons = exact
    if any(exact):
        reasons = [
            reason and draw.reason(distance)
            for draw, reason, distance in zip(
                replayed(receipt, loaded, stated), exact, distances, strict=True
            )
        ]
    ends = np.isin(receipt.tokens[:-1], [*loaded.vocabulary.ends])
    if ends.any():
        after = int(ends.argmax()) + 1
        reasons[after] = reasons[after] or "the text ended with the token before it"
    return [
        Finding(place, token, reason)
        for place, (token, reason) in enumerate(zip(receipt.tokens, reasons, strict=True))
        if reason
    ]


def model_of(receipt: Receipt, model: Any = None) -> Any:
    """Return the model that a receipt names, or the one that is stated in its place.

    Args:
        receipt: the receipt.
        model: the model or its name; by default the one that the receipt names.

    Raises:
        UsageError: a path, which the reader has to state; or another model, by its checksum.
    """
    if model is None and not NAME.fullmatch(receipt.model):
        raise UsageError("the receipt names no model of corelm; say which one it is, with --model")
    name = receipt.model if model is None else model
    named = NamedModel.of(corelm.load(name) if isinstance(name, str) else name)
    names = [NamedModel.label(each) for each in (named.name, receipt.model)]
    engine, stated = (each[: each.find(":") + 1] for each in names)  # "" for corelm's own networks
    if (receipt.model and engine == stated) and named.fingerprint() != receipt.model_sha256:
        raise UsageError(f"{named.name} is another model than the receipt's: its checksum differs")
    return named.model


def engine_distances(moves: Sequence[float], tolerance: float) -> NDArray[np.float64]:
    """Estimate for each token how far the logits of two engines are apart, from the other tokens.

    A token's own move is left out if it is larger than the tolerance, so that a changed token can't
    excuse itself; a smaller one counts, since the rounding of an engine may change with the batch
    at a single token. What follows the first larger move doesn't count either: after a changed
    token the model reads another text, so all later tokens move. Where all tokens are equal to the
    last bit, so are the other figures. Few tokens may be close by chance: the estimate is widened
    as Student's t distribution is.

    Args:
        moves: nats, how far rounding moved each token of a text.
        tolerance: nats, the largest estimate, and the one for a text of one token.

    Returns:
        (tokens,) standard deviations of the difference of a logit.
    """
    sizes = np.minimum(np.abs(moves), DEVIATIONS * tolerance)
    if len(sizes) == 1:
        return np.full(1, tolerance)
    is_large = sizes > tolerance
    last = int(is_large.argmax()) or len(sizes) - 1  # nothing comes before the first token
    counts = np.arange(len(sizes)) <= last
    count = counts.sum() - counts
    squares = np.where(counts, np.square(sizes), 0)
    others = np.sqrt((squares.sum() - squares).clip(0) / count)
    own = np.where(is_large, 0.0, sizes)
    # Student's factor: how much wider `SURE` deviations are if they come from few tokens.
    factor = np.sqrt(count * np.expm1(np.minimum(SURE**2 / count, 100.0))) / SURE
    return np.asarray(np.minimum(np.maximum(factor * others, own), tolerance))


def replayed(receipt: Receipt, model: Any, sampler: corelm.Sampler) -> Iterator[Draw]:
    """Yield the draws of a receipt, with the model's logits.

    The model reads one token at a time, as when it wrote the text: an engine with weights of few
    bits moves by up to 0.1 nats where it reads several at once.
    """
    whole, first = [*receipt.prompt, *receipt.tokens], len(receipt.prompt)
    stream = corelm.RandomStream(receipt.seed, [receipt.sample], receipt.prompt_index)
    nats = np.full((2, len(whole)), np.nan)
    nats[:, first:] = np.negative((receipt.logprobs, receipt.model_logprobs))
    task = corelm.DecodingTask(model, np.array(receipt.prompt, np.int64), STOCHASTIC, stream,
                               len(receipt.tokens))  # fmt: skip
    decoding = task.start()
    for place, token in enumerate(receipt.tokens):
        at = first + place
        logits = decoding.next().model_logits
        figures = (each[place] for each in (receipt.logprobs, receipt.model_logprobs,
                                            receipt.kept_mass, receipt.kept_size))  # fmt: skip
        context = {
            "tokens": whole[:at], "surprisal": nats[0, :at], "model_surprisal": nats[1, :at],
            "prompt_length": first, "vocabulary": model.vocabulary,
        }  # fmt: skip
        yield Draw(sampler, logits, context, token, float(stream.at(place)[0]), *figures)
        decoding.advance(np.array([token]))


@dataclass(frozen=True, eq=False)
class Draw:
    """One draw of a receipt, to be replayed.

    Attributes:
        sampler: the receipt's.
        logits: (1, vocabulary) of the model.
        context: fields of the `Context`, for one row.
        token: the id that was drawn.
        uniform: its random number.
        recorded, recorded_model: its log-probabilities in the receipt, under the chain and the
            model.
        mass, size: of its set, in the receipt.
    """

    sampler: corelm.Sampler
    logits: NDArray[Any]
    context: dict[str, Any]
    token: int
    uniform: float
    recorded: float
    recorded_model: float
    mass: float
    size: float

    @functools.cached_property
    def model_logprob(self) -> float:
        """The token's log-probability under the model, of this engine."""
        return float(token_logprobs(self.logits, self._tokens(1))[0])

    @property
    def move(self) -> float:
        """Nats by which the recording engine has the token's logit above this one's.

        Relative to the other tokens' logits, since that is what a log-probability shows.
        """
        return float(_log_odds(self.recorded_model) - _log_odds(self.model_logprob))

    def reason(self, distance: float = 0.0) -> str:
        """Return why the token can't have been drawn as stated; empty if it can.

        The token's logit is moved to where the record has it. What the other logits do to the
        figures is seen in disturbed copies.

        Args:
            distance: nats, the standard deviation of the difference of logits; 0 compares with the
                figures of the replay themselves.
        """
        if abs(self.move) > DEVIATIONS * distance + SINGLE:
            return (f"its log-probability under the model is {self.model_logprob:.4f}, "
                    f"not {self.recorded_model:.4f}")  # fmt: skip
        rows = self._copies(distance) if distance else self.logits
        logits = self._sampled(rows)
        having = logits[:, self.token] > -np.inf
        if not having.any():
            return "it is outside the set that it was drawn from"
        return self._reason_of_set(rows, logits) or self._reason_of_number(logits[having])

    def _reason_of_set(self, rows: NDArray[Any], logits: NDArray[Any]) -> str:
        """Explain why no copy has the recorded set or log-probability.

        The kept mass is compared with the mass of each set under each copy: the engine may have had
        the set of one and the logits of another. The log-probability is compared after adding the
        logarithm of the kept mass: the sum hardly depends on the tokens at the edge of a set, which
        rounding lets in or out.
        """
        kept = logits > -np.inf
        sizes, size = kept.sum(axis=1), self.size or int((self.logits > -np.inf).sum())
        if not _in_range(size, sizes):
            return f"the set that it was drawn from has another size: {sizes[0]}, not {size}"
        p = corelm.softmax(rows)
        masses = kept.astype(p.dtype) @ p.T  # of each set (rows) under each copy (columns)
        if not _in_range(self.mass, masses, SINGLE):
            return f"the kept mass is {masses[0, 0]:.4f}, not {self.mass:.4f}"
        logprobs = token_logprobs(logits, self._tokens(len(rows)))
        sums = (logprobs + _log(masses.diagonal()))[kept[:, self.token]]
        lost = float(_log(self.mass))
        if not _in_range(self.recorded + lost, sums, SINGLE):
            return f"its log-probability is {sums[0] - lost:.4f}, not {self.recorded:.4f}"
        return ""

    def _reason_of_number(self, logits: NDArray[Any]) -> str:
        """Explain why the random number can't draw the token from copies of the chain's logits.

        The copies that raise all logits on one side of an end of the token's part, and lower the
        others, move that end the most: there is no further slack, for in it a forger could put the
        neighbour of the drawn token.
        """
        drawn, _ = corelm.draw(logits[:1], np.array([self.uniform]))
        p = corelm.softmax(logits.astype(np.float64))
        below = p[:, : self.token].sum(axis=-1)
        above = below + p[:, self.token]
        # The draw sums in its own order, so its token may lie a rounding beyond these sums.
        if drawn[0] == self.token or below.min() <= self.uniform <= above.max():
            return ""
        return f"the random number draws token {drawn[0]}"

    def _copies(self, distance: float) -> NDArray[Any]:
        """Return (1 + COPIES, vocabulary) logits, in which the token is as likely as recorded."""
        rows = np.vstack([self.logits, self._disturbed(WIDER * distance)])
        if self.recorded_model < CERTAIN:
            moves = _log_odds(self.recorded_model) - _log_odds(
                token_logprobs(rows, self._tokens(len(rows)))
            )
            rows[:, self.token] += moves
        return rows

    def _disturbed(self, nats: float) -> NDArray[Any]:
        """Return (COPIES, vocabulary) copies of the logits, disturbed by a deviation of `nats`.

        Most differences are independent. Four copies have the ones that move sums the most: they
        grow with the logit, or change their sign at the token's id, where its part begins. Two are
        rounded to multiples of `nats`, since an engine may have equal logits where another has not.
        """
        row = self.logits[0].astype(np.float64)
        possible = row > -np.inf
        level = np.where(possible, row - row[possible].mean(), 0)
        level /= max(level[possible].std(), SINGLE)
        side = np.where(np.arange(len(row)) < self.token, 1.0, -1.0)
        noise = np.roll(_noise(len(row)), 7 * self.token, axis=1)  # other noise for other tokens
        differing = row + nats * np.vstack([level, -level, side, -side, noise])
        rounded = [nats * np.floor(row / nats + offset) for offset in (0, 0.5)]
        return np.vstack([*rounded, differing]).astype(self.logits.dtype)

    def _sampled(self, rows: NDArray[Any]) -> NDArray[Any]:
        one = self.context
        repeated = {name: np.tile(one[name], (len(rows), 1))
                    for name in ("tokens", "surprisal", "model_surprisal")}  # fmt: skip
        return self.sampler(rows, corelm.Context.of(**one | repeated))

    def _tokens(self, count: int) -> NDArray[np.int64]:
        return np.full(count, self.token)


def _log_odds(logprob: Any) -> NDArray[np.float64]:
    """Return ln p - ln(1 - p): the logit of a token, up to a function of the other logits."""
    logprob = np.minimum(logprob, CERTAIN)
    return np.asarray(logprob - np.log(-np.expm1(logprob)))


def _log(mass: Any) -> NDArray[np.float64]:
    return np.asarray(np.log(np.maximum(mass, np.finfo(np.float64).tiny)))


@functools.lru_cache(maxsize=1)
def _noise(size: int) -> NDArray[np.float64]:
    """Return (COPIES - 6, size) normal numbers, kept since drawing them takes the most time."""
    return np.random.default_rng(0).standard_normal((COPIES - 6, size))


def _in_range(value: float, values: NDArray[Any], slack: float = 0.0) -> bool:
    """Return True for a value in the range of a figure over the copies of a row, and its width.

    The mass of a set jumps by the share of a token, so an honest one may lie outside the range of a
    few copies, of which most are on one side of the jump.
    """
    least, most = float(values.min()), float(values.max())
    width = most - least + slack
    return least - width <= value <= most + width
