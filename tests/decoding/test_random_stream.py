"""The random numbers of a sample depend on the seed and its index alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from compiled_kernels import kernels, needs_kernels
from programs import python

import corelm
from corelm import RandomStream
from corelm.decoding.draws import BLOCK
from corelm.errors import UsageError
from corelm.testing import ToyModel


def test_positions_may_be_asked_for_in_any_order_and_twice():
    forwards, backwards = RandomStream(5, range(3)), RandomStream(5, range(3))
    positions = [0, 10, 63, 64, 65, 200]
    seen = {position: forwards.at(position).tolist() for position in positions}
    for position in reversed(positions):
        assert backwards.at(position).tolist() == seen[position]
        assert backwards.at(position).tolist() == seen[position]


def test_the_numbers_are_these():
    # Written down once: a new release of NumPy or of corelm must not change any text.
    assert RandomStream(0, [0, 1]).at(0).tolist() == [0.6369616873214543, 0.8897387912781343]
    assert RandomStream(1, [0]).at(100).tolist() == [np.random.default_rng([1, 0]).random(101)[100]]


def test_seeds_samples_and_positions_all_make_a_difference():
    numbers = {RandomStream(s, [i]).at(p)[0] for s in range(5) for i in range(5) for p in range(5)}
    assert len(numbers) == 125


def test_the_numbers_of_some_samples():
    stream = RandomStream(1, [4, 7, 9])
    assert stream.at(3, [9, 4, 9]).tolist() == stream.at(3)[[2, 0, 2]].tolist()
    assert stream.at(3, np.array([7])).tolist() == RandomStream(1, [7]).at(3).tolist()


def test_the_numbers_are_uniform():
    scipy_stats = pytest.importorskip("scipy.stats", reason="pip install scipy")
    stream = RandomStream(3, range(200))
    numbers = np.concatenate([stream.at(position) for position in range(100)])
    assert scipy_stats.kstest(numbers, "uniform").pvalue > 1e-6
    assert numbers.min() >= 0
    assert numbers.max() < 1


@pytest.mark.parametrize("seed", [0, 1, 2**32, 2**63, 2**200, np.int64(3), np.uint64(2**63)])
def test_any_whole_number_from_zero_is_a_seed(seed):
    stream = RandomStream(seed, [0])
    assert 0 <= stream.at(0)[0] < 1
    assert stream.seed == int(seed)


@pytest.mark.parametrize("seed", [-1, 1.0, "1", None, True, np.int64(-5)])
def test_anything_else_is_refused(seed):
    with pytest.raises(UsageError, match="the seed must be a whole number of at least 0, not "):
        RandomStream(seed, [0])


def test_no_samples_need_no_numbers():
    stream = RandomStream(1, [])
    assert len(stream) == 0
    assert stream.at(0).shape == (0,)


def test_fresh_seeds_differ_and_are_short():
    seeds = {RandomStream.fresh_seed() for _ in range(20)}
    assert len(seeds) == 20
    assert all(0 <= seed < 2**32 for seed in seeds)


def test_large_seeds_have_numbers_of_their_own():
    """As words without lengths, seed 2**32 + 1 and sample 0 would be seed 1 and sample 1."""
    words = (0, 1, 2, 2**32 - 1)
    seeds = [low + high * 2**32 for low in words for high in (*words, 2**32 + 1)]
    designs = [(seed, s, p) for seed in seeds for s in (0, 1, 2, 2**32) for p in (0, 1, 2**32)]
    numbers = {RandomStream(seed, [s], p).at(0)[0] for seed, s, p in designs}
    assert len(numbers) == len(set(designs))


def test_other_samples_of_a_stream_keep_its_seed_and_prompt():
    stream = RandomStream(1, [4], prompt=2).with_samples([7, 9])
    assert (stream.seed, stream.prompt, stream.samples) == (1, 2, (7, 9))
    assert stream.at(3).tolist() == RandomStream(1, [7, 9], 2).at(3).tolist()


@pytest.mark.parametrize("prompt", [-1, 0.5, True, None])
def test_a_prompt_is_a_whole_number(prompt):
    with pytest.raises(UsageError, match="prompt must be a whole number"):
        RandomStream(1, [0], prompt)


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1, 2**32, 2**64 - 1, 2**64, 2**80])
@pytest.mark.parametrize("prompt", [0, 1, 2**33])
def test_the_numbers_are_those_of_numpys_generator(seed, prompt):
    samples = (0, 3, 63, 2**31, 2**33 + 1)
    stream = RandomStream(seed, samples, prompt)
    low, high = seed % 2**32, [seed >> 32 & 2**32 - 1, seed >> 64]
    key = (prompt % 2**32, prompt >> 32, *high[: 1 + (seed >= 2**64)]) if seed >= 2**32 else ()
    key = key or ((prompt,) if prompt else ())
    sequences = [np.random.SeedSequence([low, sample], spawn_key=key) for sample in samples]
    expected = np.array([np.random.default_rng(each).random(2 * BLOCK) for each in sequences])
    assert np.array_equal(
        np.transpose([stream.at(position) for position in range(2 * BLOCK)]), expected
    )


def test_a_text_needs_no_import_of_numpys_generators():
    code = """
import corelm, sys

corelm.RandomStream(1, [0]).at(0)
print("numpy.random" in sys.modules)
"""
    shown = python("-c", code, check=True)
    assert shown.stdout.strip() == str(kernels is None)


@needs_kernels
def test_the_kernels_refuse_other_arrays_of_streams():
    streams = np.zeros((2, 4), dtype=np.int64)
    with pytest.raises(ValueError, match="streams: axis 1 has length 3, expected 4"):
        kernels.next_uniforms(streams[:, :3].copy(), np.empty((2, 5)))
    with pytest.raises(ValueError, match="out: axis 0 has length 3, expected 2"):
        kernels.next_uniforms(streams, np.empty((3, 5)))
    with pytest.raises(ValueError, match="streams: axis 0 has length 2, expected 3"):
        kernels.start_streams(1, 0, np.arange(3), streams)
    with pytest.raises(OverflowError):
        kernels.start_streams(-1, 0, np.arange(2), streams)


class Halves(RandomStream):
    """One half everywhere, as a decoder with numbers of its own may want."""

    def at(self, position, samples=None):
        return np.full(len(self.samples if samples is None else samples), 0.5)


@pytest.mark.packages
def test_a_stream_of_ones_own_decides_every_draw():
    class Middle(corelm.Decoder):
        """Draw with the number one half."""

        def __call__(self, task):
            stream = Halves(task.random_stream.seed, task.random_stream.samples)
            yield from corelm.Ancestral()(replace(task, random_stream=stream))

    texts = corelm.generate(
        ToyModel(), "the", decoder=Middle(), sampler="stochastic", length=5, n=3, seed=1
    )
    assert len({text.text for text in texts}) == 1
