"""The lint: one sentence for each likely mistake in a chain."""

from __future__ import annotations

import math

import pytest

from corelm import Sampler, lint, mask_logits, param, sampler
from corelm.linting import compares_probabilities, flattens, has_effect, leaves_one_token


def said(expression):
    return lint(sampler(expression))


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
        "xtc(probability=0.5, threshold=0.1) | greedy",  # xtc removes the most likely
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
def test_most_chains_get_no_note(expression):
    assert said(expression) == []


HEAT = (
    "{} flattens the probabilities that {} after it compare{}, so more unlikely tokens stay; "
    "put the temperature last"
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
        ("temperature(t=1e9) | eta(epsilon=0.002)", "temperature(t=1e+09)", "eta(epsilon=0.002)"),
        (
            "dynamic_temperature(t_min=0.5, t_max=1.5) | top_p(p=0.9)",
            "dynamic_temperature(t_min=0.5, t_max=1.5)",
            "top_p(p=0.9)",
        ),
    ],
)
def test_a_filter_after_a_high_temperature(expression, hot, after):
    assert said(expression) == [HEAT.format(hot, after, "" if " and " in after else "s")]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (
            "top_k(k=40) | repetition_penalty(penalty=1.2, last=64)",
            "repetition_penalty after top_k(k=40) cannot bring back tokens that the filter "
            "removed; put it first",
        ),
        (
            "min_p(p=0.1) | dry(multiplier=0.8) | logit_bias(bias={1: 2}) | temperature(t=0.8)",
            "dry and logit_bias after min_p(p=0.1) cannot bring back tokens that the filter "
            "removed; put them first",
        ),
        (
            "ban(words=[1]) | top_p(p=0.9) | presence_penalty(0.5) | min_length(3) | top_k(9)",
            "presence_penalty and min_length after top_p(p=0.9) cannot bring back "
            "tokens that the filter removed; put them first",
        ),
    ],
)
def test_a_penalty_after_a_filter(expression, expected):
    assert said(expression) == [expected]


@pytest.mark.parametrize(
    ("expression", "idle", "before"),
    [
        ("top_k(k=40) | top_k(k=50)", "top_k(k=50)", "top_k(k=40)"),
        ("top_k(k=40) | top_k(k=40)", "top_k(k=40)", "top_k(k=40)"),
        (
            "top_k(k=40) | temperature(t=0.5) | top_p(p=0.9) | top_k(k=50)",
            "top_k(k=50)",
            "top_k(k=40)",
        ),
        ("min_p(p=0.1) | min_p(p=0.05)", "min_p(p=0.05)", "min_p(p=0.1)"),
        ("min_p(p=0.1) | top_k(k=9) | min_p(p=0.05)", "min_p(p=0.05)", "min_p(p=0.1)"),
        (
            "epsilon(epsilon=0.02) | epsilon(epsilon=0.01)",
            "epsilon(epsilon=0.01)",
            "epsilon(epsilon=0.02)",
        ),
        ("epsilon(epsilon=0.02) | eta(epsilon=0.01)", "eta(epsilon=0.01)", "epsilon(epsilon=0.02)"),
        # at most 20 tokens have a probability of 0.05
        ("epsilon(epsilon=0.05) | top_k(k=20)", "top_k(k=20)", "epsilon(epsilon=0.05)"),
    ],
)
def test_a_filter_that_has_nothing_to_remove_after_another(expression, idle, before):
    assert said(expression) == [f"{idle} never removes a token after {before}; leave it out"]


@pytest.mark.parametrize(
    ("expression", "idle", "after"),
    [
        ("top_k(k=50) | top_k(k=40)", "top_k(k=50)", "top_k(k=40)"),
        ("min_p(p=0.05) | min_p(p=0.1)", "min_p(p=0.05)", "min_p(p=0.1)"),
    ],
)
def test_a_filter_that_a_stricter_one_follows(expression, idle, after):
    assert said(expression) == [f"{idle} makes no difference before {after}; leave it out"]


def test_parameters_with_which_a_filter_does_nothing():
    # no two tokens have a probability above 0.5
    never = "never removes a token; change its parameters or leave it out"
    xtc = "xtc(probability=0.5, threshold=0.6, special=())"
    assert said("xtc(probability=0.5, threshold=0.6)") == [f"{xtc} {never}"]
    assert said("xtc(probability=0.5, threshold=0.6) | temperature(t=0.5)") == [f"{xtc} {never}"]


@pytest.mark.parametrize(
    "expression",
    ["top_k(k=200000)", "top_p(p=0.999999)", "min_p(p=1e-30)", "top_n_sigma(n=100)", "mirostat"],
)
def test_a_filter_that_seldom_removes_a_token_is_not_idle(expression):
    assert said(expression) == []


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
def test_stages_that_keep_the_most_likely_token_before_greedy(expression, idle, one):
    it = "it" if "changes" in idle else "them"
    assert said(expression) == [
        f"{idle} nothing before {one}, which takes the most likely token anyway; leave {it} out"
    ]


