"""Chain-of-thought decoding: greedy texts from several first tokens, and the surest answer."""

from dataclasses import dataclass

import numpy as np
from corelm_answers import NUMBER, check_pattern, find_answer

from corelm import Decoder, ParameterError, hookimpl, log_softmax, param, softmax
from corelm.abilities import FullVocabulary
from corelm.filters import likeliest_tokens


@dataclass(frozen=True)
class Path:
    """A greedy continuation of one first token.

    Attributes:
        tokens: its ids.
        answer: its answer; None if it has none.
        margin: the mean difference between the two largest probabilities, over the answer's tokens.
    """

    tokens: list[int]
    answer: str | None
    margin: float


class CoT(Decoder):
    """Continue the k likeliest first tokens greedily, and keep the text with the surest answer.

    The answer of a text is the last match of a pattern. Its margin is the mean of p1 - p2 over its
    tokens, with p1 and p2 the two largest probabilities under the distribution that the sampler
    returns. With `aggregate`, the margins of equal answers are added up and the largest sum wins.
    Texts without an answer come last. Several samples are the best text, the second best, and so
    on; if there are fewer than k possible first tokens, the rest stay empty. No random numbers are
    used. `greedy`, and a filter that leaves one token, leave one text.

    Source: Wang and Zhou 2024, Chain-of-thought reasoning without prompting, arXiv 2402.10200.

    Related: vote, best_of.

    Example:
        >>> import corelm
        >>> from corelm.testing import ToyModel
        >>> options = dict(sampler="stochastic", length=4, n=2)
        >>> cot = CoT(k=3, pattern="cat|dog|mat")
        >>> [text.text for text in corelm.generate(ToyModel(), "the", decoder=cot, **options)]
        [' cat sat on the', ' dog']
    """

    is_deterministic = True

    k: int = param(10, "first tokens to continue", ge=1)
    pattern: str = param(
        NUMBER, "a regular expression: its last match, or the first group of that, is the answer"
    )
    aggregate: bool = param(False, "add up the margins of equal answers")

    def __post_init__(self):
        super().__post_init__()
        check_pattern(self.pattern)

    def __call__(self, task):
        """Yield the steps of the texts, position by position, once all are written."""
        if not task:
            return
        ranks = task.random_stream.samples
        if max(ranks) >= self.k:
            n = max(ranks) + 1
            raise ParameterError(f"k must be at least {n} to find {n} texts, not {self.k}")
        best = self.ranked(paths(task.with_samples([0]), self.k, self.pattern))
        yield from task.replay([best[i].tokens if i < len(best) else [] for i in ranks])

    def next_tokens(self, task):
        """Return the first tokens that it continues, with their log-probabilities in nats."""
        logits = task.with_samples([0]).start().next().logits[0]
        tokens = likeliest_tokens(logits, self.k)
        scores = log_softmax(logits.astype(np.float64))[tokens]
        return dict(zip(tokens.tolist(), scores.tolist(), strict=True))

    def ranked(self, continuations):
        """Return paths, the best one first."""
        totals = {}
        for path in continuations:
            totals[path.answer] = totals.get(path.answer, 0.0) + path.margin
        # The sort is stable: on ties the likelier first token comes first.
        return sorted(
            continuations,
            key=lambda path: (
                path.answer is None,
                -totals[path.answer] if self.aggregate else 0.0,
                -path.margin,
            ),
        )


def paths(task, k, pattern):
    """Return the greedy continuations of the k likeliest first tokens, in that order.

    Args:
        task: a task of one sample.
        k: the number of first tokens.
        pattern: the pattern of an answer.
    """
    decoding = task.start()
    logits = decoding.next().logits
    tokens = likeliest_tokens(logits[0], k)
    texts, margins = [[] for _ in tokens], [[] for _ in tokens]
    rows = np.arange(len(tokens))  # the path of each row
    decoding.select(np.zeros(len(tokens), dtype=np.int64))
    steps_margins = np.repeat(margins_of(logits), len(tokens))
    for position in range(task.length):
        for row, token, margin in zip(rows, tokens.tolist(), steps_margins.tolist(), strict=True):
            texts[row].append(token)
            margins[row].append(margin)
        going = ~decoding.is_end(tokens)
        if position + 1 == task.length or not going.any():
            break
        rows, tokens = rows[going], tokens[going]
        decoding.select(going)
        decoding.advance(tokens)
        logits = decoding.next().logits
        tokens, steps_margins = logits.argmax(axis=1), margins_of(logits)
    return [_path(task, pattern, text, margin) for text, margin in zip(texts, margins, strict=True)]


def margins_of(logits):
    """Return the difference between the two largest probabilities of each row: (batch,).

    Example:
        >>> margins_of(np.log([[0.5, 0.2, 0.3], [0.2, 0.6, 0.2]])).round(6).tolist()
        [0.2, 0.4]
    """
    p = softmax(logits.astype(np.float64))
    if p.shape[1] == 1:
        return np.ones(len(p))
    two = np.partition(p, -2, axis=1)[:, -2:]
    return two[:, 1] - two[:, 0]


def _path(task, pattern, tokens, margins):
    write = FullVocabulary(task.model.vocabulary).writer(task.prompt.tolist())
    pieces = [write(token) for token in tokens]
    match = find_answer(pattern, "".join(pieces))
    if match is None:
        return Path(tokens, None, 0.0)
    answer, start, end = match
    ends = np.cumsum([len(piece) for piece in pieces])
    starts = np.concatenate([[0], ends[:-1]])
    inside = (starts < end) & (ends > start)  # the tokens that have a part of the answer
    return Path(tokens, answer, float(np.mean(np.array(margins)[inside])))


@hookimpl
def corelm_decoders():
    return {"cot": CoT}
