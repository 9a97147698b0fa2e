"""The source of all randomness: one uniform number per (seed, prompt, sample, position)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from corelm.errors import UsageError

BLOCK = 64
"""Numbers taken at a time from each sample's generator: a call for each token would be slow."""


class RandomStream:
    """Uniform numbers for the samples of a run, by position.

    Each sample has its own generator, seeded by (seed, prompt index, sample index) alone. So
    sample 7 gets the same numbers alone, in a batch or on another worker, and under every sampler:
    samplers that are compared with one seed use common random numbers. Texts of different prompts
    have different numbers, so they are independent.

    Args:
        seed: a whole number, at least 0.
        samples: the indices of the samples, one per row.
        prompt: the index of their prompt in a run of several prompts, at least 0.

    Raises:
        UsageError: the seed or the prompt is not a whole number of at least 0.

    Example:
        >>> alone, together = RandomStream(1, [7]), RandomStream(1, range(64))
        >>> bool(alone.at(0)[0] == together.at(0)[7])
        True
    """

    def __init__(self, seed: int, samples: Sequence[int], prompt: int = 0) -> None:
        self.seed: int = _whole("seed", seed)
        self.prompt: int = _whole("prompt", prompt)
        self.samples: tuple[int, ...] = tuple(samples)
        self._generators = [self._generator(index) for index in self.samples]
        self._places = {sample: place for place, sample in enumerate(self.samples)}
        self._uniforms = np.empty((len(self.samples), 0))
        self._known: tuple[NDArray[np.int64] | None, NDArray[np.intp]] = None, np.empty(0, np.intp)

    def __len__(self) -> int:
        return len(self.samples)

    @staticmethod
    def fresh_seed() -> int:
        """Return a random seed that is short enough to type again."""
        import secrets  # imported late: it loads hashing, which a run with a seed doesn't need

        return secrets.randbelow(2**32)

    def with_samples(self, samples: Sequence[int]) -> RandomStream:
        """Return the numbers of other samples of the same seed and prompt."""
        return RandomStream(self.seed, samples, self.prompt)

    def _generator(self, sample: int) -> np.random.Generator:
        # The pair is the seed: with the sum, sample 1 of seed 1 would repeat sample 0 of seed 2.
        # The prompt is a key of its own, because a seed above 2^32 takes two words of the entropy.
        key = (self.prompt,) if self.prompt else ()
        return np.random.default_rng(np.random.SeedSequence([self.seed, sample], spawn_key=key))

    def at(
        self, position: int, samples: NDArray[np.int64] | Sequence[int] | None = None
    ) -> NDArray[np.float64]:
        """Return (samples,) numbers in [0, 1) for a position.

        Args:
            position: 0 for the first token drawn.
            samples: the samples of the stream to return numbers for; all by default.
        """
        self._reach(position)
        uniforms = self._uniforms[:, position]
        if samples is None:
            return uniforms.copy()  # a view would let the caller change later answers
        return uniforms[self._places_of(samples)]

    def following(self, position: int, samples: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return (samples, positions) numbers for a position and some after it.

        A loop over many streams takes its numbers from these arrays: to ask each stream for each
        position takes as long as to draw the tokens.

        Args:
            position: 0 for the first token drawn.
            samples: the samples of the stream to return numbers for.
        """
        self._reach(position)
        return self._uniforms[self._places_of(samples), position:]

    def _reach(self, position: int) -> None:
        """Draw numbers up to a position."""
        # Whole blocks in order, so that a number does not depend on the positions asked for before.
        while position >= self._uniforms.shape[1]:
            blocks = [generator.random(BLOCK) for generator in self._generators]
            more = np.array(blocks).reshape(len(self), BLOCK)
            self._uniforms = np.concatenate([self._uniforms, more], axis=1)

    def _places_of(self, samples: NDArray[np.int64] | Sequence[int]) -> NDArray[np.intp]:
        # A decoder asks for the same samples at most steps.
        known, places = self._known
        if samples is known:
            return places
        # Python's integers: numbers read one by one out of an array are slow to look up.
        wanted = samples.tolist() if isinstance(samples, np.ndarray) else samples
        places = np.array([self._places[sample] for sample in wanted], dtype=np.intp)
        if isinstance(samples, np.ndarray) and not samples.flags.writeable:
            self._known = samples, places
        return places


def _whole(name: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 0:
        raise UsageError(f"the {name} must be a whole number of at least 0, not {value!r}")
    return int(value)