def test_a_filter_after_uniform():
    assert said("uniform | top_k(k=40) | min_p(p=0.1)") == [
        "uniform makes all tokens equally likely, so top_k(k=40) and min_p(p=0.1) after it can "
        "only choose by token id; put uniform last"
    ]
    assert said("temperature(t=inf) | top_k(k=40)") == [
        "temperature(t=inf) makes all tokens equally likely, so top_k(k=40) after it can "
        "only choose by token id; put temperature last"
    ]


def test_samplers_that_steer_by_the_drawn_tokens_come_last():
    assert said("mirostat(tau=3) | temperature(t=0.7)") == [
        "mirostat(tau=3) adapts to the tokens drawn, and temperature(t=0.7) after it changes "
        "which are drawn; put mirostat last"
    ]
    assert said("adaptive_p(target=0.4) | top_k(k=9)") == [
        "adaptive_p(target=0.4) adapts to the tokens drawn, and top_k(k=9) after it changes "
        "which are drawn; put adaptive_p last"
    ]
    assert said("mirostat(tau=3) | temperature(t=0.7) | top_k(k=9)") == [
        "mirostat(tau=3) adapts to the tokens drawn, and temperature(t=0.7) and top_k(k=9) after "
        "it change which are drawn; put mirostat last"
    ]


def test_several_mistakes_are_several_sentences():
    assert said("temperature(t=1.5) | top_p(p=0.9) | repetition_penalty(penalty=1.2)") == [
        HEAT.format("temperature(t=1.5)", "top_p(p=0.9)", "s"),
        "repetition_penalty after top_p(p=0.9) cannot bring back tokens that the filter removed; "
        "put it first",
    ]


def test_a_full_name_is_known_too():
    assert said("corelm:greedy | corelm:top_k(k=40)") == [
        "greedy leaves one token, so top_k(k=40) after it can change nothing; leave it out"
    ]
    sampler("greedy"), sampler("top_k")  # their own names again


# Samplers of anybody's


class MaxRatio(Sampler):
    """Keep the tokens at least as likely as a share of the most likely one: min_p by a stranger."""

    kind = "filter"
    neutral = {"share": 0.0}
    reads = frozenset()
    is_argmax_invariant = True

    share: float = param(0.5)

    def __call__(self, logits, context):
        return mask_logits(
            logits, logits - logits.max(axis=-1, keepdims=True) >= math.log(self.share)
        )


class Heat(Sampler):
    """Divide by a number of another name."""

    kind = "temperature"
    neutral = {"heat": 1.0}
    reads = frozenset()

    heat: float = param(2.0)

    def __call__(self, logits, context):
        return (logits / self.heat).astype(logits.dtype)


class Lower(Sampler):
    """A penalty that reads the past."""

    kind = "penalty"

    def __call__(self, logits, context):
        return logits - context.tokens.shape[1]


def test_a_plugins_filter_gets_every_note():
    half = "max_ratio(share=0.5)"
    assert lint(Heat() | MaxRatio()) == [HEAT.format("heat(heat=2)", half, "s")]
    assert lint(sampler("uniform") | MaxRatio()) == [
        f"uniform makes all tokens equally likely, so {half} after it can only choose by token id; "
        "put uniform last"
    ]
    assert lint(MaxRatio() | Lower()) == [
        f"lower after {half} cannot bring back tokens that the filter removed; put it first"
    ]
    assert lint(MaxRatio() | sampler("greedy")) == [
        f"{half} changes nothing before greedy, which takes the most likely token anyway; "
        "leave it out"
    ]
    assert lint(sampler("min_p(p=0.6)") | MaxRatio()) == [
        f"{half} never removes a token after min_p(p=0.6); leave it out"
    ]
    assert lint(MaxRatio() | sampler("min_p(p=0.6)")) == [
        f"{half} makes no difference before min_p(p=0.6); leave it out"
    ]


def test_a_sampler_that_fails_or_reads_the_past_gets_no_warning():
    class Fails(MaxRatio):
        def __call__(self, logits, context):
            raise RuntimeError("no good")

    class Reads(MaxRatio):
        reads = frozenset({"tokens"})

    for unknown in (Fails(), Reads()):
        assert has_effect(unknown) is None
        assert not leaves_one_token(unknown)
        assert not compares_probabilities(unknown)
        assert not flattens(unknown)
        assert lint(Heat() | unknown | sampler("min_p(p=0.9)")) == [
            HEAT.format("heat(heat=2)", "min_p(p=0.9)", "s")
        ]


def test_a_sampler_that_declares_no_kind_gets_few_notes():
    class Stranger(Sampler):
        def __call__(self, logits, context):
            return logits

    chain = sampler("top_k(k=40)") | Stranger() | sampler("top_p(p=0.9)")
    assert lint(chain) == []
    assert lint(sampler("greedy") | Stranger()) == [
        "greedy leaves one token, so stranger after it can change nothing; leave it out"
    ]


def test_a_mask_after_a_stage_that_leaves_one_token_still_acts():
    """It leaves the model's likeliest allowed token, so there is nothing to note but the order."""
    assert all(
        "can change nothing" not in note for note in lint(sampler("greedy | ban(words=[1])"))
    )
