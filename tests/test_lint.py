"""The lint: one sentence for each likely mistake in a chain."""

from __future__ import annotations

import pytest

from corelm import Sampler, sampler
from corelm.plugins.lint import DECIDING, notes
from corelm.plugins.registry import registry


def said(expression):
    return notes(sampler(expression))


@pytest.mark.parametrize(
    "expression",
    [
        "greedy",
        "stochastic",
        "uniform",
        "temperature(t=1.5)",
        "temperature(t=0.7) | top_p(p=0.9)",
        "top_p(p=0.9) | temperature(t=1.5)",
        "temperature(t=1.5) | top_k(k=40)",  # ranks do not see a temperature
        "temperature(t=1.5) | top_n_sigma(n=1)",
        "repetition_penalty(penalty=1.2) | top_k(k=40) | top_p(p=0.9) | temperature(t=1.2)",
        "ban(words=[1]) | greedy",
        "top_k(k=40) | uniform",
        "top_p(p=0.9) | top_p(p=0.95)",  # of what is left, 0.95 may be less
        "top_k(k=50) | top_p(p=0.9) | top_k(k=40)",  # the first decides what top_p sees
        "min_p(p=0.1) | temperature(t=0.5) | min_p(p=0.05)",  # ratios have changed
        "epsilon(epsilon=0.01) | epsilon(epsilon=0.02)",
        "epsilon(epsilon=0.01) | top_k(k=99)",
        "xtc(probability=0.5, threshold=0.1) | greedy",  # xtc removes the likeliest
        "temperature(t=0.8) | mirostat(tau=3)",
        "min_p(p=0.05) | adaptive_p(target=0.4)",
        "mirostat(tau=3) | stochastic",
        # at its neutral value a stage does nothing, wherever it stands
        "temperature(t=1) | top_p(p=0.9)",
        "greedy | top_p(p=1) | temperature(t=1)",
        "top_k(k=40) | repetition_penalty(penalty=1) | ban(words=[]) | logit_bias(bias={})",
        "mirostat(tau=inf) | temperature(t=0.5)",
    ],
)
def test_of_most_chains_there_is_nothing_to_say(expression):
    assert said(expression) == []


HEAT = (
    "{} comes before {}, which then judges flattened probabilities and keeps more unlikely "
    "tokens; put the temperature last"
)


@pytest.mark.parametrize(
    ("expression", "hot", "after"),
    [
        ("temperature(t=1.5) | min_p(p=0.1)", "temperature(t=1.5)", "min_p(p=0.1)"),
        (
            "temperature(t=2) | top_k(k=40) | top_p(p=0.9) | typical(p=0.9)",
            "temperature(t=2)",
            "top_p(p=0.9) and typical(p=0.9)",
        ),
        ("temperature(t=inf) | eta(epsilon=0.002)", "temperature(t=inf)", "eta(epsilon=0.002)"),
        (
            "dynamic_temperature(t_min=0.5, t_max=1.5) | top_p(p=0.9)",
            "dynamic_temperature(t_max=1.5)",
            "top_p(p=0.9)",
        ),
    ],
)
def test_a_filter_after_a_high_temperature(expression, hot, after):
    assert said(expression) == [HEAT.format(hot, after)]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (
            "top_k(k=40) | repetition_penalty(penalty=1.2, last=64)",
            "repetition_penalty after top_k(k=40) cannot bring back what the filter removed; "
            "put it first",
        ),
        (
            "min_p(p=0.1) | dry(multiplier=0.8) | logit_bias(bias={1: 2}) | temperature(t=0.8)",
            "dry and logit_bias after min_p(p=0.1) cannot bring back what the filter removed; "
            "put them first",
        ),
        (
            "ban(words=[1]) | top_p(p=0.9) | presence_penalty(0.5) | min_length(3) | top_k(9)",
            "presence_penalty and min_length after top_p(p=0.9) cannot bring back what the filter "
            "removed; put them first",
        ),
    ],
)
def test_a_penalty_after_a_filter(expression, expected):
    assert said(expression) == [expected]


@pytest.mark.parametrize(
    ("expression", "idle", "where"),
    [
        ("top_k(k=40) | top_k(k=50)", "top_k(k=50)", "after top_k(k=40)"),
        ("top_k(k=50) | top_k(k=40)", "top_k(k=50)", "before top_k(k=40)"),
        ("top_k(k=40) | top_k(k=40)", "top_k(k=40)", "after top_k(k=40)"),
        (
            "top_k(k=40) | temperature(t=0.5) | top_p(p=0.9) | top_k(k=50)",
            "top_k(k=50)",
            "after top_k(k=40)",
        ),
        ("min_p(p=0.1) | min_p(p=0.05)", "min_p(p=0.05)", "after min_p(p=0.1)"),
        ("min_p(p=0.05) | min_p(p=0.1)", "min_p(p=0.05)", "before min_p(p=0.1)"),
        ("min_p(p=0.1) | top_k(k=9) | min_p(p=0.05)", "min_p(p=0.05)", "after min_p(p=0.1)"),
        (
            "epsilon(epsilon=0.02) | epsilon(epsilon=0.01)",
            "epsilon(epsilon=0.01)",
            "after epsilon(epsilon=0.02)",
        ),
        (
            "epsilon(epsilon=0.02) | eta(epsilon=0.01)",
            "eta(epsilon=0.01)",
            "after epsilon(epsilon=0.02)",
        ),
        # at most 20 tokens have a probability of 0.05
        ("epsilon(epsilon=0.05) | top_k(k=20)", "top_k(k=20)", "after epsilon(epsilon=0.05)"),
    ],
)
def test_two_filters_of_which_one_can_never_act(expression, idle, where):
    assert said(expression) == [f"{idle} can never act {where}; leave it out"]


