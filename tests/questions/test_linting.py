"""The lint: one sentence for each likely mistake in a chain."""

from __future__ import annotations

import math

import pytest

from corelm import Sampler, lint, mask_logits, param, sampler


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
        # it seldom removes a token
        "top_k(k=200000)",
        "top_p(p=0.999999)",
        "min_p(p=1e-30)",
        "top_n_sigma(n=100)",
        "mirostat",
        # at its neutral value a stage does nothing, wherever it stands
        "temperature(t=1) | top_p(p=0.9)",
        "greedy | top_p(p=1) | temperature(t=1)",
        "top_k(k=40) | repetition_penalty(penalty=1) | ban(words=[]) | logit_bias(bias={})",
        "mirostat(tau=inf) | temperature(t=0.5)",
        # of 0.28, 0.27 and a tail, both stay or one; near a threshold alone
        "min_p(p=0.1) | epsilon(epsilon=0.3)",
        "top_k(k=5) | epsilon(epsilon=0.3)",
        "top_p(p=0.9) | epsilon(epsilon=0.3)",
        "eta(epsilon=0.01) | top_p(p=0.1)",
        "eta(epsilon=0.0002) | epsilon(epsilon=0.02)",
        "min_p(p=0.05) | eta(epsilon=0.01)",
        "typical(p=0.2) | min_p(p=0.05)",
        "tail_free(z=0.5) | top_a(a=0.5)",
    ],
)
def test_most_chains_get_no_note(expression):
    assert said(expression) == []


HEAT = (
    "{} flattens the probabilities that {} after it compare{}, so more unlikely tokens stay; "
    "put the temperature last"
)
BACK = " cannot bring back tokens that the filter removed; put {} first"
NEVER = "{} never removes a token after {}; leave it out"
BEFORE = "{} makes no difference before {}; leave it out"
ONE = "{} leaves one token, so {} after it can change nothing; leave it out"
ANYWAY = "{} nothing before {}, which takes the most likely token anyway; leave {} out"
EQUAL = (
    "{} makes all tokens equally likely, so {} after it can only choose by token id; put {} last"
)
DYNAMIC = "dynamic_temperature(t_min=0.5, t_max=1.5)"
XTC = "xtc(probability=0.5, threshold=0.6, special=())"  # no two tokens have more than 0.5


