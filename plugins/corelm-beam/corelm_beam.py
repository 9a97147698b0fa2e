"""Beam search: the likeliest texts, looked for side by side."""

import numpy as np

from corelm import (
    Decoder,
    ParameterError,
    Step,
    hookimpl,
    largest_tokens,
    log_softmax,
    param,
    surprisals,
)


class Beam(Decoder):
    """Keep the likeliest beginnings, let each go on, and keep the likeliest again.

    How likely a text is, is the product of the probabilities of its tokens under the
    distributions that the sampler returns. A text that has ended leaves the beam, which is
    narrower from then on. Several texts are the likeliest, the second likeliest, and so on;
    where there are fewer texts than were asked for, the rest stay empty. Luck plays no part.

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

    width: int = param(4, "beginnings kept at each token", ge=1, aliases=("beams",))
    length_penalty: float = param(
        1.0, "surprisals are divided by the length to this power; 0 favours short texts", ge=0
    )

    def __call__(self, task):
        """Yield the steps of the texts found, position by position, when the search is done."""
        if task.length == 0 or len(task.random_stream) == 0:
            return
        ranks = task.random_stream.samples
        if max(ranks) >= self.width:
            n = max(ranks) + 1
            raise ParameterError(f"width must be at least {n} to find {n} texts, not {self.width}")
        found = self._search(task.with_samples([0]))
        yield from _told(task, [found[i] if i < len(found) else [] for i in ranks])

    def _search(self, task):
        """The tokens of the texts found, the best first."""
        session, past = task.start(), task.context()
        nats, found = np.zeros(1), []  # the surprisal of each beginning; (cost, tokens)
        for position in range(task.length):
            model_logits, logits = task.distribution(session.logits, past.context)
            rows, tokens = _likeliest(logits, nats, self.width - len(found))
            surprisal = surprisals(logits[rows], tokens)
            nats = nats[rows] + surprisal
            past.select(rows)
            past.append(tokens, surprisal, surprisals(model_logits[rows], tokens))
            ended = (tokens == task.model.vocabulary.end) | (position + 1 == task.length)
            texts = past.context.drawn[ended].tolist()
            found += zip(self._costs(nats[ended], position + 1), texts, strict=True)
            if ended.all():
                break
            nats = nats[~ended]
            past.select(~ended)
            session.select(rows[~ended])
            session.extend(tokens[~ended])
        return [text for _, text in sorted(found, key=lambda entry: entry[0])]

    def _costs(self, nats, length):
        """What a text is ranked by: its surprisal in nats, less so the longer it is."""
        return (nats * float(length) ** -self.length_penalty).tolist()


def _likeliest(logits, nats, count):
    """The rows and the tokens by which the likeliest beginnings go on, the likeliest first.

    Args:
        logits: (batch, vocabulary).
        nats: (batch,), the surprisal of each beginning.
        count: how many are wanted.
    """
    vocabulary = logits.shape[1]
    places = largest_tokens(logits, min(count, vocabulary))
    rows, tokens = np.divmod(places, vocabulary)
    costs = nats[rows] - log_softmax(logits.astype(np.float64)).take(places)
    best = np.lexsort((tokens, rows, costs))[:count]
    return rows[best], tokens[best]


def _told(task, texts):
    """The steps of texts that are known."""
    session, past = task.start(), task.context()
    samples = np.arange(len(texts))
    for position in range(max(map(len, texts))):
        going = np.array([position < len(texts[i]) for i in samples])
        if not going.all():
            samples = samples[going]
            past.select(going)
            session.select(np.flatnonzero(going))
        tokens = np.array([texts[i][position] for i in samples])
        model_logits, logits = task.distribution(session.logits, past.context)
        surprisal = surprisals(logits, tokens)
        step = Step(position, samples, tokens, model_logits, logits, surprisal)
        yield step
        past.append(tokens, surprisal, step.model_surprisal)
        session.extend(tokens)


@hookimpl
def corelm_decoders():
    return {"beam": Beam}
