"""Stochastic: the model's own distribution, unchanged."""

from __future__ import annotations

import numpy as np
import pytest
from corelm_samplers.stochastic import Stochastic

from corelm import Context, sampling_distribution
from corelm.testing import obeys_the_laws


@obeys_the_laws(Stochastic())
def test_law(sampler, law):
    law(sampler)


def test_it_is_the_softmax_of_the_logits():
    p = sampling_distribution(Stochastic(), np.log([0.1, 0.2, 0.7]))
    assert p.tolist() == pytest.approx([0.1, 0.2, 0.7], rel=1e-14)


def test_the_logits_come_back_as_they_were():
    logits = np.array([[0.1, float("-inf"), 1e30]], dtype=np.float32)
    assert np.array_equal(Stochastic()(logits, Context.of([[0]])), logits)
