"""Minimum Bayes risk: write several texts and keep the one that is most like the others."""

from collections import Counter

from corelm_best_of import as_number, best_candidate, find_function, written_as

from corelm import Decoder, hookimpl, param

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


class Mbr(Decoder):
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

    def __call__(self, task):
        """Write all candidates, then yield the steps of the texts kept."""
        if not task:
            return
        kept = [self._kept(task, sample) for sample in task.random_stream.samples]
        yield from written_as(task, kept)

    def _kept(self, task, sample):
        """Return the index, in an ordinary run, of the candidate kept for a sample."""
        confident = self.metric not in METRICS  # a user's function may read them
        return best_candidate(task, sample, self.candidates, self._mean, confident)

    def _mean(self, text, texts):
        """Return the mean likeness of a text to the others; 0 if there are none."""
        likeness = find_function("metric", self.metric, METRICS)
        source = f"the metric {self.metric}"
        # By identity, because another text that is equal counts as evidence.
        scores = [as_number(likeness(text, other), source) for other in texts if other is not text]
        return sum(scores) / max(len(scores), 1)


@hookimpl
def corelm_decoders():
    return {"mbr": Mbr}
