"""Beam search: the most likely texts, searched side by side."""

import numpy as np

from corelm import (
    Decoder,
    ParameterError,
    hookimpl,
    log_softmax,
    param,
    surprisals,
)
from corelm.filters import likeliest_tokens, top_k


class Beam(Decoder):
    """Keep the most likely beginnings of a text, extend each, and keep the most likely again.

    The probability of a text is the product of the probabilities of its tokens under the
    distributions that the sampler returns. A finished text leaves the beam, which is narrower from
    then on. Several samples are the most likely text, the second most likely, and so on; if the
    beam finds fewer texts than samples, the rest stay empty. No random numbers are used.

    Source: Graves 2012, Sequence transduction with recurrent neural networks, arXiv 1211.3711;
    Sutskever, Vinyals, Le 2014, Sequence to sequence learning with neural networks,
    arXiv 1409.3215; the length penalty as a power of the length: Wu et al. 2016, Google's neural
    machine translation system, arXiv 1609.08144, there with 5 added to the length.

    Example:
        >>> import corelm
        >>> from corelm.testing import ToyModel
        >>> options = dict(sampler="stochastic", length=3, n=2, decoder=Beam(width=8))
        >>> [text.text for text in corelm.generate(ToyModel(), "the", **options)]
        [' cat sat on', ' cat saw the']
    """

    is_deterministic = True

    width: int = param(4, "beginnings kept at each position", ge=1, aliases=("beams",))
    length_penalty: float = param(
        1.0, "surprisals are divided by the length to this power; 0 favours short texts", ge=0
    )

    def __call__(self, task):
        """Yield the steps of the texts, position by position, once the search is done."""
        if not task:
            return
        check_count(task, self.width, "width")
        texts, _ = search(task.with_samples([0]), self.width, self.length_penalty)
        ranks = task.random_stream.samples
        yield from task.replay([texts[i] if i < len(texts) else [] for i in ranks])

    def next_tokens(self, task):
        """Return the first tokens that it keeps, with their log-probabilities in nats."""
        logits = task.with_samples([0]).start().next().logits[0]
        tokens = likeliest_tokens(logits, self.width)
        scores = log_softmax(logits.astype(np.float64))[tokens]
        return dict(zip(tokens.tolist(), scores.tolist(), strict=True))


def check_count(task, count, parameter):
    """Raise if a task has more samples than a search finds texts.

    Raises:
        ParameterError: names the parameter that limits their number.
    """
    n = max(task.random_stream.samples) + 1
    if n > count:
        raise ParameterError(f"{parameter} must be at least {n} to find {n} texts, not {count}")


def search(task, width, length_penalty, penalties=None):
    """Return the texts that beam search finds, and the tokens that it chooses on the way.

    Args:
        task: a task of one sample.
        width: the number of beginnings kept.
        length_penalty: costs are divided by the length to this power.
        penalties: a function from a position to (vocabulary,) nats that its tokens cost more.

    Returns:
        The tokens of each text, the best first; the tokens chosen at each position.
    """
    decoding = task.start()
    costs, finished, chosen = np.zeros(1), [], []  # of each beginning; (cost, tokens)
    for position in range(task.length):
        logits = decoding.next().logits
        extra = np.zeros(logits.shape[1]) if penalties is None else penalties(position)
        # A finished text keeps its place in the beam, so fewer places are left to search.
        rows, tokens = _cheapest(logits, costs, extra, width - len(finished))
        costs = costs[rows] + surprisals(logits[rows], tokens) + extra[tokens]
        chosen.append(tokens)
        decoding.select(rows)
        texts = np.column_stack([decoding.context.drawn, tokens])
        ended = decoding.is_end(tokens) | (position + 1 == task.length)
        ranks = costs[ended] * float(position + 1) ** -length_penalty
        finished += zip(ranks.tolist(), texts[ended].tolist(), strict=True)
        if ended.all():
            break
        costs = costs[~ended]
        decoding.select(~ended)
        decoding.advance(tokens[~ended])
    return [text for _, text in sorted(finished, key=lambda entry: entry[0])], chosen


def _cheapest(logits, costs, extra, count):
    """Return the rows and tokens of the cheapest extensions, the cheapest first.

    Args:
        logits: (batch, vocabulary).
        costs: (batch,) nats, of each beginning.
        extra: (vocabulary,) nats that the tokens cost more than their surprisal.
        count: the number of extensions.
    """
    vocabulary = logits.shape[1]
    # A row has at most `count` of the best extensions, so only these need exact costs.
    likeliest = top_k(logits - extra.astype(logits.dtype), min(count, vocabulary))
    places = np.flatnonzero(likeliest > -np.inf)
    rows, tokens = np.divmod(places, vocabulary)
    nats = -log_softmax(logits.astype(np.float64)).take(places) + extra[tokens]
    # Ties go to the lower row and id, so that the search has one result.
    best = np.lexsort((tokens, rows, costs[rows] + nats))[:count]
    return rows[best], tokens[best]


@hookimpl
def corelm_decoders():
    return {"beam": Beam}