@pytest.mark.parametrize(
    ("expression", "note"),
    [
        # a filter after a high temperature
        ("temperature(t=1.5) | min_p(p=0.1)",
         HEAT.format("temperature(t=1.5)", "min_p(p=0.1)", "s")),
        ("temperature(t=2) | top_k(k=40) | top_p(p=0.9) | typical(p=0.9)",
         HEAT.format("temperature(t=2)", "top_p(p=0.9) and typical(p=0.9)", "")),
        ("temperature(t=1e9) | eta(epsilon=0.002)",
         HEAT.format("temperature(t=1e+09)", "eta(epsilon=0.002)", "s")),
        (f"{DYNAMIC} | top_p(p=0.9)", HEAT.format(DYNAMIC, "top_p(p=0.9)", "s")),
        # a penalty after a filter
        ("top_k(k=40) | repetition_penalty(penalty=1.2, last=64)",
         "repetition_penalty after top_k(k=40)" + BACK.format("it")),
        ("min_p(p=0.1) | dry(multiplier=0.8) | logit_bias(bias={1: 2}) | temperature(t=0.8)",
         "dry and logit_bias after min_p(p=0.1)" + BACK.format("them")),
        ("ban(words=[1]) | top_p(p=0.9) | presence_penalty(0.5) | min_length(3) | top_k(9)",
         "presence_penalty and min_length after top_p(p=0.9)" + BACK.format("them")),
        # a filter that has nothing to remove
        ("top_k(k=40) | top_k(k=50)", NEVER.format("top_k(k=50)", "top_k(k=40)")),
        ("top_k(k=40) | top_k(k=40)", NEVER.format("top_k(k=40)", "top_k(k=40)")),
        ("top_k(k=40) | temperature(t=0.5) | top_p(p=0.9) | top_k(k=50)",
         NEVER.format("top_k(k=50)", "top_k(k=40)")),
        ("min_p(p=0.1) | min_p(p=0.05)", NEVER.format("min_p(p=0.05)", "min_p(p=0.1)")),
        ("min_p(p=0.1) | top_k(k=9) | min_p(p=0.05)",
         NEVER.format("min_p(p=0.05)", "min_p(p=0.1)")),
        ("epsilon(epsilon=0.02) | epsilon(epsilon=0.01)",
         NEVER.format("epsilon(epsilon=0.01)", "epsilon(epsilon=0.02)")),
        ("epsilon(epsilon=0.02) | eta(epsilon=0.01)",
         NEVER.format("eta(epsilon=0.01)", "epsilon(epsilon=0.02)")),
        ("epsilon(epsilon=0.05) | top_k(k=20)",  # at most 20 tokens have a probability of 0.05
         NEVER.format("top_k(k=20)", "epsilon(epsilon=0.05)")),
        ("top_k(k=50) | top_k(k=40)", BEFORE.format("top_k(k=50)", "top_k(k=40)")),
        ("min_p(p=0.05) | min_p(p=0.1)", BEFORE.format("min_p(p=0.05)", "min_p(p=0.1)")),
        ("xtc(probability=0.5, threshold=0.6)",
         f"{XTC} never removes a token; change its parameters or leave it out"),
        ("xtc(probability=0.5, threshold=0.6) | temperature(t=0.5)",
         f"{XTC} never removes a token; change its parameters or leave it out"),
        # greedy followed by something
        ("greedy | temperature(t=0.5)", ONE.format("greedy", "temperature(t=0.5)")),
        ("greedy | stochastic", ONE.format("greedy", "stochastic")),
        ("temperature(t=0) | top_k(k=40)", ONE.format("temperature(t=0)", "top_k(k=40)")),
        ("top_k(k=1) | min_p(p=0.1)", ONE.format("top_k(k=1)", "min_p(p=0.1)")),
        ("top_p(p=0) | uniform", ONE.format("top_p(p=0)", "uniform")),
        ("corelm:greedy | corelm:top_k(k=40)", ONE.format("greedy", "top_k(k=40)")),
        ("greedy | top_k(k=40) | top_k(k=50) | repetition_penalty(penalty=1.2)",
         "greedy leaves one token, so top_k(k=40), top_k(k=50) and repetition_penalty after it can "
         "change nothing; leave them out"),
        # stages that keep the most likely token, before greedy
        ("top_p(p=0.9) | greedy", ANYWAY.format("top_p(p=0.9) changes", "greedy", "it")),
        ("temperature(t=0.5) | temperature(t=0)",
         ANYWAY.format("temperature(t=0.5) changes", "temperature(t=0)", "it")),
        ("ban(words=[1]) | top_k(k=40) | min_p(p=0.1) | greedy",
         ANYWAY.format("top_k(k=40) and min_p(p=0.1) change", "greedy", "them")),
        # a filter after equally likely tokens
        ("uniform | top_k(k=40) | min_p(p=0.1)",
         EQUAL.format("uniform", "top_k(k=40) and min_p(p=0.1)", "uniform")),
        ("temperature(t=inf) | top_k(k=40)",
         EQUAL.format("temperature(t=inf)", "top_k(k=40)", "temperature")),
        # samplers that adapt to the drawn tokens come last
        ("mirostat(tau=3) | temperature(t=0.7)",
         "mirostat(tau=3) adapts to the tokens drawn, and temperature(t=0.7) after it changes "
         "which are drawn; put mirostat last"),
        ("adaptive_p(target=0.4) | top_k(k=9)",
         "adaptive_p(target=0.4) adapts to the tokens drawn, and top_k(k=9) after it changes "
         "which are drawn; put adaptive_p last"),
        ("mirostat(tau=3) | temperature(t=0.7) | top_k(k=9)",
         "mirostat(tau=3) adapts to the tokens drawn, and temperature(t=0.7) and top_k(k=9) after "
         "it change which are drawn; put mirostat last"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence(expression, note):
    assert said(expression) == [note]


def test_several_mistakes_are_several_sentences():
    assert said("temperature(t=1.5) | top_p(p=0.9) | repetition_penalty(penalty=1.2)") == [
        HEAT.format("temperature(t=1.5)", "top_p(p=0.9)", "s"),
        "repetition_penalty after top_p(p=0.9)" + BACK.format("it"),
    ]


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
    half, min_p = "max_ratio(share=0.5)", sampler("min_p(p=0.6)")
    for chain, note in (
        (Heat() | MaxRatio(), HEAT.format("heat(heat=2)", half, "s")),
        (sampler("uniform") | MaxRatio(), EQUAL.format("uniform", half, "uniform")),
        (MaxRatio() | Lower(), f"lower after {half}" + BACK.format("it")),
        (MaxRatio() | sampler("greedy"), ANYWAY.format(f"{half} changes", "greedy", "it")),
        (min_p | MaxRatio(), NEVER.format(half, "min_p(p=0.6)")),
        (MaxRatio() | min_p, BEFORE.format(half, "min_p(p=0.6)")),
    ):
        assert lint(chain) == [note]


def test_a_sampler_that_fails_or_reads_the_past_gets_no_warning():
    class Fails(MaxRatio):
        def __call__(self, logits, context):
            raise RuntimeError("no good")

    class Reads(MaxRatio):
        reads = frozenset({"tokens"})

    class ReadsHeat(Heat):
        reads = frozenset({"tokens"})

    assert lint(ReadsHeat() | sampler("min_p(p=0.1)")) == []
    for unknown in (Fails(), Reads()):
        assert lint(unknown | sampler("top_k(k=3)") | unknown) == []
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
