"""Where all randomness comes from: one uniform number per (seed, sample, position)."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from corelm.errors import UsageError

AHEAD = 64
"""Numbers drawn at a time from each sample's generator."""


class RandomStream:
    """The uniform numbers of some samples of a run, by position.

    Each sample has a generator of its own, seeded by (seed, sample index) alone. So sample 7
    meets the same luck alone, in a batch, or on another worker, and under every sampler.

    Args:
        seed: a whole number, at least 0.
        samples: the indices of the samples, one per row.

    Example:
        >>> alone, together = RandomStream(1, [7]), RandomStream(1, range(64))
        >>> bool(alone.at(0)[0] == together.at(0)[7])
        True
    """

    def __init__(self, seed: int, samples: Sequence[int]) -> None:
        if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
            raise UsageError(f"the seed must be a whole number, at least 0, not {seed!r}")
        self.seed = int(seed)
        self.samples = tuple(samples)
        self._generators = [np.random.default_rng([self.seed, index]) for index in self.samples]
        self._numbers = np.empty((len(self.samples), 0))

    def __len__(self) -> int:
        return len(self.samples)

    def at(self, position: int) -> NDArray[np.float64]:
        """(samples,) numbers in [0, 1) for the token at this position, 0 being the first drawn."""
        while position >= self._numbers.shape[1]:
            more = np.array([g.random(AHEAD) for g in self._generators]).reshape(len(self), AHEAD)
            self._numbers = np.concatenate([self._numbers, more], axis=1)
        return self._numbers[:, position]


def fresh_seed() -> int:
    """A seed that nobody chose, short enough to be typed again."""
    return secrets.randbelow(2**32)
