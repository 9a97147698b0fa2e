"""Replay receipts: was each token drawn as stated, within the rounding of the engines?

Engines compute the same logits with other roundings: in single precision they differ by some 1e-6
nats, and llama.cpp, which looks GELU up in a table of half precision, by some 1e-3. No constant
serves both. The recorded log-probabilities show how far the two engines are apart, and disturbed
copies of the logits show what that distance does to each figure of each token.
"""

import functools
from dataclasses import dataclass

import numpy as np

import corelm
from corelm.errors import UsageError
from corelm.runs import identity, named_models, teacher_forcing
from corelm_replay.fixed_sets import token_logprobs
from corelm_replay.recording import draw_figures

TOLERANCE = 2e-3
"""Nats: the largest distance of two engines' logits that is taken for rounding."""
SINGLE = 1e-5
"""Nats: the distance that is assumed at least, of two engines in single precision."""
COPIES = 16
"""The disturbed copies of a row of logits."""
WIDER = 5
"""How much more the copies are disturbed: the distances of single tokens are far from equal."""
PROBE = 1e-3
"""Nats: a disturbance that is small enough to act in proportion, and large enough to see."""


@dataclass(frozen=True)
class Finding:
    """One token of a receipt that was not drawn as stated."""

    place: int
    token: int
    reason: str


def verify(receipt, model=None, *, tolerance=TOLERANCE):
    """Replay a receipt on the model; return the tokens that were not drawn as it states.

    A token was drawn as stated if its uniform number falls into the token's part of the cumulative
    distribution, and if the recorded log-probability, kept mass and size of the set are those of
    the replay. Where they are not, each may still lie in the range that rounding gives it:
    `logit_distance` of the engines, as far as `tolerance`.

    Args:
        receipt: a `Receipt`.
        model: the model or its name, also in another engine; by default the one that the receipt
            names, whose checksum must be the same.
        tolerance: nats, the largest standard deviation of the difference of logits that is taken
            for rounding. For engines in single precision 1e-4 is ample.

    Returns:
        `Finding`s in the order of the text; none if all was drawn as stated.

    Raises:
        UsageError: the model is another one, or ids are outside its vocabulary.
    """
    loaded = model_of(receipt) if model is None else named_models.as_model(model)
    size = len(loaded.vocabulary)
    if any(token >= size for token in (*receipt.prompt, *receipt.tokens)):
        raise UsageError(f"an id of the receipt is outside the vocabulary of {size} tokens")
    exact = [draw.reason() for draw in replayed(receipt, loaded)]
    if not any(exact):
        return []
    distance = min(logit_distance(receipt, loaded), tolerance)
    reasons = (
        reason and draw.reason(distance)
        for draw, reason in zip(replayed(receipt, loaded), exact, strict=True)
    )
    found = zip(receipt.tokens, reasons, strict=True)
    return [Finding(at, token, why) for at, (token, why) in enumerate(found) if why]


def model_of(receipt):
    """Return the model that a receipt names.

    Raises:
        UsageError: the model of this name has another checksum.
    """
    loaded = corelm.load(receipt.model)
    if identity.identity_of(loaded, "") != receipt.model_sha256:
        raise UsageError(f"{receipt.model} is another model than the receipt's: its checksum "
                         "differs")  # fmt: skip
    return loaded


def logit_distance(receipt, model):
    """Estimate how far the logits of a receipt's engine are from a model's, in nats.

    The difference between a recorded log-probability and the replayed one is compared with the
    change that a disturbance of `PROBE` nats makes to it. Three quarters of the tokens are below
    the result, so a few changed tokens don't raise it; short texts get a supplement.

    Returns:
        The standard deviation of the difference of a logit; at least `SINGLE`.
    """
    draws = replayed(receipt, named_models.as_model(model))
    ratios = [each for draw in draws if (each := draw.ratio()) is not None]
    if not ratios:
        return SINGLE
    # Three quarters of the absolute values of a normal number are below 1.15 deviations.
    typical = float(np.quantile(ratios, 0.75, method="lower")) / 1.15
    return max(typical * PROBE * (1 + 8 / len(ratios)), SINGLE)


