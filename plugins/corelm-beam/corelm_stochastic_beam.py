"""Stochastic beam search: different texts, drawn without replacement."""

import numpy as np
from corelm_beam import check_count

from corelm import Decoder, hookimpl, log_softmax, param


class StochasticBeam(Decoder):
    """Draw different texts, as if each text drawn were removed from the distribution.

    The log-probability of each text gets Gumbel noise; the texts with the largest sums are a draw
    without replacement, in its order. A beam search finds them without listing all texts: the sum
    of a beginning is the largest of its continuations', so the noise is drawn from the beginning
    on, on condition of that largest sum. Text 0 is distributed as with ancestral sampling. If
    fewer texts are possible than samples, the rest stay empty.

    Source: Kool, van Hoof, Welling 2019, Stochastic beams and where to find them: the Gumbel-top-k
    trick for sampling sequences without replacement, arXiv 1903.06059.

    Example:
        >>> import corelm
        >>> from corelm.testing import ToyModel
        >>> coin = ToyModel(["heads", "tails"], end=False)
        >>> options = dict(sampler="stochastic", length=2, n=4, seed=1, decoder=StochasticBeam())
        >>> sorted(text.text for text in corelm.generate(coin, "", **options))
        ['heads heads', 'heads tails', 'tails heads', 'tails tails']
    """

    width: int = param(4, "texts drawn; at least the number of samples", ge=1)

    def __call__(self, task):
        """Yield the steps of the texts, position by position, once all are drawn."""
        if not task:
            return
        check_count(task, self.width, "width")
        texts = self._search(task.with_samples([0]))
        ranks = task.random_stream.samples
        yield from task.replay([texts[i] if i < len(texts) else [] for i in ranks])

    def _search(self, task):
        """Return the tokens of each text drawn, in the order of the draw."""
        decoding = task.start()
        log_p, sums, finished = np.zeros(1), np.zeros(1), []  # of each beginning; (sum, tokens)
        for position in range(task.length):
            logits = decoding.next().logits.astype(np.float64)
            log_p = log_p[:, None] + log_softmax(logits)
            # The random number of a position seeds its noise, one number for each extension.
            seed = int(task.random_stream.at(position)[0] * 2**53)
            noise = np.random.default_rng(seed).gumbel(size=log_p.shape)
            sums = perturbed(log_p, sums, noise)
            rows, tokens = self._largest(sums, [done for done, _ in finished])
            if len(rows) == 0:  # the finished texts have larger sums than all others
                break
            log_p, sums = log_p[rows, tokens], sums[rows, tokens]
            decoding.select(rows)
            texts = np.column_stack([decoding.context.drawn, tokens])
            ended = decoding.is_end(tokens) | (position + 1 == task.length)
            finished += zip(sums[ended].tolist(), texts[ended].tolist(), strict=True)
            if ended.all():
                break
            log_p, sums = log_p[~ended], sums[~ended]
            decoding.select(~ended)
            decoding.advance(tokens[~ended])
        finished.sort(key=lambda entry: -entry[0])
        return [text for _, text in finished[: self.width]]

    def _largest(self, sums, finished):
        """Return the rows and tokens whose sums are among the largest, finished texts included."""
        places = np.argsort(-sums, axis=None, kind="stable")[: self.width]
        best = sums.ravel()[places]
        # A beginning below the finished texts can only lead to smaller sums.
        bar = np.sort(np.concatenate([best, finished]))[::-1][: self.width][-1]
        return np.divmod(places[(best >= bar) & (best > -np.inf)], sums.shape[1])


def perturbed(log_p, largest, noise):
    """Return Gumbel-perturbed log-probabilities, on condition of the largest of each row.

    Args:
        log_p: (batch, vocabulary) log-probabilities of the extensions of each beginning.
        largest: (batch,) the perturbed log-probability of each beginning.
        noise: (batch, vocabulary) standard Gumbel variables.

    Example:
        >>> sums = perturbed(np.log([[0.2, 0.8]]), np.array([1.5]), np.array([[0.1, 0.3]]))
        >>> sums.round(2).tolist()
        [[-1.34, 1.5]]
    """
    free, largest = log_p + noise, largest[:, None]
    with np.errstate(divide="ignore"):  # ln 0 for the largest itself
        below = np.log(-np.expm1(free - free.max(axis=1, keepdims=True)))
    # In this form, of the paper's appendix, no exponential overflows or cancels.
    v = largest - free + below
    return largest - np.maximum(v, 0) - np.log1p(np.exp(-np.abs(v)))


@hookimpl
def corelm_decoders():
    return {"stochastic_beam": StochasticBeam}
