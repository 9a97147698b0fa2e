"""The parameter that gives a figure a target value on all positions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from documents import compare

import corelm
from corelm.errors import UsageError
from corelm.testing import ToyModel

LN2, LN3 = math.log(2), math.log(3)
MODEL = ToyModel(list("abcd"), logits=[0, 0, *np.log([4, 2, 1, 1])], end=False)
"""Four words of 1/2, 1/4, 1/8 and 1/8 in any context."""


def matched(expression, figure, target):
    """The row of a sampler that is matched; its contexts are b c d a b, behind an a."""
    [row] = compare([expression], model=MODEL, prompts="a", n=1, reference=["a b c d a b"],
                    match=f"{figure}={target!r}")["samplers"]  # fmt: skip
    return row


def test_a_temperature_by_hand():
    """At temperature 1/2 the words have 16, 4, 1 and 1 of 22."""
    row = matched("temperature", "entropy", math.log(22) - (16 * 4 + 4 * 2) / 22 * LN2)
    assert row["params"]["t"] == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("target", [0, 1.75 * LN2, 2 * LN2])
def test_the_ends_of_the_range_of_a_temperature(target):
    row = matched("temperature", "entropy", target)
    assert row["teacher_forced"]["entropy"]["mean"] == pytest.approx(target, abs=0.01)


@pytest.mark.parametrize(
    ("expression", "figure", "target", "sampler"),
    [
        ("top_k", "entropy", LN3 - 2 / 3 * LN2, "top_k(k=2)"),  # two thirds and one third
        ("top_k", "tokens_kept", 3, "top_k(k=3)"),
        ("top_p", "mass_kept", 0.75, "top_p(p=0.6)"),
        ("top_k", "expected_surprisal", 4 / 3 * LN2, "top_k(k=2)"),
        ("top_k", "kl_to_model", -math.log(7 / 8), "top_k(k=3)"),
        ("top_k", "total_variation", 0.25, "top_k(k=2)"),
        ("top_k", "top_probability", 2 / 3, "top_k(k=2)"),
        ("top_k", "varentropy", 2 / 9 * LN2**2, "top_k(k=2)"),
        ("top_k", "human_recall", 4 / 5, "top_k(k=3)"),
        ("top_k", "human_surprisal", (2 * LN3 + math.log(1.5)) / 3, "top_k(k=2)"),
    ],
)
def test_every_figure_by_hand(expression, figure, target, sampler):
    row = matched(expression, figure, target)
    assert row["sampler"] == sampler
    own = row["teacher_forced"]
    value = own["entropy"]["mean"] if figure == "entropy" else own[figure]
    assert value == pytest.approx(target, abs=1e-6)


def test_a_parameter_of_a_nested_sampler():
    row = matched('phase(start="a", inside=top_k, outside=top_k(k=2))', "entropy",
                  LN3 - 2 / 3 * LN2)  # fmt: skip
    assert "inside=top_k(k=2)" in row["sampler"]


@pytest.mark.parametrize(
    ("expression", "figure", "target", "message"),
    [
        ("top_p", "entropy", 1.3, "no p gives top_p a mean entropy of 1.3 nats: on these contexts "
         "it ranges from 0.000 to 1.213, and top_p(p=0.9) comes closest with 1.213"),
        ("temperature", "entropy", 1.4, "no t gives temperature a mean entropy of 1.4 nats: on "
         "these contexts it ranges from 0.000 to 1.386, and temperature(t="),
        # Two words have 0.637 nats and three have 0.956, and there is nothing between.
        ("top_k", "entropy", 0.85, "no k gives top_k a mean entropy of 0.85 nats: on these "
         "contexts it ranges from 0.000 to 1.213, and top_k(k=3) comes closest with 0.956"),
        ("top_k", "mass_kept", 0.6, "no k gives top_k a mean mass kept of 0.6: on these contexts "
         "it ranges from 0.500 to 1.000, and top_k(k=1) comes closest with 0.500"),
        # Its expression takes a sampler that draws no word of the model.
        ("min_p | ban(words=['zebra'])", "entropy", 1.0, "zebra"),
    ],
)  # fmt: skip
def test_a_target_out_of_reach_is_an_error_of_its_row(expression, figure, target, message):
    error = matched(expression, figure, target)["error"]
    assert message in error["message"]
    assert error["type"] == ("UsageError" if message == "zebra" else "UnreachableError")


# The number that an expression leaves open


@pytest.mark.parametrize(
    ("expression", "figure", "target", "sampler"),
    [
        ("repetition_penalty(last=9)", "entropy", 1.2, "repetition_penalty(penalty="),
        ("top_k(k=3) | temperature | min_p(p=0.1)", "entropy", 0.8, "top_k(k=3) | temperature(t="),
        ("stochastic | top_p", "entropy", 1.213, "stochastic | top_p(p="),
        ("schedule(first=top_k(k=3) | temperature, last=greedy, over=9)", "entropy", 0.5,
         "schedule(first=top_k(k=3) | temperature(t="),
        ("schedule(temperature, over=9)", "entropy", 1.2, "schedule(first=temperature(t="),
        ("phase(inside=top_k(k=2), outside=schedule(first=stochastic, last=temperature, over=9))",
         "entropy", 1.2, "phase(start='<think>', end='</think>', inside=top_k(k=2), "
         "outside=schedule(first=stochastic, last=temperature(t="),
    ],
)  # fmt: skip
def test_the_number_that_is_left_out(expression, figure, target, sampler):
    row = matched(expression, figure, target)
    assert row["sampler"].startswith(sampler)
    assert row["matched"]["open"] == expression
    assert row["teacher_forced"]["entropy"]["mean"] == pytest.approx(target, abs=0.01)


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("mirostat", "mirostat leaves tau and eta open; give all of them except one"),
        ("temperature | top_k", "leaves t and k open"),
        ("phase(inside=top_p, outside=temperature)", "leaves p and t open"),
        ("schedule(first=greedy, last=top_p)", "leaves over and p open"),
        ("topp", "did you mean 'top_p'"),
    ],
)
def test_several_open_numbers_and_unknown_names_are_refused(expression, fault):
    with pytest.raises(UsageError, match=fault):
        compare([expression, "temperature"], match="entropy=1")


@pytest.mark.parametrize(
    "expression",
    ["greedy", "temperature(t=0.5)", "temperature(temperature=0.5)",
     "repetition_penalty(penalty=2)", "phase(inside=top_p(p=0.5))"],
)  # fmt: skip
def test_a_sampler_without_an_open_number_stays_as_it_is(expression):
    row, _ = compare([expression, "temperature"], match="entropy=1")["samplers"]
    assert row["matched"] is None


# On the shipped model


@pytest.fixture(scope="module")
def shipped():
    """A function that matches samplers on the same contexts of the shipped model."""

    def match(samplers, target, model="imdb"):
        asked = {"prompts": "This movie", "n": 6, "length": 25}
        return compare(samplers, model=model, match=f"entropy={target}", **asked)["samplers"]

    return match


SAMPLERS = ["temperature", "top_p", "min_p", "typical", "mirostat(eta=0.1)"]


def test_every_sampler_comes_within_a_hundredth_of_the_target(shipped):
    rows = shipped([*SAMPLERS, "stochastic"], 3.0)
    own = rows.pop()["teacher_forced"]["entropy"]["mean"]
    of_the_model = shipped(SAMPLERS[:4], own)
    for target, row in [*((3.0, row) for row in rows), *((own, row) for row in of_the_model)]:
        assert abs(row["teacher_forced"]["entropy"]["mean"] - target) <= 0.01
    assert all(len(row["sampler"]) < 40 for row in rows)  # in few digits
    assert rows[4]["sampler"].endswith(", eta=0.1)")


class Counting:
    """A model that counts how often it is run."""

    def __init__(self, model):
        self._model, self.starts = model, 0
        self.vocabulary, self.context_length = model.vocabulary, model.context_length

    def start(self, tokens):
        self.starts += 1
        return self._model.start(tokens)


def test_a_part_of_the_texts_leads_to_the_entropy_of_all(shipped, monkeypatch):
    """Logits that do not fit into memory are computed again, for the same values."""
    model = corelm.load("imdb")
    samplers = [SAMPLERS[i] for i in (0, 1, 4)]
    monkeypatch.setattr("corelm_report.measure.matching.PART", 30)
    first, second = Counting(model), Counting(model)
    rows = shipped(samplers, 3.0, first)
    for row in rows:
        assert abs(row["teacher_forced"]["entropy"]["mean"] - 3.0) <= 0.01
    monkeypatch.setattr("corelm_report.measure.matching.KEPT", 60 * 15000)
    assert shipped(samplers, 3.0, second) == rows
    assert first.starts < second.starts < first.starts + 3 * 12
