"""The source of all randomness: one uniform number per (seed, sample, position)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from corelm.errors import UsageError

BLOCK = 64
"""Numbers taken at a time from each sample's generator: a call for each token would be slow."""


class RandomStream:
    """Uniform numbers for the samples of a run, by position.

    Each sample has its own generator, seeded by (seed, sample index) alone. So sample 7 gets the
    same numbers alone, in a batch or on another worker, and under every sampler: samplers that are
    compared with one seed use common random numbers.

    Args:
        seed: a whole number, at least 0.
        samples: the indices of the samples, one per row.

    Raises:
        UsageError: the seed is not a whole number of at least 0.

    Example:
        >>> alone, together = RandomStream(1, [7]), RandomStream(1, range(64))
        >>> bool(alone.at(0)[0] == together.at(0)[7])
        True
    """

    def __init__(self, seed: int, samples: Sequence[int]) -> None:
        if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
            raise UsageError(f"the seed must be a whole number of at least 0, not {seed!r}")
        self.seed: int = int(seed)
        self.samples: tuple[int, ...] = tuple(samples)
        # The pair is the seed: with the sum, sample 1 of seed 1 would repeat sample 0 of seed 2.
        self._generators = [np.random.default_rng([self.seed, index]) for index in self.samples]
        self._places = {sample: place for place, sample in enumerate(self.samples)}
        self._uniforms = np.empty((len(self.samples), 0))

    def __len__(self) -> int:
        return len(self.samples)

    def at(
        self, position: int, samples: NDArray[np.int64] | Sequence[int] | None = None
    ) -> NDArray[np.float64]:
        """Return (samples,) numbers in [0, 1) for a position.

        Args:
            position: 0 for the first token drawn.
            samples: the samples of the stream to return numbers for; all by default.
        """
        # Whole blocks in order, so that a number does not depend on the positions asked for before.
        while position >= self._uniforms.shape[1]:
            blocks = [generator.random(BLOCK) for generator in self._generators]
            more = np.array(blocks).reshape(len(self), BLOCK)
            self._uniforms = np.concatenate([self._uniforms, more], axis=1)
        uniforms = self._uniforms[:, position]
        if samples is None:
            return uniforms
        return uniforms[[self._places[int(sample)] for sample in samples]]


def fresh_seed() -> int:
    """Return a random seed that is short enough to type again."""
    import secrets  # late: it imports hashing, which a run with a seed does without

    return secrets.randbelow(2**32)
