"""Penalise what would go on with a repetition, the more the longer it is."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from corelm import (
    Array,
    Context,
    Sampler,
    change_logits,
    hookimpl,
    param,
    past_tokens,
    token_id,
)


class Dry(Sampler):
    """Don't repeat yourself: lower a token the more, the longer the repetition it would go on with.

    Where the last n tokens of the context occurred before, followed by t, and n is at least
    allowed_length, the logit of t falls by multiplier * base^(n - allowed_length); n is the longest
    for t. A sequence breaker ends what is compared: n counts only tokens after the last one, and a
    breaker itself is never lowered. The matches are found by the Z-function of the context read
    backwards, in time linear in its length.

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
    reads = frozenset({"tokens", "vocabulary"})

    multiplier: float = param(0.0, "the least penalty; 0 is off", ge=0, lt=math.inf)
    base: float = param(1.75, "by what each further token multiplies it", ge=1, lt=math.inf)
    allowed_length: int = param(2, "repetitions shorter than this are free", ge=1)
    sequence_breakers: tuple[int | str, ...] = param((), "words or ids that end a repetition")
    last: int = param(0, "how many of the last tokens count; 0 is all", ge=0)
    skip_prompt: bool = param(False, "whether only drawn tokens count")

    def __call__(self, logits: Array, context: Context) -> Array:
        size = logits.shape[-1]
        breakers = {token_id(b, context.vocabulary, size) for b in self.sequence_breakers}
        tokens = past_tokens(context, self.last, self.skip_prompt)
        found = [
            (row, token, n)
            for row, past in enumerate(tokens.tolist())
            for token, n in repetitions(past, breakers).items()
            if n >= self.allowed_length and 0 <= token < size
        ]
        if not found:
            return logits
        rows, ids, lengths = np.array(found).T
        return change_logits(logits, rows, ids, lambda logit: logit - self._penalty(lengths))

    def _penalty(self, lengths: Array) -> Array:
        return self.multiplier * self.base ** (lengths - self.allowed_length).astype(np.float64)


def repetitions(tokens: Sequence[int], breakers: Collection[int]) -> dict[int, int]:
    """The tokens that would go on with a repetition, each with its longest length so far."""
    backwards = tokens[::-1]
    limit = next((i for i, token in enumerate(backwards) if token in breakers), len(tokens))
    longest: dict[int, int] = {}
    for i, same in enumerate(z_function(backwards)):
        follower, n = backwards[i - 1], min(same, limit)
        if i > 0 and n > longest.get(follower, 0) and follower not in breakers:
            longest[follower] = n
    return longest


def z_function(sequence: Sequence[int]) -> list[int]:
    """For each place, how long what begins there equals the beginning; 0 for the first place.

    Source: Gusfield 1997, Algorithms on strings, trees and sequences, section 1.4.
    """
    z = [0] * len(sequence)
    left = right = 0  # the match seen so far that ends last is sequence[left:right]
    for i in range(1, len(sequence)):
        same = min(z[i - left], right - i) if i < right else 0
        while i + same < len(sequence) and sequence[same] == sequence[i + same]:
            same += 1
        z[i] = same
        if i + same > right:
            left, right = i, i + same
    return z


@hookimpl
def corelm_samplers() -> Mapping[str, type[Sampler]]:
    return {"dry": Dry}
