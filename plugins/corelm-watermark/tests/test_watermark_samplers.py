"""green_list and synthid: the definitions, literal values, and the laws."""

from __future__ import annotations

import itertools
import pickle

import numpy as np
import pytest
from corelm_watermark import GreenList, SynthID
from corelm_watermark.synthid import tournament

import corelm
from corelm import Context, ParameterError
from corelm.testing import obeys_the_laws

EIGHT = (654, 400, 836, 123, 340, 443, 597, 160)


@obeys_the_laws(
    GreenList(key="a"),
    GreenList(key="a", gamma=0.5, delta=100, context=4),
    SynthID(keys=["a"]),
    SynthID(keys=EIGHT, depth=1, context=1, history=0),
)
def test_law(sampler, law):
    law(sampler)


# The green list


@pytest.mark.parametrize(
    ("sampler", "past", "green"),
    [
        (GreenList(key="an example", gamma=0.5), [7], [0, 2, 3, 5, 10, 12, 13, 16, 18, 19]),
        (GreenList(key="an example", gamma=0.5), [3, 7], [0, 2, 3, 5, 10, 12, 13, 16, 18, 19]),
        (GreenList(key="an example", context=2), [7, 3], [5, 6, 8, 9, 10, 14, 18]),
        (GreenList(key="an example", context=2), [1, 7, 3], [5, 6, 8, 9, 10, 14, 18]),
        (GreenList(key="an example", context=2), [3], []),
    ],
)
def test_the_logits_of_green_tokens_rise_by_delta(sampler, past, green):
    logits = np.linspace(-1, 1, 20, dtype=np.float32)[None]
    changed = sampler(logits, Context.of([past])) - logits
    assert np.flatnonzero(changed).tolist() == green
    assert changed[0, green] == pytest.approx(2.0, abs=1e-6)


def test_the_green_share_is_gamma():
    """Over 200 contexts of 500 tokens, within four deviations of 100,000 coins."""
    green = GreenList(key="a", gamma=0.25).green(np.arange(200)[:, None], np.arange(500)[None], 500)
    assert green.mean() == pytest.approx(0.25, abs=4 * (0.25 * 0.75 / 100_000) ** 0.5)


def test_padding_before_a_prompt_is_not_a_context():
    logits = np.zeros((2, 20))
    changed = GreenList(key="a", context=2)(logits, Context.of([[-1, 4], [5, 4]]))
    assert not changed[0].any()
    assert changed[1].any()


# SynthID


def test_the_bits_of_a_token():
    """Worked out from the hash: ids and keys enter a linear congruential generator in turn."""
    sampler = SynthID(keys=EIGHT[:3], context=2)
    assert sampler.marks(np.array([[5, 9, t] for t in range(6)]), 6).astype(int).tolist() == [
        [0, 1, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 1, 1], [1, 1, 0],
    ]  # fmt: skip


def test_the_distribution_is_that_of_a_tournament():
    """Every way in which four draws meet in two layers, on a vocabulary of three."""
    p, bits = np.array([0.5, 0.3, 0.2]), np.array([[0, 1], [1, 0], [1, 1]])

    def win(a, b, layer):
        if bits[a, layer] == bits[b, layer]:
            return {a: 0.5, b: 0.5} if a != b else {a: 1.0}
        return {max(a, b, key=lambda t: bits[t, layer]): 1.0}

    expected = np.zeros(3)
    for a, b, c, d in itertools.product(range(3), repeat=4):
        for left, x in win(a, b, 0).items():
            for right, y in win(c, d, 0).items():
                for winner, z in win(left, right, 1).items():
                    expected[winner] += p[[a, b, c, d]].prod() * x * y * z
    sampler = SynthID(keys=EIGHT[:2], context=1)
    # tokens that have these bits after a context of zeros, in the vocabulary of 40
    marks = sampler.marks(np.array([[0, t] for t in range(40)]), 40)
    ids = [np.flatnonzero((marks == row).all(axis=1))[0] for row in bits.astype(bool)]
    logits = np.full(40, -np.inf)
    logits[ids] = np.log(p)
    assert corelm.sampling_distribution(sampler, logits)[ids] == pytest.approx(expected)


def test_layers_in_blocks_equal_one_layer_after_the_other():
    rng = np.random.default_rng(1)
    sampler = SynthID(keys=["a"], depth=30, context=1)
    p = rng.dirichlet(np.full(200, 0.3), size=3)
    expected = p.copy()
    marks = sampler.marks(np.array([[7, t] for t in range(200)]), 200)
    for g in marks.T.astype(float):
        expected *= 1 + g - (expected * g).sum(axis=1, keepdims=True)
    changed = sampler(np.log(p), Context.of([[7]] * 3, prompt_length=0))
    assert np.exp(changed) == pytest.approx(expected, rel=1e-9, abs=1e-15)


