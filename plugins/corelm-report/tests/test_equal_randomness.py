"""Samplers at unequal entropy, and the error of matching them."""

from __future__ import annotations

import numpy as np
import pytest
from corelm_report.document.content import Difference, Differences, Document, SamplerEntry
from corelm_report.document.equal_randomness import randomness_sentences
from corelm_report.measure.entries import Measured
from corelm_report.measure.matched_error import _widened
from corelm_report.metrics.estimates import Estimate
from corelm_report.metrics.inference import Inference

import corelm
from corelm.testing import ToyModel

OPEN = ("temperature", "top_k(k=5) | temperature")
NAMES = ("temperature(t=1.0)", "top_p(p=0.5)")


def compared(**more):
    return corelm.compare(
        ToyModel(), list(NAMES), prompts="the", n=64, length=8, against=NAMES[0], **more
    )


def test_texts_that_differ_at_unequal_entropy_are_named():
    text = compared().to_markdown()
    assert " differs from temperature(t=1.0) in entropy, by" in text
    assert "--match entropy=" in text


def test_settings_of_one_sampler_and_matched_samplers_are_not():
    report = corelm.compare(
        ToyModel(), ["temperature(t=1.0)", "temperature(t=0.5)"], prompts="the", n=64, length=8,
        against="temperature(t=1.0)",
    )  # fmt: skip
    assert "before you call one better" not in report.to_markdown()
    matched = corelm.compare(
        ToyModel(), list(OPEN), prompts="the", n=64, length=8, match="entropy=1",
        against="temperature",
    )  # fmt: skip
    assert "before you call one better" not in matched.to_markdown()


@pytest.mark.parametrize(("ends", "named"), [([0.1, 0.3], True), ([-0.1, 0.3], False)])
def test_only_differences_beyond_chance_count(ends, named):
    document = Document.from_dict(compared().to_dict())
    entry: SamplerEntry = document.samplers[1]
    entry.differences = Differences(
        against=NAMES[0],
        teacher_forced={"entropy.mean": Difference(value=-0.4, ci95=[-0.5, -0.3])},
        generated_texts={"surprisal": Difference(value=0.2, ci95=ends)},
    )
    assert bool(list(randomness_sentences(document))) == named


def test_the_error_of_matching_is_a_part_of_the_difference():
    """Entropies that differ by chance on 400 contexts: the slope carries it on to surprisal."""
    rng = np.random.default_rng(1)

    class Texts:
        def __init__(self, values):
            self.values = values

        def estimate(self, name):
            return Estimate.of_ratio("texts", self.values, np.ones(len(self.values)))

    contexts = Inference.of_names(range(400))
    entropies = rng.normal(2, 0.5, (2, 400))
    shared = rng.normal(3, 1, 50)
    own, other = (
        Measured({"entropy": [[each] for each in of]}, Texts(shared + by), contexts)
        for of, by in zip(entropies, rng.normal(0, 0.1, (2, 50)), strict=True)
    )
    narrow = own.texts.estimate("surprisal") - other.texts.estimate("surprisal")
    found = Difference(value=narrow.value, ci95=narrow.interval(), p=narrow.p_value(), units=50)
    wide = _widened(found, own, other, 1.5)
    noise = 1.5**2 * 2 * 0.5**2 / 400
    assert wide.value == found.value
    assert (wide.ci95[1] - wide.ci95[0]) / (found.ci95[1] - found.ci95[0]) == pytest.approx(
        np.sqrt(1 + noise / narrow.variance), rel=0.1
    )
    assert _widened(found, own, other, None) is found


def test_matched_samplers_have_wider_differences_than_the_same_settings():
    matched = corelm.compare(
        ToyModel(), list(OPEN), prompts=["the", "a"], n=32, length=8, match="entropy=1",
        against="temperature",
    ).to_dict()  # fmt: skip
    names = [entry["sampler"] for entry in matched["samplers"]]
    fixed = corelm.compare(
        ToyModel(), names, prompts=["the", "a"], n=32, length=8, against=names[0]
    ).to_dict()
    first, second = (
        each["samplers"][1]["differences"]["generated_texts"]["surprisal"]
        for each in (matched, fixed)
    )
    assert first["value"] == pytest.approx(second["value"])
    assert first["ci95"][0] < second["ci95"][0] < second["ci95"][1] < first["ci95"][1]
