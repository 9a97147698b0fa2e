"""The loop: a text that ends by repeating one phrase."""

from __future__ import annotations

from collections.abc import Sequence

REPEATS, SHORTEST = 3, 2
"""How often a phrase occurs in a loop, and the number of its tokens, at least."""


def ends_in_loop(tokens: Sequence[int], repeats: int = REPEATS) -> bool:
    """Return True if a text ends by repeating one phrase.

    The phrase has two or more tokens. The text may break off inside it, because the same loop then
    ends in another phrase of that length. One token six times in a row is a phrase of two, three
    times.

    Source: Holtzman et al. 2020, The curious case of neural text degeneration,
    arXiv 1904.09751.

    Args:
        tokens: the ids of the text.
        repeats: the number of times that the phrase occurs, at least 2.

    Example:
        >>> ends_in_loop([9, 3, 4, 3, 4, 3, 4]), ends_in_loop([3, 4, 3, 4]), ends_in_loop([3] * 6)
        (True, False, True)
    """
    end = len(tokens)
    # The phrases are equal if all but the first equal all but the last. Few lengths pass the test
    # of the last token, so this is fast enough for every token of a text.
    return any(
        tokens[-1] == tokens[-1 - size]
        and tokens[end - (repeats - 1) * size :] == tokens[end - repeats * size : end - size]
        for size in range(SHORTEST, end // repeats + 1)
    )
