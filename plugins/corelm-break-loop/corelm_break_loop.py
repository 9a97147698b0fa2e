"""Break a loop: write chosen words where a text repeats itself, and go on."""

import numpy as np

from corelm import Mask, hookimpl, param
from corelm.filters import token_sequence
from corelm.runs import ends_in_loop


class BreakLoop(Mask):
    """Make chosen words the only possible ones where the last phrase has come several times.

    The phrase has two or more tokens, and the prompt doesn't count: it is the loop at which
    `--stop-loop` ends a text. After the words, the text continues; if the loop resumes, they
    come again after one free token. So a model that thinks in circles can be led to `</think>`.

    Related: force, phase, no_repeat_ngram, dry.

    Example:
        >>> import corelm
        >>> from corelm.testing import ToyModel
        >>> broken = BreakLoop(words=["and"], times=2) | corelm.sampler("greedy")
        >>> [text] = corelm.generate(ToyModel(), "the", sampler=broken, length=14)
        >>> text.text
        ' cat sat on the cat sat on the and sat on the cat sat'
    """

    neutral = {"words": ()}
    reads = frozenset({"tokens", "step", "vocabulary"})

    words: tuple[int | str, ...] = param((), "the words or token ids to write, in order")
    times: int = param(3, "how often the last phrase must have come", ge=2)

    def allowed(self, context):
        size, vocabulary = context.vocabulary_size, context.vocabulary
        ids = [i for word in self.words for i in token_sequence(word, vocabulary, size)]
        turns = [turn_of(row, ids, self.times) for row in context.drawn.tolist()]
        rows = [row for row, turn in enumerate(turns) if turn is not None]
        if not rows:
            return None
        allowed = np.ones((context.batch, size), dtype=bool)
        allowed[rows] = False
        allowed[rows, [ids[turns[row]] for row in rows]] = True
        return allowed


def turn_of(tokens, words, times):
    """Return the index of the word that must come next, or None.

    Args:
        tokens: the ids drawn so far.
        words: the ids that break a loop.
        times: how often the last phrase of a loop has come.

    Example:
        >>> turn_of([1, 2, 1, 2], [7, 8], 2), turn_of([1, 2, 1, 2, 7], [7, 8], 2)
        (0, 1)
        >>> turn_of([1, 2, 1, 2, 7, 8], [7, 8], 2) is None
        True
    """
    # The longest beginning of the words counts, even where it continues the loop: the token after
    # all the words is free, so the model can leave the loop.
    for written in range(len(words), -1, -1):
        before = len(tokens) - written
        if tokens[before:] == words[:written] and ends_in_loop(tokens[:before], times):
            return written if written < len(words) else None
    return None


@hookimpl
def corelm_samplers():
    return {"break_loop": BreakLoop}