def test_xtc_with_a_threshold_that_no_two_tokens_reach():
    assert said("xtc(probability=0.5, threshold=0.6)") == [
        "xtc can never act with a threshold above 0.5, since no two tokens are both that likely; "
        "0.1 is usual"
    ]


@pytest.mark.parametrize(
    ("expression", "one", "after"),
    [
        ("greedy | temperature(t=0.5)", "greedy", "temperature(t=0.5)"),
        ("greedy | stochastic", "greedy", "stochastic"),
        ("temperature(t=0) | top_k(k=40)", "temperature(t=0)", "top_k(k=40)"),
        ("top_k(k=1) | min_p(p=0.1)", "top_k(k=1)", "min_p(p=0.1)"),
        ("top_p(p=0) | uniform", "top_p(p=0)", "uniform"),
    ],
)
def test_greedy_followed_by_something(expression, one, after):
    assert said(expression) == [
        f"{one} leaves one token, so {after} after it can change nothing; leave it out"
    ]


def test_greedy_followed_by_much_is_one_sentence():
    assert said("greedy | top_k(k=40) | top_k(k=50) | repetition_penalty(penalty=1.2)") == [
        "greedy leaves one token, so top_k(k=40), top_k(k=50) and repetition_penalty after it can "
        "change nothing; leave them out"
    ]


@pytest.mark.parametrize(
    ("expression", "idle", "one"),
    [
        ("top_p(p=0.9) | greedy", "top_p(p=0.9) changes", "greedy"),
        ("temperature(t=0.5) | temperature(t=0)", "temperature(t=0.5) changes", "temperature(t=0)"),
        (
            "ban(words=[1]) | top_k(k=40) | min_p(p=0.1) | greedy",
            "top_k(k=40) and min_p(p=0.1) change",
            "greedy",
        ),
    ],
)
def test_what_keeps_the_likeliest_before_greedy(expression, idle, one):
    it = "it" if "changes" in idle else "them"
    assert said(expression) == [
        f"{idle} nothing before {one}, which takes the likeliest token in any case; leave {it} out"
    ]


def test_a_filter_after_uniform():
    assert said("uniform | top_k(k=40) | min_p(p=0.1)") == [
        "uniform makes all tokens equally likely, so top_k(k=40) and min_p(p=0.1) after it can "
        "choose by their ids alone; put uniform last"
    ]


def test_what_steers_by_what_is_drawn_comes_last():
    assert said("mirostat(tau=3) | temperature(t=0.7)") == [
        "mirostat(tau=3) follows what is drawn, and temperature(t=0.7) after it changes that; "
        "put mirostat last"
    ]
    assert said("adaptive_p(target=0.4) | top_k(k=9)") == [
        "adaptive_p(target=0.4) follows what is drawn, and top_k(k=9) after it changes that; "
        "put adaptive_p last"
    ]


def test_several_mistakes_are_several_sentences():
    assert said("temperature(t=1.5) | top_p(p=0.9) | repetition_penalty(penalty=1.2)") == [
        HEAT.format("temperature(t=1.5)", "top_p(p=0.9)"),
        "repetition_penalty after top_p(p=0.9) cannot bring back what the filter removed; "
        "put it first",
    ]


def test_a_full_name_is_known_too():
    assert said("corelm:greedy | corelm:top_k(k=40)") == [
        "greedy leaves one token, so top_k(k=40) after it can change nothing; leave it out"
    ]
    sampler("greedy"), sampler("top_k")  # their own names again


def test_of_a_stranger_nothing_is_known():
    class Stranger(Sampler):
        def __call__(self, logits, context):
            return logits

    chain = sampler("top_k(k=40)") | Stranger() | sampler("top_p(p=0.9)")
    assert notes(chain) == []
    assert notes(sampler("greedy") | Stranger()) == [
        "greedy leaves one token, so stranger after it can change nothing; leave it out"
    ]


@pytest.mark.parametrize("name", DECIDING)
def test_the_parameters_that_it_looks_at_exist(name):
    parameter, neutral = DECIDING[name]
    declared = {p.name: p.default for p in registry().sampler(name).parameters()}
    assert parameter in declared
    assert neutral == declared[parameter] or name in (
        "mirostat",
        "top_n_sigma",
        "dynamic_temperature",
    )