def replayed(receipt, model):
    """Yield the draws of a receipt, with the model's logits."""
    sampler = corelm.sampler(receipt.chain)
    whole, first = [*receipt.prompt, *receipt.tokens], len(receipt.prompt)
    stream = corelm.RandomStream(receipt.seed, [receipt.sample], receipt.prompt_index)
    nats = np.full((2, len(whole)), np.nan)
    nats[0, first:] = np.negative(receipt.logprobs)
    for forced in teacher_forcing.teacher_forced(model, [whole], [first]):
        place, at = forced.place, first + forced.place
        recorded = receipt.logprobs[place], receipt.kept_mass[place], receipt.kept_size[place]
        uniform = float(stream.at(place)[0])
        context = {
            "tokens": whole[:at], "surprisal": nats[0, :at], "model_surprisal": nats[1, :at],
            "prompt_length": first, "vocabulary": model.vocabulary,
        }  # fmt: skip
        yield Draw(sampler, forced.logits, context, receipt.tokens[place], recorded, uniform)
        nats[1, at] = -token_logprobs(forced.logits, forced.tokens)[0]


@dataclass(frozen=True, eq=False)
class Draw:
    """One draw of a receipt, to be replayed.

    Attributes:
        sampler: the receipt's.
        logits: (1, vocabulary) of the model.
        context: fields of the `Context`, for one row.
        token: the id that was drawn.
        recorded: its log-probability, and the mass and size of its set; 0 for all tokens.
        uniform: its random number.
    """

    sampler: corelm.Sampler
    logits: np.ndarray
    context: dict
    token: int
    recorded: tuple
    uniform: float

    def reason(self, distance=0.0):
        """Return why the token can't have been drawn as stated; empty if it can.

        Args:
            distance: nats, the standard deviation of the difference of logits; 0 compares with the
                figures of the replay themselves.
        """
        copies = [self._disturbed(WIDER * distance)] if distance else []
        rows = np.vstack([self.logits, *copies])
        logits = self._sampled(rows)
        having = logits[:, self.token] > -np.inf
        if not having.any():
            return "it is outside the set that it was drawn from"
        logprobs, masses, sizes = draw_figures(rows, logits, self._tokens(len(rows)))
        logprob, mass, size = self.recorded
        if not _in_range(size or (self.logits > -np.inf).sum(), sizes):
            return f"the set that it was drawn from has another size: {sizes[0]}, not {size}"
        if not _in_range(logprob, logprobs[having], SINGLE):
            return f"its log-probability is {logprobs[having][0]:.4f}, not {logprob:.4f}"
        if not _in_range(mass, masses, SINGLE):
            return f"the kept mass is {masses[0]:.4f}, not {mass:.4f}"
        p = corelm.softmax(logits[having].astype(np.float64))
        below = p[:, : self.token].sum(axis=-1)
        above = below + p[:, self.token]
        if _range(below, SINGLE)[0] <= self.uniform <= _range(above, SINGLE)[1]:
            return ""
        drawn, _ = corelm.draw(logits[:1], np.array([self.uniform]))
        return f"the random number draws token {drawn[0]}"

    def ratio(self):
        """Return the difference of a recorded figure by what `PROBE` changes; None if it is 0.

        The figure is the log-probability; the kept mass where that is certain, as in greedy text.
        """
        rows = np.vstack([self.logits, self._disturbed(PROBE)])
        logits = self._sampled(rows)
        if not (logits[:, self.token] > -np.inf).all():
            return None
        logprobs, masses, _ = draw_figures(rows, logits, self._tokens(len(rows)))
        for found, recorded in zip((logprobs, masses), self.recorded, strict=False):
            change = float(np.sqrt(np.mean((found[1:] - found[0]) ** 2)))
            if change > PROBE * SINGLE:
                return abs(found[0] - recorded) / change
        return None

    def _disturbed(self, nats):
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

    def _sampled(self, rows):
        one = self.context
        repeated = {name: np.tile(one[name], (len(rows), 1))
                    for name in ("tokens", "surprisal", "model_surprisal")}  # fmt: skip
        return self.sampler(rows, corelm.Context.of(**one | repeated))

    def _tokens(self, count):
        return np.full(count, self.token)


@functools.lru_cache(maxsize=1)
def _noise(size):
    """Return (COPIES - 6, size) normal numbers, kept since drawing them takes the most time."""
    return np.random.default_rng(0).standard_normal((COPIES - 6, size))


def _range(values, slack=0.0):
    """Return the range of a figure over the copies of a row, widened by its width and a slack.

    The mass of a set jumps by the share of a token, so an honest one may lie outside the range of a
    few copies, of which most are on one side of the jump.
    """
    least, most = float(values.min()), float(values.max())
    width = most - least
    return least - width - slack, most + width + slack


def _in_range(value, values, slack=0.0):
    least, most = _range(values, slack)
    return least <= value <= most
