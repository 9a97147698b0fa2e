"""Schedule: from one sampler to another, over a number of drawn tokens."""

from __future__ import annotations

import numpy as np
import pytest
from corelm_samplers.schedule import Mixture, Schedule

from corelm import (
    Context,
    generate,
    sampler,
    sampling_distribution,
    softmax,
)
from corelm.testing import ToyModel

COOLING = Schedule("temperature(t=2)", "temperature(t=1)", over=4)
LOGITS = np.log([[0.5, 0.3, 0.2]])


def at(step):
    return Context.of(np.zeros((1, step + 2), dtype=np.int64), prompt_length=2)


def acting(schedule, step):
    return str(schedule.choose(at(step))[0])


@pytest.mark.parametrize(
    ("shape", "temperatures"),
    [
        ("linear", [2.0, 1.75, 1.5, 1.25, 1.0, 1.0]),
        ("cosine", [2.0, 1.853553, 1.5, 1.146447, 1.0, 1.0]),
        ("step", [2.0, 2.0, 2.0, 2.0, 1.0, 1.0]),
    ],
)
def test_numbers_go_from_the_first_to_the_last(shape, temperatures):
    schedule = Schedule("temperature(t=2)", "temperature(t=1)", over=4, shape=shape)
    found = [schedule.choose(at(step))[0].t for step in range(6)]
    assert found == pytest.approx(temperatures, abs=1e-6)
    for step, t in enumerate(found):
        assert np.allclose(schedule(LOGITS, at(step)), LOGITS / t)


@pytest.mark.parametrize(
    ("first", "last", "halfway"),
    [
        ("top_k(k=40)", "top_k(k=5)", "top_k(k=22)"),  # 22.5, to the even neighbour
        ("top_p(p=0.8) | temperature(t=1.0)", "top_p(p=1.0) | temperature(t=0.5)",
         "top_p(p=0.9) | temperature(t=0.75)"),
        ("phase(start=1, inside=min_p(p=0.1))", "phase(start=1, inside=min_p(p=0.3))",
         "phase(start=1, end='</think>', inside=min_p(p=0.2), outside=stochastic)"),
        ("greedy", "greedy", "greedy"),
        ("xtc(probability=0.5, special=(1,))", "xtc(special=(1,))",
         "xtc(probability=0.25, threshold=0.1, special=(1,))"),
    ],
)  # fmt: skip
def test_samplers_that_differ_in_numbers_only(first, last, halfway):
    assert acting(Schedule(first, last, over=2), 1) == halfway


@pytest.mark.parametrize(
    ("first", "last"),
    [
        ("greedy", "stochastic"),
        ("temperature(t=0.5)", "temperature(t=0.5) | greedy"),
        ("ban(words=[1])", "ban(words=[2])"),
        ("mirostat(tau=inf)", "mirostat(tau=5)"),
        ("top_k(k=1) | min_p(p=0.1)", "min_p(p=0.1) | top_k(k=1)"),
        ("phase(start=1, end=2, inside=greedy)", "phase(start=1, end=2)"),
        ("repetition_penalty(skip_prompt=True)", "repetition_penalty"),
    ],
)
def test_the_distributions_of_others_are_mixed(first, last):
    schedule = Schedule(first, last, over=4)
    assert schedule.choose(at(1)) == [Mixture(sampler(first), sampler(last), 0.25)]
    mixed = 0.75 * softmax(sampler(first)(LOGITS, at(1))) + 0.25 * softmax(
        sampler(last)(LOGITS, at(1))
    )
    assert np.allclose(softmax(schedule(LOGITS, at(1))), mixed)
    assert [acting(schedule, step) for step in (0, 4)] == [str(sampler(first)), str(sampler(last))]


def test_neutral_stages_are_skipped_in_a_mixture_too():
    schedule = Schedule("dry(sequence_breakers=['two words'])", "greedy", over=4)
    assert generate(ToyModel(), "the", sampler=schedule, length=3)[0].tokens


def test_a_mixture_by_hand():
    mixture = Schedule("greedy", "temperature(t=1)", over=4)(LOGITS, at(1))
    assert np.allclose(np.exp(mixture), [[0.875, 0.075, 0.05]])


def test_tokens_of_the_prompt_do_not_count():
    assert sampling_distribution(COOLING, LOGITS[0], tokens=[1] * 9).tolist() == pytest.approx(
        softmax(LOGITS[0] / 2).tolist()
    )


@pytest.mark.slow
def test_the_draws_follow_the_schedule():
    """The share of heads goes from 1 to 1/2 over ten draws."""
    coin = ToyModel(["heads", "tails"], logits=[0, 0, 0.5, 0.5], end=False)
    schedule = Schedule("greedy", "stochastic", over=10)
    texts = generate(coin, "heads", sampler=schedule, length=12, n=2000, seed=2)
    heads = np.mean([[token == 2 for token in text.tokens] for text in texts], axis=0)
    expected = 1 - 0.5 * np.minimum(np.arange(12) / 10, 1)
    assert heads[0] == 1
    assert np.abs(heads - expected).max() < 4 * np.sqrt(0.25 / 2000)
