"""Whole filters: the kernels keep what the definitions in NumPy keep."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from corelm import native
from corelm.numerics.filters import logit_std, top_p, typical, within_nats

INF = float("inf")
pytestmark = pytest.mark.skipif(native.kernels is None, reason="no kernels on this machine")

ROWS = st.lists(
    st.floats(-30, 30, width=32) | st.sampled_from([0.0, 0.0, 1.0, -INF, -INF, 1e30, -1e30]),
    min_size=1,
    max_size=12,
).filter(lambda row: max(row) > -INF)


def both(work):
    """Return the result of the kernel and that of the definition."""
    quick = work()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "kernels", None)
        return quick, work()


def languagelike(batch, vocabulary, seed):
    """Logits that fall as the logarithm of the rank, in any order, some impossible."""
    rng = np.random.default_rng(seed)
    ranks = np.stack([rng.permutation(vocabulary) for _ in range(batch)]) + 1
    logits = rng.normal(0, 0.3, ranks.shape) - 1.4 * np.log(ranks)
    logits[:, :2] = -INF
    return logits.astype(np.float32)


@given(ROWS, st.sampled_from([0.0, 0.5, 3.0, 1e9, INF, -1.0]), st.integers(1, 40))
@example([1.0, 1.0, -INF], -1.0, 1)
def test_within(row, nats, times):
    logits = np.tile(np.array([row], np.float32), times)
    quick, plain = both(lambda: within_nats(logits, nats))
    assert np.array_equal(quick, plain)


def test_within_a_number_for_each_row():
    logits = languagelike(5, 1000, 0)
    nats = np.array([0.0, 1.0, -1.0, 5.0, 2.0])
    several, plain = both(lambda: within_nats(logits, nats))
    assert np.array_equal(several, plain)


@given(ROWS, st.integers(1, 40))
@example([1.0, -INF], 1)
def test_deviations(row, times):
    logits = np.tile(np.array([row], np.float32), times)
    quick, plain = both(lambda: logit_std(logits))
    assert quick == pytest.approx(plain, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("filter_", [top_p, typical])
@given(row=ROWS, share=st.sampled_from([1e-9, 0.1, 0.5, 0.9, 0.999]), times=st.integers(1, 40))
@example(row=[3e38, -3e38, 0.0], share=0.5, times=1)
def test_a_share_of_any_row(filter_, row, share, times):
    """Where a sum meets the share to the last bits, the exponentials decide: one token, at most."""
    logits = np.tile(np.array([row], np.float32), times)
    quick, plain = both(lambda: filter_(logits, share))
    assert abs(int((quick > -INF).sum()) - int((plain > -INF).sum())) <= 1
    assert ((quick == logits) | (quick == -INF)).all()


@pytest.mark.parametrize("share", [0.05, 0.3, 0.7, 0.95])
def test_typical_of_a_large_vocabulary(share):
    logits = languagelike(6, 15_000, 1)
    quick, plain = both(lambda: typical(logits, share))
    assert np.array_equal(quick, plain)


def test_a_row_is_filtered_alone_as_in_a_batch():
    logits = languagelike(9, 3000, 2)
    whole = typical(logits, 0.9)
    assert all(np.array_equal(typical(logits[i : i + 1], 0.9)[0], whole[i]) for i in range(9))
