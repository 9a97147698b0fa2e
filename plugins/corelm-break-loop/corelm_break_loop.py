"""Break a loop: where a text repeats itself, write chosen words and continue, or end it."""

import numpy as np

from corelm import Mask, hookimpl, param
from corelm.filters import TokenNames
from corelm.runs import Endings


class BreakLoop(Mask):
    """Make chosen words the only possible ones where the last phrase has occurred several times.

    By default the phrase has two or more tokens, and the prompt doesn't count: it is the loop at
    which `--stop-loop` ends a text. After the words the text continues and the count starts again,
    so the words never become a loop of their own: they come again once a phrase after them has
    occurred as often. So a model that thinks in circles can be led to `</think>`. With `end`, only
    an end token is possible after the words; without words, vLLM's `repetition_detection` does so.

    Related: force, phase, no_repeat_ngram, dry.

    Example:
        >>> import corelm
        >>> from corelm.testing import ToyModel
        >>> broken = BreakLoop(words=[3], times=2) | corelm.sampler("greedy")  # 3 is "and"
        >>> [text] = corelm.generate(ToyModel(), "the", sampler=broken, length=14)
        >>> text.text
        ' cat sat on the cat sat on the and sat on the cat sat'
    """

    neutral = {"words": (), "end": False}
    reads = frozenset({"tokens", "position", "vocabulary"})

    words: tuple[int | str, ...] = param((), "the words or token ids to write, in order")
    times: int = param(3, "how often the last phrase must have come", ge=2)
    end: bool = param(False, "end the text after the words")
    shortest: int = param(2, "the fewest tokens of a phrase", ge=1)
    longest: int = param(0, "the most tokens of a phrase; 0 is any number", ge=0)

    def allowed(self, context):
        size = context.vocabulary_size
        words = TokenNames(context.vocabulary, size).written(self.words)
        ends = [*context.vocabulary.ends] if self.end and context.vocabulary is not None else []
        choices = [*([i] for i in words), *([ends] if ends else [])]
        ids = [choice[0] for choice in choices]
        loop = {"shortest": self.shortest, "longest": self.longest}
        turns = [turn_of(row, ids, self.times, **loop) for row in context.drawn.tolist()]
        if all(turn is None for turn in turns):
            return None
        allowed = np.ones((context.batch, size), dtype=bool)
        for row, turn in enumerate(turns):
            if turn is not None:
                allowed[row] = False
                allowed[row, choices[turn]] = True
        return allowed


def turn_of(tokens, words, times, **loop):
    """Return the index of the word that must come next, or None.

    Args:
        tokens: the ids drawn so far.
        words: the ids that break a loop.
        times: how often the last phrase of a loop has occurred.
        loop: the bounds of its tokens, as `Endings.in_loop` takes them.

    Example:
        >>> turn_of([1, 2, 1, 2], [7, 8], 2), turn_of([1, 2, 1, 2, 7], [7, 8], 2)
        (0, 1)
        >>> turn_of([1, 2, 1, 2, 7, 8], [7, 8], 2) is None
        True
    """
    since = tokens[_last_break(tokens, words, times, loop) :]
    # Try the longest prefix of the words first, even if it also continues the loop.
    for written in range(len(words) - 1, -1, -1):
        before = len(since) - written
        if (
            before > 0
            and since[before:] == words[:written]
            and Endings.in_loop(since[:before], times, **loop)
        ):
            return written
    return None


def _last_break(tokens, words, times, loop):
    """Return the place after the last words that broke a loop; 0 if there are none.

    A loop counts only after the previous break, as the words and the tokens between could form one.
    """
    start, size = 0, len(words)
    for place in range(len(tokens) - size + 1 if size else 0):
        # Compare the words first, as they rule out nearly every place.
        is_words = place > start and tokens[place : place + size] == words
        if is_words and Endings.in_loop(tokens[start:place], times, **loop):
            start = place + size
    return start


@hookimpl
def corelm_samplers():
    return {"break_loop": BreakLoop}
