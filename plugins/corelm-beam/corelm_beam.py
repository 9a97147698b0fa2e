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
from corelm.filters import top_k


class Beam(Decoder):
    """Keep the most likely beginnings of a text, extend each, and keep the most likely again.

    The probability of a text is the product of the probabilities of its tokens under the
    distributions that the sampler returns. A finished text leaves the beam, which is narrower from
    then on. Several samples are the most likely text, the second most likely, and so on; if the
    beam finds fewer texts than samples, the rest stay empty. No random numbers are used.

    Source: Graves 2012, Sequence transduction with recurrent neural networks, arXiv 1211.3711;
    Sutskever, Vinyals, Le 2014, arXiv 1409.3215; the length penalty as a power of the length:
    Wu et al. 2016, arXiv 1609.08144, there with 5 added to the length.

    Example:
        >>> import corelm
        >>> from corelm.testing import ToyModel
        >>> options = dict(sampler="stochastic", length=3, n=2, decoder=Beam(width=8))
        >>> [text.text for text in corelm.generate(ToyModel(), "the", **options)]
        [' cat sat on', ' cat saw the']
    """

    width: int = param(4, "beginnings kept at each position", ge=1, aliases=("beams",))
    length_penalty: float = param(
        1.0, "surprisals are divided by the length to this power; 0 favours short texts", ge=0
    )

    def __call__(self, task):
        """Yield the steps of the texts, position by position, once the search is done."""
        if not task:
            return
        ranks = task.random_stream.samples
        if max(ranks) >= self.width:
            n = max(ranks) + 1
            raise ParameterError(f"width must be at least {n} to find {n} texts, not {self.width}")
        texts = self._search(task.with_samples([0]))
        yield from task.replay([texts[i] if i < len(texts) else [] for i in ranks])

    def _search(self, task):
        """Return the tokens of each text found, the best first."""
        decoding = task.start()
        nats, finished = np.zeros(1), []  # surprisal of each beginning; (cost, tokens)
        for position in range(task.length):
            logits = decoding.next()[1]
            rows, tokens = _likeliest(logits, nats, self.width - len(finished))
            nats = nats[rows] + surprisals(logits[rows], tokens)
            decoding.select(rows)
            texts = np.column_stack([decoding.context.drawn, tokens])
            ended = decoding.is_end(tokens) | (position + 1 == task.length)
            costs = self._costs(nats[ended], position + 1)
            finished += zip(costs, texts[ended].tolist(), strict=True)
            if ended.all():
                break
            nats = nats[~ended]
            decoding.select(~ended)
            decoding.advance(tokens[~ended])
        return [text for _, text in sorted(finished, key=lambda entry: entry[0])]

    def _costs(self, nats, length):
        """Return the rank criterion: surprisal in nats over a power of the length."""
        return (nats * float(length) ** -self.length_penalty).tolist()


def _likeliest(logits, nats, count):
    """Return the rows and tokens of the most likely extensions, the most likely first.

    Args:
        logits: (batch, vocabulary).
        nats: (batch,) the surprisal of each beginning.
        count: the number of extensions.
    """
    vocabulary = logits.shape[1]
    places = np.flatnonzero(top_k(logits, min(count, vocabulary)) > -np.inf)
    rows, tokens = np.divmod(places, vocabulary)
    costs = nats[rows] - log_softmax(logits.astype(np.float64)).take(places)
    best = np.lexsort((tokens, rows, costs))[:count]
    return rows[best], tokens[best]


@hookimpl
def corelm_decoders():
    return {"beam": Beam}
