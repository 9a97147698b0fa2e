"""The parameter that gives a figure a target value on all positions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from corelm_report.measure import matching
from corelm_report.measure.contexts import Contexts, human_contexts, model_contexts
from corelm_report.measure.entries import teacher_forced
from corelm_report.measure.matching import Matcher
from corelm_report.measure.on_contexts import measure

import corelm
from corelm import Sampler
from corelm.errors import SamplerError, UnreachableError, UsageError
from corelm.testing import ToyModel

LN2 = math.log(2)


def mean_entropy(model, contexts, sampler):
    """The figure that the report will have."""
    [record] = measure(model, contexts, [sampler])["samplers"]
    return teacher_forced(record).entropy.mean


# By hand: four words of 1/2, 1/4, 1/8 and 1/8 in any context


@pytest.fixture
def model():
    return ToyModel(list("abcd"), logits=[0, 0, *np.log([4, 2, 1, 1])], end=False)


@pytest.fixture
def contexts(model):
    return human_contexts(model, ["a b c d a b"], "letters")


def test_a_temperature_by_hand(model, contexts):
    """At temperature 1/2 the words have 16, 4, 1 and 1 of 22."""
    target = math.log(22) - (16 * 4 + 4 * 2) / 22 * LN2
    sampler = Matcher(model, contexts).match("temperature", "entropy", target)
    assert sampler.t == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("target", [0, 1.75 * LN2, 2 * LN2])
def test_the_ends_of_the_range_of_a_temperature(model, contexts, target):
    sampler = Matcher(model, contexts).match("temperature", "entropy", target)
    assert mean_entropy(model, contexts, sampler) == pytest.approx(target, abs=0.01)


def test_a_whole_number(model, contexts):
    """Two words of two thirds and one third."""
    found = Matcher(model, contexts).match("top_k", "entropy", math.log(3) - 2 / 3 * LN2)
    assert found == corelm.sampler("top_k", k=2)


def test_a_filter_cannot_be_more_random_than_the_model(model, contexts):
    with pytest.raises(UnreachableError) as caught:
        Matcher(model, contexts).match("top_p", "entropy", 1.3)
    assert str(caught.value) == (
        "no p gives top_p a mean entropy of 1.3 nats: on these contexts it ranges from 0.000 to "
        "1.213, and top_p(p=0.9) comes closest with 1.213"
    )


def test_nothing_is_more_random_than_uniform(model, contexts):
    with pytest.raises(
        UnreachableError, match=r"ranges from 0\.000 to 1\.386, and temperature\(t="
    ):
        Matcher(model, contexts).match("temperature", "entropy", 1.4)


@pytest.mark.parametrize("target", [-1, math.inf, math.nan])
def test_impossible_entropies_are_refused(model, contexts, target):
    with pytest.raises(UnreachableError, match=f"a mean entropy of {target:g} nats"):
        Matcher(model, contexts).match("temperature", "entropy", target)


def test_an_entropy_between_two_steps_is_out_of_reach(model, contexts):
    """Two words have 0.637 nats and three have 0.956, and there is nothing between."""
    with pytest.raises(UnreachableError, match=r"top_k\(k=3\) comes closest with 0\.956"):
        Matcher(model, contexts).match("top_k", "entropy", 0.85)


@pytest.mark.parametrize(
    ("expression", "figure", "target", "found"),
    [
        ("top_k", "tokens_kept", 3, "top_k(k=3)"),
        ("top_p", "mass_kept", 0.75, "top_p(p=0.6)"),
        ("top_k", "expected_surprisal", 4 / 3 * LN2, "top_k(k=2)"),
        ("top_k", "kl_to_model", -math.log(7 / 8), "top_k(k=3)"),
        ("top_k", "total_variation", 0.25, "top_k(k=2)"),
        ("top_k", "top_probability", 2 / 3, "top_k(k=2)"),
        ("top_k", "varentropy", 2 / 9 * LN2**2, "top_k(k=2)"),
        ("top_k", "human_recall", 4 / 5, "top_k(k=3)"),  # the words are b c d a b, behind an a
        ("top_k", "human_surprisal", (2 * math.log(3) + math.log(1.5)) / 3, "top_k(k=2)"),
    ],
)
def test_every_figure_by_hand(model, contexts, expression, figure, target, found):
    matcher = Matcher(model, contexts)
    sampler = matcher.match(expression, figure, target)
    assert str(sampler) == found
    [record] = measure(model, contexts, [sampler])["samplers"]
    own = measure(model, contexts, [])["model"]
    assert teacher_forced(record, own).to_dict()[figure] == pytest.approx(target, abs=1e-6)


def test_the_message_names_the_figure(model, contexts):
    with pytest.raises(UnreachableError) as caught:
        Matcher(model, contexts).match("top_k", "mass_kept", 0.6)
    assert str(caught.value) == (
        "no k gives top_k a mean mass kept of 0.6: on these contexts it ranges from 0.500 to "
        "1.000, and top_k(k=1) comes closest with 0.500"
    )


def test_a_parameter_of_a_nested_sampler(model, contexts):
    target = math.log(3) - 2 / 3 * LN2
    found = Matcher(model, contexts).match(
        'phase(start="a", inside=top_k, outside=top_k(k=2))', "entropy", target
    )
    assert found.inside == corelm.sampler("top_k(k=2)")


def test_a_sampler_without_an_open_number_cannot_be_matched(model, contexts):
    with pytest.raises(UsageError, match="greedy leaves no number open"):
        Matcher(model, contexts).match("greedy", "entropy", 1)


def test_a_sampler_that_fails_says_so(model, contexts):
    with pytest.raises(SamplerError, match="out of ideas"):
        Matcher(model, contexts).match("fails", "entropy", 1)


@pytest.fixture(autouse=True)
def fails():
    """A registered sampler that raises."""
    from corelm.registry.registry import registry

    class Fails(Sampler):
        p: float = corelm.param(0.5, ge=0, le=1)

        def __call__(self, logits, context):
            raise RuntimeError("out of ideas")

    class Plugin:
        @staticmethod
        @corelm.hookimpl
        def corelm_samplers():
            return {"fails": Fails}

    registry.cache_clear()
    registry().register(Plugin)
    yield
    registry.cache_clear()


# On the shipped model


@pytest.fixture(scope="module")
def shipped():
    model = corelm.load("imdb")
    return model, model_contexts(model, ["This movie"], n=6, length=25, seed=1)


@pytest.mark.parametrize(
    "expression", ["temperature", "top_p", "min_p", "typical", "mirostat(eta=0.1)"]
)
def test_every_sampler_comes_within_a_hundredth_of_the_target(shipped, expression):
    (model, contexts), target = shipped, 3.0
    sampler = Matcher(model, contexts).match(expression, "entropy", target)
    assert abs(mean_entropy(model, contexts, sampler) - target) <= 0.01
    assert len(str(sampler)) < 40  # in few digits


@pytest.mark.parametrize("expression", ["temperature", "top_p", "min_p", "typical"])
def test_the_entropy_of_the_model_itself_is_reached(shipped, expression):
    model, contexts = shipped
    own = mean_entropy(model, contexts, corelm.sampler("stochastic"))
    sampler = Matcher(model, contexts).match(expression, "entropy", own)
    assert abs(mean_entropy(model, contexts, sampler) - own) <= 0.01


class Counting:
    """A model that counts how often it is run."""

    def __init__(self, model):
        self._model, self.starts = model, 0
        self.vocabulary, self.context_length = model.vocabulary, model.context_length

    def start(self, tokens):
        self.starts += 1
        return self._model.start(tokens)


@pytest.mark.parametrize("expression", ["temperature", "top_p", "mirostat(eta=0.1)"])
def test_a_part_of_the_texts_leads_to_the_entropy_of_all(shipped, expression, monkeypatch):
    model, contexts = shipped
    counting = Counting(model)
    monkeypatch.setattr(matching, "PART", 30)
    sampler = Matcher(counting, contexts).match(expression, "entropy", 3.0)
    assert abs(mean_entropy(model, contexts, sampler) - 3.0) <= 0.01
    assert counting.starts == 2  # for the part and for all, once each


def test_logits_that_do_not_fit_in_memory_are_computed_again(shipped, monkeypatch):
    model, contexts = shipped
    counting = Counting(model)
    monkeypatch.setattr(matching, "PART", 30)
    kept = Matcher(counting, contexts).match("temperature", "entropy", 3.0)
    monkeypatch.setattr(matching, "KEPT", 60 * 15000)
    assert Matcher(counting, contexts).match("temperature", "entropy", 3.0) == kept
    assert 2 + 2 < counting.starts < 2 + 1 + matching.CORRECTIONS + 3


def test_the_part_is_taken_from_all_of_the_texts():
    contexts = Contexts("human", "d", tuple((i,) * 100 for i in range(50)), (0,) * 50)
    part = matching._spread(contexts, 400)
    assert [text[0] for text in part.texts] == [0, 12, 25, 37]
    assert part.positions == 400
