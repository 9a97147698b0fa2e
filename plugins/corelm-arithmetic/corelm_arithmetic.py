"""Arithmetic sampling: texts that are spread evenly over the distribution of all texts."""

import numpy as np

from corelm import Decoder, hookimpl, softmax

BITS = 53
"""The number of random bits in a number of `RandomStream`, and in a code."""


class Arithmetic(Decoder):
    """Decode each text from a code in [0, 1), where the codes of several texts are evenly spread.

    All texts, in the order of their ids, divide [0, 1) into intervals as wide as their
    probabilities. A code stands for the text of its interval, found token by token: the inverse CDF
    gives the token, and the place of the code inside the token's interval is the code of the rest.
    Each text by itself is distributed as with ancestral sampling. Together they cover the
    distribution better than independent texts, so a mean over them varies less.

    The codes of a run are the van der Corput sequence plus one random shift that the seed decides.
    So the code of a sample does not depend on the number of samples, and 2^k samples are 1 / 2^k
    apart.

    Source: Vilnis et al. 2022, Arithmetic sampling: parallel diverse decoding for large language
    models, arXiv 2210.15458, there with the codes i / (n + 1); van der Corput 1935,
    Verteilungsfunktionen.

    Example:
        >>> import corelm
        >>> from corelm.testing import ToyModel
        >>> coin = ToyModel(["heads", "tails"], end=False)
        >>> options = dict(sampler="stochastic", length=2, n=4, seed=1, decoder=Arithmetic())
        >>> sorted(text.text for text in corelm.generate(coin, "", **options))
        ['heads heads', 'heads tails', 'tails heads', 'tails tails']
    """

    is_ancestral = True

    def __call__(self, task):
        """Yield the steps, position by position."""
        if not task:
            return
        decoding, codes = task.start(), _codes(task.random_stream)
        for position in range(task.length):
            logits = decoding.next().logits
            # Number 0 of sample 0 is the shift, so the fresh bits begin with number 1.
            fresh = task.random_stream.at(position + 1, decoding.samples)
            tokens, codes = _decode(logits, codes, fresh)
            step = decoding.step(tokens)
            unfinished = ~decoding.is_end(tokens)
            finished = position + 1 == task.length or not unfinished.any()
            if not finished:
                decoding.select(unfinished)
                decoding.advance(tokens[unfinished])
                codes = codes[unfinished]
            yield step
            if finished:
                return


def _codes(random_stream):
    """Return (samples,) codes in [0, 1).

    Example:
        >>> from corelm import RandomStream
        >>> codes = _codes(RandomStream(1, range(4)))
        >>> (np.diff(sorted(codes)) * 4).tolist()
        [1.0, 1.0, 1.0]
    """
    shift = random_stream.with_samples([0]).at(0)[0]
    scale = 2**BITS
    mirrored = [int(f"{sample:0{BITS}b}"[::-1], 2) for sample in random_stream.samples]
    # In whole numbers: the sum of two floats would round.
    return np.array([(place + int(shift * scale)) % scale / scale for place in mirrored])


def _decode(logits, codes, fresh):
    """Decode one token from each code; return the tokens and the codes that are left.

    A code has 53 bits, and a token of probability p uses log2(1 / p) of them. After it the code
    lies on a grid of width 2^-53 / p; a random number fills the bits below. So the code is as
    uniform at the thousandth token as at the first.

    Args:
        logits: (batch, vocabulary).
        codes: (batch,) numbers in [0, 1).
        fresh: (batch,) random numbers in [0, 1).
    """
    sums = softmax(logits.astype(np.float64)).cumsum(axis=1)
    total = sums[:, -1:]
    target = codes[:, None] * total
    # As in `corelm.draw`: a token of probability zero adds nothing to the sum.
    tokens = ((sums <= target) & (sums < total)).sum(axis=1)
    below = np.concatenate([np.zeros_like(total), sums], axis=1)
    low, high = np.take_along_axis(below, tokens[:, None] + [0, 1], axis=1).T
    filled = target[:, 0] - low + fresh * total[:, 0] * 2.0**-BITS
    # Rounding may reach 1, at which no interval begins.
    return tokens, np.minimum(filled / (high - low), np.nextafter(1, 0))


@hookimpl
def corelm_decoders():
    return {"arithmetic": Arithmetic}
