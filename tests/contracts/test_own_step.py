"""A step for an observer has arrays of its own, made when they are read."""

import copy
import pickle

import numpy as np
import pytest

import corelm
from corelm.contracts.step import COLUMNS, OwnStep
from corelm.testing import ToyModel


def first_step(sampler):
    return next(iter(corelm.stream(ToyModel(), "the", sampler=sampler, length=1, seed=1)))


@pytest.mark.parametrize("sampler", ["stochastic", "top_k(k=3)", "min_length(n=3)"])
def test_it_equals_the_step_and_shares_no_memory_with_it(sampler):
    step = first_step(sampler)
    own = OwnStep(step)
    for name in COLUMNS:
        mine, other = getattr(own, name), getattr(step, name)
        assert (mine is None) == (other is None)
        if mine is not None:
            assert np.array_equal(mine, other, equal_nan=True)
            assert not np.shares_memory(mine, other)
            assert not mine.flags.writeable
    assert (own.logits is own.model_logits) == (step.logits is step.model_logits)
    assert own.entropy == step.entropy
    assert (own.position, own.text, own.finish_reason) == (0, step.text, step.finish_reason)


def test_an_array_that_nobody_reads_is_not_copied():
    step = first_step("top_k(k=3)")
    own = OwnStep(step)
    assert own.tokens is own.tokens
    assert "logits" not in vars(own)


def test_it_has_no_other_attributes_and_can_be_copied():
    own = OwnStep(first_step("greedy"))
    with pytest.raises(AttributeError, match="nothing"):
        _ = own.nothing
    for other in (copy.copy(own), pickle.loads(pickle.dumps(own))):
        assert other.tokens.tolist() == own.tokens.tolist()
    assert own.with_text("a").text == "a"
