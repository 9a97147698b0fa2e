"""The benchmark, on a clock that advances by one second at each reading."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import corelm_bench as bench
import numpy as np
import pytest
from corelm_bench import Products, measure
from corelm_train.settings import PRESETS
from small_models import SMALL, numbered_words, random_weights, small_model

import corelm
from corelm import machine as this_machine
from corelm import native
from corelm.models.networks.layers import Matrix, bare_products
from corelm.models.numpy_model import NumpyModel
from corelm.testing import ToyModel

GREEDY = corelm.sampler("greedy")


@pytest.fixture
def ticks(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Return a clock that advances by one second at each reading."""
    clock = count()
    monkeypatch.setattr(bench, "perf_counter", lambda: float(next(clock)))
    return clock


def test_a_step_is_one_of_texts_as_they_are_written(ticks):
    """The clock is read before and after 4 steps: 1 s. Then around each part, a third of a step."""
    speed = measure(small_model(SMALL["rnn"]), "w1", GREEDY, batch=4, length=5, seconds=0)
    assert (speed.batch, speed.rounds) == (4, 1)
    assert (speed.step, speed.sampler, speed.draw) == (1 / 4, 1 / 12, 1 / 12)
    assert speed.tokens_per_second == 4 * 4
    assert speed.products == 1
    assert speed.limit == 4
    assert speed.share_of_limit == 4


def test_no_clock_is_in_the_sampler_while_texts_are_written(ticks):
    """With one, the kernels could not draw several tokens in one call."""
    seen = []

    class Noted(corelm.Sampler):
        def __call__(self, logits, context):
            seen.append(next(ticks))
            return logits

    measure(ToyModel(), "the", Noted(), batch=1, length=4, seconds=0)
    apart = np.diff(seen).tolist()
    # 4 tokens, with a reading after the first; then 4 with readings around the sampler.
    assert apart[:7] == [2, 1, 1, 3, 5, 4, 4]


def test_it_runs_until_the_time_is_up(ticks):
    """A round of 2 steps reads the clock 12 times, then the loop twice: 14 s of 70."""
    calls = []
    speed = measure(
        ToyModel(), "the", GREEDY, batch=1, length=3, seconds=70,
        progress=lambda percent, whole: calls.append((percent, whole)),
    )  # fmt: skip
    assert speed.rounds == len(calls) - 2
    assert calls[0] == (0, 100)
    assert [whole for _, whole in calls] == [100] * len(calls)
    percents = [percent for percent, _ in calls]
    assert percents == sorted(percents)
    assert percents[-2] < 100
    assert percents[-1] == 100


def test_texts_that_end_are_not_counted_on(ticks):
    """Some of 8 texts end early; then only the tokens of the others count."""
    texts = corelm.generate(ToyModel(), "the", sampler="uniform", length=9, n=8, seed=0)
    lengths = [len(text.tokens) for text in texts]
    assert 1 <= min(lengths) < max(lengths)
    speed = measure(ToyModel(), "the", corelm.sampler("uniform"), batch=8, length=9, seconds=0)
    assert speed.tokens_per_second == sum(lengths) - 8


def test_the_limit_of_another_model_can_be_had_from_its_matrices(ticks):
    model = ToyModel()
    model.products = lambda batch: bare_products([Matrix(3, 5)], batch)
    speed = measure(model, "the", GREEDY, batch=2, seconds=0)
    assert speed.limit == 2


# The matrices of a step


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "weights"),
    [
        # Two attentions of 2 heads, each as wide as the embedding, with 2 matrices; dense twice.
        ("book", 2 * 2 * 256 * 512 + 2 * 256 * 2048 + 256 * 15_000),
        ("default", 3 * (4 * 256 * 256 + 2 * 256 * 1024) + 256 * 15_000),
        ("rnn", 3 * (256 * 512 + 512 * 512) + 512 * 15_000),
    ],
)
def test_the_number_of_weights_that_a_step_multiplies_with(preset, weights):
    a = PRESETS[preset].architecture
    model = NumpyModel(a, numbered_words(a.vocabulary_size), random_weights(a))
    assert sum(inputs * units for inputs, units, _ in model.matrices) == weights


def test_every_product_is_of_the_whole_batch():
    products = Products(bare_products([Matrix(3, 5), Matrix(5, 2)], batch=4))
    for way in products._ways:
        outs = [call.keywords["out"] if call.keywords else call.args[-1] for call in way]
        for out in outs:
            out[:] = 0
        assert products.seconds_in_numpy(1) > 0
        assert products.seconds(1) > 0
        assert [out.shape for out in outs] == [(1, 4, 5), (1, 4, 2)]
        assert outs[0] == pytest.approx(3 / 6)
        assert outs[1] == pytest.approx(5 / 6)


@pytest.mark.skipif(native.kernels is None, reason="the kernels are not compiled here")
@pytest.mark.parametrize("halves", [False, True])
def test_the_limit_has_the_precision_of_the_weights(halves):
    _, in_kernels = bare_products([Matrix(3, 5, halves)], batch=4)
    assert [call.func.halves for call in in_kernels] == [halves]


def test_the_machine_is_described():
    machine = this_machine.facts()
    versions = {"python", "numpy", "platform", "processor", "cores"}
    assert set(machine) == versions | {"kernels", "vector_width"}
    assert all(machine[key] for key in versions)
    assert machine["vector_width"] in ((8, 16) if machine["kernels"] else (None,))
