"""Voting: write several texts, and keep one with the answer that most of them give."""

import numpy as np
from corelm_answers import NUMBER, check_pattern, find_answer
from corelm_best_of import LIKELIHOODS, SCORERS, ByScore
from corelm_confidence import WINDOW

from corelm import CorelmError, ParameterError, hookimpl, param


class Vote(ByScore):
    """Write several texts with ancestral sampling, and keep one whose answer wins a vote.

    The answer of a text is the last match of a pattern; texts without one have no vote. Votes are
    `equal`, as in self-consistency; or the `score` of each text, as in DeepConf; or by `rank`, as
    in self-certainty: (n - r + 1) ** power for the text with the r-th highest score of n. With
    `keep=0.5` only half of the texts with an answer vote, those with the highest scores, as
    DeepConf filters. Of the texts with the winning answer, the one with the highest score is kept;
    the first one on ties. If no text has an answer, the score alone decides. Sample i has the
    candidates of `best_of`.

    Source: Wang et al. 2023, Self-consistency improves chain of thought reasoning in language
    models, arXiv 2203.11171; Fu et al. 2025, Deep think with confidence, arXiv 2508.15260; Kang et
    al. 2025, Scalable best-of-n selection for large language models via self-certainty,
    arXiv 2502.18581.

    Example:
        >>> import corelm
        >>> from corelm.testing import ToyModel
        >>> options = dict(sampler="stochastic", length=3, seed=1)
        >>> [text.text for text in corelm.generate(ToyModel(), "the", n=4, **options)]
        [' dog saw mat', ' cat sat on', ' dog and sat', ' and mat']
        >>> vote = Vote(candidates=4, pattern="cat|dog")
        >>> corelm.generate(ToyModel(), "the", decoder=vote, **options)[0].text
        ' dog saw mat'
    """

    candidates: int = param(8, "texts to choose from", ge=1)
    pattern: str = param(
        NUMBER, "a regular expression: its last match, or the first group of that, is the answer"
    )
    votes: str = param("equal", "how votes are weighted", choices=("equal", "score", "rank"))
    scorer: str = param(
        "group_confidence",
        f"the score: {', '.join(SCORERS)}, or MODULE:FUNCTION",
        local=True,
    )
    keep: float = param(
        1.0,
        "share of the texts with an answer that vote, those with the highest scores",
        gt=0,
        le=1,
    )
    power: float = param(0.5, "exponent of votes by rank", ge=0)
    window: int = param(WINDOW, "tokens of a group and of the tail, for the scores", ge=1)

    def __post_init__(self):
        super().__post_init__()
        check_pattern(self.pattern)
        if self.votes == "score" and self.scorer in LIKELIHOODS:
            raise ParameterError(
                f"votes cannot be {self.scorer}: it is negative; take votes='rank'"
            )

    def choose(self, texts):
        """Return the index of the text that wins the vote."""
        matches = [find_answer(self.pattern, text.text) for text in texts]
        return self.elect([match and match[0] for match in matches], self.scores(texts))

    def elect(self, answers, scores):
        """Return the index of the text that is kept.

        Args:
            answers: the answer of each text; None for a text without one.
            scores: (texts,) their scores.
        """
        valid = [i for i, answer in enumerate(answers) if answer is not None]
        if not valid:
            return int(np.argmax(scores))
        least = np.percentile(scores[valid], (1 - self.keep) * 100)
        voters, weights = [i for i in valid if scores[i] >= least], self._weights(scores)
        totals = {}
        for i in voters:
            totals[answers[i]] = totals.get(answers[i], 0.0) + weights[i]
        winner = max(totals, key=totals.get)
        return max((i for i in voters if answers[i] == winner), key=lambda i: scores[i])

    def _weights(self, scores):
        """Return the weight of each text's vote."""
        if self.votes == "equal":
            return np.ones(len(scores))
        if self.votes == "rank":
            ranks = np.argsort(np.argsort(-scores, kind="stable"))  # 0 for the highest
            return (len(scores) - ranks.astype(float)) ** self.power
        if (scores < 0).any():
            raise CorelmError(f"the scorer {self.scorer} is negative, so it cannot be a vote")
        return scores


@hookimpl
def corelm_decoders():
    return {"vote": Vote}
