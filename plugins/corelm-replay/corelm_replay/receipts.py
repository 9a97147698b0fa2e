"""Receipts, with which anyone can recompute each draw of a text, and their verification."""

import json
import math
from dataclasses import asdict, dataclass

import numpy as np

import corelm
from corelm.errors import UsageError
from corelm.runs import identity, teacher_forcing
from corelm_replay.fixed_sets import token_logprobs
from corelm_replay.recording import figures_of, record

FORMAT = "corelm.receipt/1"
TOLERANCE = 1e-3
"""The largest difference of two engines' logits in nats, and of a uniform number as a share."""


@dataclass(frozen=True)
class Receipt:
    """A record of the draws of a text.

    Attributes:
        model: the name of the model, and `model_sha256` its checksum.
        chain: the sampler, as an expression.
        seed, sample, prompt_index: these decide the uniform numbers.
        prompt, tokens: ids.
        logprobs: of each token under the chain; `kept_mass` and `kept_size` of its set. The size
            is 0 where nothing was removed: engines differ in the number of impossible tokens.
    """

    model: str
    model_sha256: str
    chain: str
    seed: int
    sample: int
    prompt_index: int
    prompt: list[int]
    tokens: list[int]
    logprobs: list[float]
    kept_mass: list[float]
    kept_size: list[int]

    def to_json(self):
        """Return the receipt as one JSON document."""
        return json.dumps({"format": FORMAT} | asdict(self), allow_nan=False, indent=1) + "\n"

    @classmethod
    def from_json(cls, text):
        """Read a receipt from a JSON document.

        Raises:
            UsageError: another kind of document, or values of other types.
        """
        try:
            whole = json.loads(text)
            if whole.pop("format") != FORMAT:
                raise UsageError(f"expected the format {FORMAT}")
            receipt = cls(**whole)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UsageError(f"not a receipt: {error!r}") from None
        receipt._check()
        return receipt

    def _check(self):
        numbers = (self.seed, self.sample, self.prompt_index, *self.prompt, *self.tokens)
        whole = all(type(n) is int and n >= 0 for n in (*numbers, *self.kept_size))
        floats = all(type(x) in (int, float) for x in (*self.logprobs, *self.kept_mass))
        lists = self.logprobs, self.kept_mass, self.kept_size
        if not (whole and floats and all(len(each) == len(self.tokens) for each in lists)):
            raise UsageError("not a receipt: its ids, figures or lengths are impossible")


def receipts(model, prompt, *, sampler, length=50, n=1, seed=None):
    """Draw texts, and return a receipt of each with its text.

    Args:
        model: the name of a model, which the receipt holds; or a model, whose name is unknown then.
        prompt, sampler, length, n, seed: as for `record`.

    Returns:
        Pairs of a text and its `Receipt`.
    """
    named = isinstance(model, str)
    loaded = corelm.load(model) if named else model
    rollouts = record(loaded, [prompt], sampler=sampler, length=length, n=n, seed=seed)
    digest = identity.identity_of(loaded, "")
    made = []
    for row, text in enumerate(rollouts.texts):
        before, drawn = rollouts.ids(row)
        logprobs = rollouts.logprobs[row, : len(drawn)].tolist()
        mass = rollouts.kept_mass[row, : len(drawn)].tolist()
        size = rollouts.kept.sizes[row, : len(drawn)].tolist()
        made.append((text, Receipt(
            model if named else "", digest, rollouts.chain, rollouts.seed, row, 0, before, drawn,
            logprobs, mass, size,
        )))  # fmt: skip
    return made


@dataclass(frozen=True)
class Finding:
    """A token of a receipt that was not drawn as stated."""

    place: int
    token: int
    reason: str


