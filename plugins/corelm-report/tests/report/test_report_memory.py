"""The memory of a report is bounded by a few batches of logits."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

import corelm
from corelm import native
from corelm.generation.generate import BATCH
from corelm.testing import ToyModel

pytestmark = pytest.mark.slow

VOCABULARY = 8_000


def peak_of_a_report(model, **settings):
    """The bytes that a report allocates at most, as tracemalloc counts them."""
    tracemalloc.start()
    corelm.compare(model, **settings)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


@pytest.mark.parametrize("kernels", ["kernels", "definitions"])
def test_a_report_holds_a_few_batches_of_logits_at_once(kernels, monkeypatch):
    """Longer and more texts add nothing: no distribution of an earlier step is kept."""
    if kernels == "definitions":
        monkeypatch.setattr(native, "kernels", None)
    zipf = -1.1 * np.log(np.arange(1, VOCABULARY + 1, dtype=np.float32))
    model = ToyModel([f"w{i}" for i in range(VOCABULARY - 3)], zipf)
    settings = {"prompts": "w1"}
    corelm.compare(model, n=1, length=1, **settings)  # imports and plugins, which stay
    one_batch = BATCH * VOCABULARY * 4
    assert peak_of_a_report(model, n=BATCH, length=2, **settings) < 10 * one_batch
    assert peak_of_a_report(model, n=BATCH + 1, length=8, **settings) < 10 * one_batch
