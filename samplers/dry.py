"""Penalise tokens that would continue a repetition, the more the longer it is."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from corelm import Array, Context, Sampler, hookimpl, param
from corelm.filters import KernelSampler, TokenNames, token_change

Ids = NDArray[np.int64]
FILTERED = 4
"""The tokens that are compared one by one to rule out matches, before lengths are computed."""
SCANNED = 8
"""The length up to which matches are lengthened token by token."""
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
"""The multiplier of the hashes: odd, with its set bits spread out."""
UNLIMITED = 1.000001
"""The largest base whose exponents the engines do not limit."""
FLOAT32_NATS = np.log(np.finfo(np.float32).max)
"""The logarithm of the largest float32, in float32 as the engines compute with it."""


class Dry(KernelSampler):
    """Don't repeat yourself: lower a token the more, the longer the repetition it would continue.

    Where the last n tokens of the context occurred before, followed by t, and n is at least
    allowed_length, the logit of t falls by multiplier * base^(n - allowed_length); n is the longest
    for t, and 0 for a token that only occurred. The power grows no further where base^n would pass
    the largest float32, as in llama.cpp and vLLM. A sequence breaker ends the comparison: n counts
    only tokens after the last breaker, and a breaker itself is never lowered. A breaker word that
    the model's vocabulary lacks is skipped. The matches follow from the Z-function of the reversed
    context.

    Source: p-e-w 2024, text-generation-webui pull request 5677; the linear time as in
    koboldcpp pull request 982 by pi6am.

    Related: no_repeat_ngram, repetition_penalty.

    Example:
        >>> import corelm
        >>> penalised = Dry(multiplier=1.0, allowed_length=1)(
        ...     np.array([[0.0, 0.0, 0.0]]), corelm.Context.of([[0, 1, 2, 0, 1]])
        ... )
        >>> penalised.tolist()
        [[0.0, 0.0, -1.75]]
    """

    kind = "penalty"
    neutral = {"multiplier": 0.0}
    example = {"multiplier": 0.8}
    reads = frozenset({"tokens", "vocabulary"})

    multiplier: float = param(0.0, "the least penalty; 0 is off", ge=0, lt=math.inf)
    base: float = param(1.75, "each further token multiplies the penalty by it", ge=1, lt=math.inf)
    allowed_length: int = param(2, "repetitions shorter than this are free", ge=0)
    sequence_breakers: tuple[int | str, ...] = param((), "words or ids that end a repetition")
    last: int = param(0, "how many of the last tokens count; 0 is all", ge=0)
    skip_prompt: bool = param(False, "count only tokens that were drawn")

    def kernels(self, context: Context, size: int) -> list[tuple[object, ...]]:
        names = TokenNames(context.vocabulary, size)
        breakers = {i for id in names.existing(self.sequence_breakers) for i in names.ids(id)}
        texts = context.past(self.last, self.skip_prompt)
        penalised: list[tuple[int, int, int]] = []
        of_text: dict[int, int] = {}
        for row in _may_repeat(texts, self.allowed_length):
            past = texts[row]
            # Texts of one prompt begin alike.
            if row == 0 or not np.array_equal(past, texts[row - 1]):
                of_text = repetitions(past, breakers, self.allowed_length)
            penalised += [(row, id, n) for id, n in of_text.items() if 0 <= id < size]
        if not penalised or self.multiplier == 0:  # 0 * inf is not a penalty
            return []
        rows, ids, lengths = np.array(penalised).T
        return [token_change(rows, ids, subtract=self._penalty(lengths))]

    @np.errstate(over="ignore")  # an infinite penalty becomes the largest number
    def _penalty(self, lengths: Array) -> Array:
        exponents = (lengths - self.allowed_length).astype(np.float64)
        if self.base > UNLIMITED:
            largest = FLOAT32_NATS / np.log(np.float32(self.base))
            exponents = np.minimum(exponents, max(np.floor(largest), 1))
        return self.multiplier * self.base**exponents


def _may_repeat(texts: Ids, shortest: int) -> list[int]:
    """Return the rows whose last tokens occur before, and perhaps others.

    One comparison of all rows rules out most texts of a batch.

    Args:
        texts: (batch, time) ids.
        shortest: the least length of a repetition.
    """
    batch, time = texts.shape
    length = min(shortest, FILTERED)
    if batch == 1 or not 0 < length < time:
        return [*range(batch)]
    same = texts[:, length - 1 : -1] == texts[:, -1:]
    for back in range(1, length):
        same &= texts[:, length - 1 - back : -1 - back] == texts[:, -1 - back, None]
    rows: list[int] = np.flatnonzero(same.any(axis=-1)).tolist()
    return rows


def repetitions(tokens: ArrayLike, breakers: Collection[int], shortest: int = 1) -> dict[int, int]:
    """Map each token that would continue a repetition to the longest length so far.

    Args:
        tokens: ids of one context.
        breakers: ids that end a repetition.
        shortest: the least length; 0 includes every token that occurred.
    """
    # Read backwards, a repetition of the last tokens is a match with the beginning.
    backwards = np.asarray(tokens, dtype=np.int64)[::-1]
    size = limit = len(backwards)
    places = np.arange(1, size + 1)  # where suffixes begin, each after the token that followed
    if shortest:  # in most texts almost no place is left
        places = 1 + np.flatnonzero(backwards[1:] == backwards[:1])
    for k in range(1, min(shortest, FILTERED, size)):
        places = places[places < size - k]
        places = places[backwards[places + k] == backwards[k]]
    if breakers and len(places):
        ends = np.isin(backwards, [*breakers])
        limit = int(ends.argmax()) if ends.any() else size  # a match ends at the last breaker
        places = places[~ends[places - 1]]
    if limit < shortest or not len(places):
        return {}
    followers, which = np.unique(backwards[places - 1], return_inverse=True)
    longest, at = _longest_matches(backwards, places, which, limit)
    pairs = zip(at.tolist(), longest.tolist(), strict=True)
    if not all(np.array_equal(backwards[i : i + n], backwards[:n]) for i, n in pairs):
        lengths = np.array([*z_function(backwards.tolist()), 0])[places].clip(max=limit)
        longest[:] = 0
        np.maximum.at(longest, which, lengths)
    lengths_of = zip(followers.tolist(), longest.tolist(), strict=True)
    return {follower: n for follower, n in lengths_of if n >= shortest}


def _longest_matches(sequence: Ids, places: Ids, which: Ids, limit: int) -> tuple[Ids, Ids]:
    """Return the longest match of a suffix with the beginning, for each group of places.

    A hash collision makes a length too large, never too small, so the caller needs to compare the
    tokens of the longest matches only.

    Args:
        sequence: ids.
        places: the positions at which the suffixes begin, rising.
        which: the group of each place.
        limit: the largest length.

    Returns:
        (groups,): the lengths, and a place with each length.
    """
    longest, at = np.zeros((2, which.max() + 1), np.int64)
    for length in range(min(limit, SCANNED) + 1):  # of thousands of matches, few are longer
        longest[which], at[which] = length, places
        if length == limit:
            return longest, at
        goes_on = places < len(sequence) - length
        goes_on[goes_on] = sequence[places[goes_on] + length] == sequence[length]
        places, which = places[goes_on], which[goes_on]
        if not len(places):
            return longest, at
    return _bisected(sequence, places, which, limit, longest, at)


def _bisected(
    sequence: Ids, places: Ids, which: Ids, limit: int, longest: Ids, at: Ids
) -> tuple[Ids, Ids]:
    """Complete the result of `_longest_matches` for longer matches.

    It bisects over polynomial hashes: a few array operations instead of the Z-function's Python
    step for each token.
    """
    powers = np.full(len(sequence) + 1, MULTIPLIER)
    powers[0] = 1
    powers = np.cumprod(powers)  # modulo 2^64, as all arithmetic here
    hashes = np.append(np.uint64(0), np.cumsum(sequence.astype(np.uint64) * powers[:-1]))
    low, high = np.full_like(places, SCANNED + 1), np.minimum(limit, len(sequence) - places)
    # In a text that repeats itself, the last occurrence of a token often matches up to its end, and
    # no other match can be longer.
    last = np.full_like(longest, -1)
    last[which[::-1]] = np.arange(len(places))[::-1]  # of equal indices, the last one is kept
    last = last[last >= 0]
    begin, length = places[last], high[last]
    is_whole = hashes[begin + length] - hashes[begin] == hashes[length] * powers[begin]
    low[last[is_whole]] = length[is_whole]
    while True:
        np.maximum.at(longest, which, low)
        left = high >= longest[which]  # the other places can't have the longest match
        places, which, low, high = (x[left] for x in (places, which, low, high))
        if (low == high).all():
            break
        middle = (low + high + 1) // 2
        is_equal = hashes[places + middle] - hashes[places] == hashes[middle] * powers[places]
        low, high = np.where(is_equal, middle, low), np.where(is_equal, high, middle - 1)
    at[which] = places
    return longest, at


def z_function(sequence: Sequence[int]) -> list[int]:
    """Return the length of the match between the suffix at each place and the sequence.

    At the first place it is 0.

    Source: Gusfield 1997, Algorithms on strings, trees and sequences, section 1.4.
    """
    z = [0] * len(sequence)
    left = right = 0  # sequence[left:right] is the match that ends last so far
    for i in range(1, len(sequence)):
        # Inside that match the text repeats its beginning, so the tokens were compared before.
        same = min(z[i - left], right - i) if i < right else 0
        while i + same < len(sequence) and sequence[same] == sequence[i + same]:
            same += 1
        z[i] = same
        if i + same > right:
            left, right = i, i + same
    return z


@hookimpl
def corelm_samplers() -> dict[str, type[Sampler]]:
    return {"dry": Dry}
