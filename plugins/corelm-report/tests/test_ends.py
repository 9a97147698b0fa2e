"""Texts that end: human text has no end token, so none counts where the two are compared."""

from __future__ import annotations

import numpy as np
import pytest
from corelm_report.measure.on_contexts import COLDEST, GRID, at_temperatures, curve

import corelm
from corelm import softmax
from corelm.divergences import DIVERGENCES
from corelm.runs import ModelRows
from corelm.testing import ToyModel

END, WORDS, INF = 2, 8, float("inf")
EXPECTED = DIVERGENCES.index("expected_surprisal")
CLOSE = {"rel": 1e-6, "abs": 1e-6}


def chain():
    """A chain of random words; after half of them a text ends 1 time in 3."""
    p = np.full((WORDS + 3, WORDS + 3), 1e-12)
    p[:, 3:] = np.random.default_rng(2).dirichlet(np.ones(WORDS), WORDS + 3)
    p[3::2, 3:] *= 2 / 3
    p[3::2, END] = 1 / 3
    return ToyModel([f"w{i}" for i in range(WORDS)], np.log(p))


@pytest.fixture(scope="module")
def of_the_model():
    """A report on human texts that the model itself has written, with the same random numbers."""
    model, asked = chain(), {"n": 64, "length": 20, "seed": 3}
    texts = corelm.generate(model, "", sampler="stochastic", **asked)
    assert sum(text.finish_reason == "end" for text in texts) > 50
    written = [text.text for text in texts]
    report = corelm.compare(
        model, ["stochastic"], prompts="", reference=written, contexts=64, **asked
    )
    return report.to_dict()


def test_texts_that_are_human_text_have_its_figures(of_the_model):
    found = of_the_model["samplers"][0]["differences"]["generated_texts"]
    values = {name: each["value"] for name, each in found.items()}
    assert {"surprisal", "perplexity", "outside_human_band", "entropy_drift"} <= set(values)
    assert values == pytest.approx(dict.fromkeys(values, 0.0), abs=1e-6)


def test_the_sampler_that_wrote_human_text_expects_its_surprisal(of_the_model):
    [entry] = of_the_model["samplers"]
    low, high = entry["differences"]["teacher_forced"]["expected_surprisal"]["ci95"]
    assert low < 0 < high
    fit = of_the_model["reference"]["temperature"]
    low, high = fit["t_ci95"]
    assert low < 1 < high


# The definition


def by_hand(q, p, ends):
    """The expected surprisal of one row, from probabilities."""
    others = np.delete(np.arange(len(p)), ends)
    mass = q[others].sum()
    nats = -np.log(np.where(p > 0, p, 1))
    return (q[others] * nats[others]).sum() / mass if mass else np.nan


@pytest.mark.parametrize("ends", [[1], [0, 3]])
def test_expected_surprisal_is_of_tokens_that_are_no_end(ends):
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 2, (6, 5)).astype(np.float32)
    kept = logits.copy()
    kept[0, 1] = kept[1, 2] = -INF
    found = ModelRows(logits, ends).compare_logits(kept, np.zeros(6, np.int64))
    p, q = softmax(logits.astype(float)), softmax(kept.astype(float))
    expected = [by_hand(*rows, ends) for rows in zip(q, p, strict=True)]
    assert found.figures[:, EXPECTED] == pytest.approx(expected, rel=1e-5)
    whole = ModelRows(logits).compare_logits(kept, np.zeros(6, np.int64)).figures
    others = [i for i in range(len(DIVERGENCES)) if i != EXPECTED]
    assert (found.figures[:, others] == whole[:, others]).all()


def test_a_sampler_that_can_only_end_a_text_has_none():
    logits = np.zeros((2, 3), np.float32)
    kept = np.array([[0, -INF, -INF], [0, 0, -INF]], np.float32)
    found = ModelRows(logits, [0]).compare_logits(kept, np.zeros(2, np.int64))
    assert found.figures[:, EXPECTED] == pytest.approx([np.nan, np.log(3)], nan_ok=True)


def test_positions_where_a_sampler_can_only_end_a_text_are_left_out():
    """After `w0` an end is likeliest: greedy ends the text there."""
    p = np.array([[0, 0, 0, 0.5, 0.5]] * 3 + [[0, 0, 0.5, 0.25, 0.25], [0, 0, 0, 0.75, 0.25]])
    model = ToyModel(["w0", "w1"], np.log(np.maximum(p, 1e-30)))
    report = corelm.compare(
        model, ["greedy"], prompts="", n=1, length=4, reference=["w0 w1 w0 w1"] * 8
    ).to_dict()
    found = report["samplers"][0]["teacher_forced"]
    assert found["n"] == 32
    # Of the start, and of `w1` but the last one, which is read, not drawn from.
    assert found["expected_surprisal"] == pytest.approx((-np.log(0.5) - np.log(0.75)) / 2)
    # Eight copies of one text are one unit.
    assert found["ci95"]["expected_surprisal"] is None


# The curve


@pytest.mark.parametrize(
    "row",
    [
        [0.0, 1.0, -1.0, 0.5],
        [3.0, 1.0, -1.0, 5.0],  # an end is likeliest
        [-INF, 1.0, -1.0, 0.5],
        [900.0, 1.0, -1.0, 0.5],  # the words have no weight next to it
        [0.0, 1.0, -INF, -INF],
    ],
)
@pytest.mark.parametrize("ends", [[0], [0, 3]])
def test_the_curve_is_of_tokens_that_are_no_end(row, ends):
    row = np.array(row)
    logits, largest = row[None], row.max()
    t, step = np.array([COLDEST, *GRID]), 1e-5
    entropy, slope, surprisal, rise = at_temperatures(logits, t, ends)[0]
    whole = at_temperatures(logits, t)[0]
    assert entropy == pytest.approx(whole[0], **CLOSE)
    assert slope == pytest.approx(whole[1], **CLOSE)
    words = logits.copy()
    words[:, ends] = -INF
    log_p = row - largest - np.log(np.exp(row - largest).sum())
    q = softmax(words / t[:, None])
    expected = -(q * np.where(q > 0, log_p, 0)).sum(axis=1)
    assert surprisal == pytest.approx(expected, **CLOSE)
    up, down = (at_temperatures(logits, t + by, ends)[0, 2] for by in (step, -step))
    assert rise == pytest.approx((up - down) / (2 * step), rel=1e-3, abs=1e-3)


def test_a_position_where_only_an_end_is_possible_has_no_surprisal():
    logits = np.array([[0.0, -INF, -INF], [0.0, 0.0, -INF]])
    entropy, slope, surprisal, rise = np.moveaxis(at_temperatures(logits, [1.0], [0]), 1, 0)
    assert entropy.ravel() == pytest.approx([0, np.log(2)])
    assert slope.ravel() == pytest.approx([0, 0], abs=1e-12)
    assert surprisal.ravel() == pytest.approx([np.nan, np.log(2)], nan_ok=True)
    assert rise[1] == 0
    record = {
        "positions": [1, 1], "positions_without_end": [0, 1],
        "entropy": [[0.0], [1.0]], "slope": [[0.0], [1.0]], "surprisal": [[0.0], [3.0]],
    }  # fmt: skip
    assert (curve(record, [1.0]).entropy, curve(record, [1.0]).surprisal) == ([0.5], [3.0])
