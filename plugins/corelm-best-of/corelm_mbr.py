"""Minimum Bayes risk: write several texts and keep the one that is most like the others."""

from collections import Counter

from corelm_best_of import Rerank, as_number, find_function

from corelm import hookimpl, param

LONGEST = 4
"""The longest n-grams that are compared."""


def ngram_f(text, reference):
    """Return the F1 score of the n-grams of two candidates: the mean over n from 1 to 4.

    An n-gram counts as often as the text with fewer of it has it. Lengths that neither text has
    are left out.
    """
    scores = []
    for n in range(1, LONGEST + 1):
        ours, theirs = _ngrams(text.tokens, n), _ngrams(reference.tokens, n)
        total = ours.total() + theirs.total()
        # Two short texts both lack long n-grams, which doesn't make them different.
        if total:
            scores.append(2 * (ours & theirs).total() / total)
    return sum(scores) / len(scores)


def _ngrams(tokens, n):
    """Count the n-grams of a text.

    Example:
        >>> import numpy as np
        >>> _ngrams(np.array([7, 8, 7, 8]), 2)
        Counter({(7, 8): 2, (8, 7): 1})
    """
    ids = tokens.tolist()
    return Counter(zip(*(ids[i:] for i in range(n)), strict=False))


METRICS = {"ngram_f": ngram_f}


class Mbr(Rerank):
    """Write several texts with ancestral sampling, and keep the one that is most like the others.

    The other texts stand in for the texts that the model could have written, so the text kept has
    the largest expected likeness, or the least expected loss, among the candidates. The candidates
    of sample i are the samples i n, ..., i n + n - 1 of an ordinary run with the same seed, for n
    candidates; the first one with the largest mean is kept.

    Source: Eikema and Aziz 2020, Is MAP decoding all you need? The inadequacy of the mode in neural
    machine translation, arXiv 2005.10283.

    Example:
        >>> import corelm
        >>> from corelm.testing import ToyModel
        >>> options = dict(sampler="stochastic", length=3, seed=1)
        >>> [text.text for text in corelm.generate(ToyModel(), "the", n=4, **options)]
        [' dog saw mat', ' cat sat on', ' dog and sat', ' and mat']
        >>> corelm.generate(ToyModel(), "the", decoder=Mbr(candidates=4), **options)[0].text
        ' dog and sat'
    """

    candidates: int = param(8, "texts to choose from", ge=1)
    metric: str = param(
        "ngram_f",
        f"the likeness of two texts: {', '.join(METRICS)}, or MODULE:FUNCTION, a function from two "
        "Candidates to a number",
        local=True,
    )

    def __post_init__(self):
        super().__post_init__()
        find_function("metric", self.metric, METRICS)

    @property
    def reads_confidence(self):
        """True for a function of the user's own, which may read the confidences."""
        return self.metric not in METRICS

    def choose(self, texts):
        """Return the index of the text with the largest mean likeness to the others."""
        likeness = find_function("metric", self.metric, METRICS)
        source = f"the metric {self.metric}"

        def total(text):
            # By identity, because another text that is equal counts as evidence.
            return sum(as_number(likeness(text, x), source) for x in texts if x is not text)

        return max(range(len(texts)), key=lambda i: total(texts[i]))


@hookimpl
def corelm_decoders():
    return {"mbr": Mbr}