def verify(receipt, model=None, *, tolerance=TOLERANCE):
    """Replay a receipt on the model; return the tokens that were not drawn as it states.

    A token was drawn as stated if its uniform number falls into the token's interval of the
    cumulative distribution, and if the recorded log-probability and kept mass equal the replay's up
    to the tolerance. At the edge of a filter's set, rounding may let a token in or out: the
    recorded size is accepted if logits within the tolerance have it.

    Args:
        receipt: a `Receipt`.
        model: the model, also of another engine; by default the one that the receipt names, whose
            checksum must be the same.
        tolerance: nats by which logits may differ; `TOLERANCE` between engines in float32.

    Returns:
        `Finding`s in the order of the text; none if all was drawn as stated.

    Raises:
        UsageError: the model is another one, or ids are outside its vocabulary.
    """
    loaded = model
    if model is None:
        loaded = corelm.load(receipt.model)
        if identity.identity_of(loaded, "") != receipt.model_sha256:
            raise UsageError(f"{receipt.model} is another model than the receipt's: its checksum "
                             "differs")  # fmt: skip
    size = len(loaded.vocabulary)
    if any(token >= size for token in (*receipt.prompt, *receipt.tokens)):
        raise UsageError(f"an id of the receipt is outside the vocabulary of {size} tokens")
    return [finding for finding in _findings(receipt, loaded, tolerance) if finding.reason]


def _findings(receipt, model, tolerance):
    sampler = corelm.sampler(receipt.chain)
    whole, first = [*receipt.prompt, *receipt.tokens], len(receipt.prompt)
    stream = corelm.RandomStream(receipt.seed, [receipt.sample], receipt.prompt_index)
    nats = np.full((2, first), np.nan)
    for forced in teacher_forcing.teacher_forced(model, [whole], [first]):
        place = forced.place
        context = corelm.Context.of(
            whole[: first + place], surprisal=nats[:1], model_surprisal=nats[1:],
            prompt_length=first, vocabulary=model.vocabulary,
        )  # fmt: skip
        check = _Check(sampler, forced.logits, context, tolerance)
        token = receipt.tokens[place]
        reason = check.reason(
            token, float(stream.at(place)[0]), receipt.logprobs[place],
            receipt.kept_mass[place], receipt.kept_size[place],
        )  # fmt: skip
        yield Finding(place, token, reason)
        model_nats = -token_logprobs(forced.logits, forced.tokens)
        nats = np.append(nats, [[-receipt.logprobs[place]], [model_nats[0]]], axis=1)


class _Check:
    """The replay of one draw."""

    def __init__(self, sampler, logits, context, tolerance):
        self._sampler, self._model_logits = sampler, logits
        self._context, self._tolerance = context, tolerance

    def reason(self, token, uniform, logprob, mass, size):
        """Return the reason why the token was not drawn as stated; empty if it was."""
        logits = self._sampler(self._model_logits, self._context)
        size = size or (self._model_logits > -np.inf).sum()
        if size != (logits > -np.inf).sum():
            logits = self._resized(size)
            if logits is None:
                return "the set that it was drawn from has another size"
        if logits[0, token] == -np.inf:
            return "it is outside the set that it was drawn from"
        near = 2 * self._tolerance * (1 + abs(logprob))
        found = float(token_logprobs(logits, np.array([token]))[0])
        if not math.isclose(found, logprob, rel_tol=0, abs_tol=near):
            return f"its log-probability is {found:.4f}, not {logprob:.4f}"
        kept = figures_of(self._model_logits, logits, np.array([token]))[2][0]
        if not abs(kept - mass) <= near:
            return f"the kept mass is {kept:.4f}, not {mass:.4f}"
        p = corelm.softmax(logits[0].astype(np.float64))
        below, slack = p[:token].sum(), self._tolerance
        if below - slack <= uniform < below + p[token] + slack:
            return ""
        drawn, _ = corelm.draw(logits, np.array([uniform]))
        return f"the random number draws token {drawn[0]}"

    def _resized(self, size):
        """Return the chain's logits with a set of another size, if rounding explains that size."""
        flat, sharp = (
            self._sampler(self._model_logits * factor, self._context)
            for factor in (1 - self._tolerance, 1 + self._tolerance)
        )
        sizes = sorted(int((each > -np.inf).sum()) for each in (flat, sharp))
        if not sizes[0] <= size <= sizes[1]:
            return None
        larger = max((flat, sharp), key=lambda each: (each > -np.inf).sum())
        kept = corelm.filters.top_k(larger, size) > -np.inf
        return np.where(kept, larger, -np.inf).astype(larger.dtype)