def test_a_bit_is_a_fair_coin_in_every_layer():
    marks = SynthID(keys=["a"]).marks(np.random.default_rng(1).integers(0, 9999, (50_000, 5)), 9999)
    assert marks.mean(axis=0) == pytest.approx(0.5, abs=0.01)
    correlation = np.corrcoef(marks.T) - np.eye(30)
    assert np.abs(correlation).max() < 0.03


def test_the_prompt_is_no_context_of_synthid():
    sampler, logits = SynthID(keys=["a"]), np.zeros((1, 50))
    answers = [sampler(logits, Context.of([past])) for past in ([1, 2], [3])]
    assert np.array_equal(*answers)


@pytest.mark.parametrize(
    ("drawn", "history", "marked"),
    [
        ([5, 6, 7], 1024, True),
        ([5, 6, 7, 5, 6], 1024, False),  # (5, 6) came before
        ([5, 6, 7, 5, 6], 2, True),  # and is forgotten
        ([5, 6, 7, 5, 6], 3, False),
        ([0, 0], 1024, False),  # the context of the first token is all zeros
    ],
)
def test_a_context_that_repeats_is_not_marked_again(drawn, history, marked):
    sampler, logits = SynthID(keys=EIGHT, context=2, history=history), np.zeros((1, 50))
    changed = sampler(logits, Context.of([drawn], prompt_length=0))
    assert np.array_equal(changed, logits) != marked


def test_a_token_that_always_loses_cannot_be_drawn():
    """With weights of no mass, the factor of the losers is 0, not a negative number."""
    factors = tournament(np.array([[1.0, 0.0]]), np.array([[0, 1]], np.uint16), EIGHT)
    assert factors[0, 0] == 1
    assert factors.min() >= 0


# Both


@pytest.mark.parametrize("name", ["green_list", "gumbel_max", "synthid"])
def test_a_key_in_the_environment_does_not_appear(name, monkeypatch):
    monkeypatch.setenv("THE_KEY", "hush")
    sampler, logits = corelm.sampler(name, key="env:THE_KEY"), np.zeros((1, 40))
    past = Context.of([[3, 4, 5]], prompt_length=1)
    same = corelm.sampler(name, key="hush")
    assert np.array_equal(sampler(logits, past), same(logits, past))
    assert "hush" not in repr(sampler) + str(sampler)
    assert corelm.sampler(str(sampler)) == sampler
    assert np.array_equal(pickle.loads(pickle.dumps(sampler))(logits, past), same(logits, past))
    monkeypatch.delenv("THE_KEY")
    with pytest.raises(ParameterError, match="'env:THE_KEY': the environment variable is not set"):
        corelm.sampler(name, key="env:THE_KEY")


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("green_list", "key must be a secret text, or env:NAME"),
        ("green_list(key='a', gamma=1)", "gamma must be above 0 and below 1, not 1.0"),
        ("green_list(key='a', scheme='transformers')", "key must be a whole number"),
        ("green_list(key='1', scheme='transformers', context=2)", "context must be 1"),
        ("synthid", "keys must be numbers, or one secret text"),
        ("synthid(keys=['a', 'b'])", "keys must be numbers, or one secret text"),
        ("synthid(keys=[1, 'b'])", "keys must be numbers, or one secret text"),
        ("synthid(keys=[1, 2], depth=3)", "depth must be at most the number of keys, 2, not 3"),
    ],
)
def test_values_that_are_refused(expression, message):
    with pytest.raises(ParameterError, match=message):
        corelm.sampler(expression)


def test_keys_from_a_command_line_are_numbers():
    assert corelm.sampler("synthid", keys="654,400") == SynthID(keys=[654, 400])
    assert SynthID(keys=EIGHT, depth=2)._numbers == (654, 400)


@pytest.mark.parametrize("expression", ["green_list(key='env:WK')", "synthid(keys='env:WK')",
                                        "gumbel_max(key='env:WK')"])  # fmt: skip
def test_no_secret_of_a_variable_is_pickled(monkeypatch, expression):
    monkeypatch.setenv("WK", "31415926535")
    value = corelm.sampler(f"top_k(k=5) | {expression}")
    derived = {name: kept for name, kept in vars(value.stages[1]).items() if name[0] == "_"}
    assert derived
    pickled = pickle.dumps(value)
    assert b"31415926535" not in pickled
    assert not any(name.encode() in pickled for name in derived)
    detection = pickle.loads(pickled)
    assert detection == value
    assert derived.keys() <= vars(detection.stages[1]).keys()
