"""corelm's samplers on the numbers of other engines' own tests.

The tables hold facts: input, parameters, expected result. A sampler is an expression, or an engine
and its settings, so that the tables hold the reading of settings too. The last tests have the
differences that where-engines-differ.md explains.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import corelm
from corelm import Context
from corelm.testing import ToyModel

PAGE = Path(__file__).parents[2] / "docs/how-to/where-engines-differ.md"


def built(sampler):
    """Return the sampler of an expression, or of an engine and its settings, every one of them."""
    if isinstance(sampler, str):
        return corelm.sampler(sampler)
    engine, values = sampler
    settings = corelm.from_settings(values, engine)
    assert not [*settings.unsupported, *settings.inexact, *settings.unknown]
    return settings.sampler


def distribution(sampler, probabilities, tokens=()):
    """Return the probabilities after a sampler, from the probabilities before."""
    with np.errstate(divide="ignore"):
        logits = np.log(probabilities)
    return corelm.sampling_distribution(built(sampler), logits, tokens or None)


def rescaled(probabilities, ids):
    """Return the distribution of some ids alone."""
    allowed = np.where(np.isin(np.arange(len(probabilities)), ids), probabilities, 0.0)
    return allowed / allowed.sum()


def listed(values, *samplers):
    """Return llama.cpp's settings with a list of samplers: by default the first key."""
    return "llama.cpp", {"samplers": samplers or [next(iter(values))], **values}


# ggml-org/llama.cpp, tests/test-sampling.cpp, 07e4038f: 43 vectors and 24 queues of filters.

RAMP, FIVE, QUARTERS = (0.1, 0.2, 0.3, 0.4), (0.2,) * 5, (0.25,) * 4
FALL, PEAK, FLAT = RAMP[::-1], (0.97, 0.01, 0.01, 0.01), (0.4, 0.2, 0.2, 0.2)
TOP, TOP_3 = (0, 0, 0, 1), (0, 0.22222, 0.33333, 0.44444)
TOP_2 = (0, 0, 0.428571, 0.571429)
BOTH = {"frequency_penalty": 5.0, "presence_penalty": 5.0}
STRETCH = {"dynatemp_range": 0.0, "dynatemp_exponent": 1.0}
DISTRIBUTIONS = [  # the sampler, probabilities, the context, probabilities afterwards
    *((listed({"temperature": t, **more}), RAMP, (), q)
      for t, q in ((1.0, RAMP), (0.0, TOP)) for more in ({}, STRETCH)),
    *((listed({"top_k": k}), RAMP, (), q) for k, q in ((1, TOP), (3, TOP_3), (4, RAMP), (0, RAMP))),
    *((listed({"top_p": p}), RAMP, (), q)
      for p, q in ((0, TOP), (0.7, TOP_2), (0.8, TOP_3), (1.0, RAMP))),
    *((listed({"min_p": p}), RAMP, (), q)
      for p, q in ((0.0, RAMP), (0.24, RAMP), (0.26, TOP_3), (0.49, TOP_3), (0.51, TOP_2),
                   (0.74, TOP_2), (0.76, TOP), (1.0, TOP), (1.05, TOP))),
    (listed({"typical_p": 0.5}), PEAK, (), (1, 0, 0, 0)),
    (listed({"typical_p": 0.5}), FLAT, (), (0, 1 / 3, 1 / 3, 1 / 3)),
    *((listed({"top_n_sigma": n}), RAMP, (), q) for n, q in ((1, TOP_2), (0, RAMP), (3, RAMP))),
    # Its coin of 0.99 falls on the cut; corelm mixes both outcomes.
    *((listed({"xtc_probability": 0.99, "xtc_threshold": threshold}, "xtc"),
       FALL, (), 0.99 * rescaled(FALL, range(first, 4)) + 0.01 * np.array(FALL))
      for threshold, first in ((0.09, 3), (0.19, 2), (0.29, 1), (0.39, 0))),
    *((listed({**values, "repeat_last_n": len(tokens)}, "penalties"), FIVE, tokens, after)
      for values, tokens, after in (
          ({"repeat_penalty": 50.0}, (0,), (0, *QUARTERS)),
          ({"repeat_penalty": 50.0}, (0, 1, 2), (0, 0, 0, 0.5, 0.5)),
          ({"repeat_penalty": 50.0}, (0, 1, 2, 0, 0), (0, 0, 0, 0.5, 0.5)),
          (BOTH, (0,), (0.000011, 0.249997, 0.249997, 0.249997, 0.249997)),
          (BOTH, (0, 1, 2), (0.000023, 0.000023, 0.000023, 0.499966, 0.499966)),
          (BOTH, (0, 1, 2, 0, 0), (0, 0.000023, 0.000023, 0.499977, 0.499977)))),
    *((f"dry(base=1.1, {parameters})", before, tokens, after)
      for parameters, before, tokens, after in (
          ("multiplier=1, last=4", QUARTERS, (0, 1), QUARTERS),
          ("multiplier=1, last=5", QUARTERS, (0, 1, 2, 0, 1),
           (0.296923, 0.296923, 0.109232, 0.296923)),
          ("multiplier=1, last=6, sequence_breakers=(3,)", FIVE, (0, 1, 3, 4, 0, 1), FIVE),
          ("multiplier=2, last=5", FIVE, (0, 1, 2, 0, 1),
           (0.241818, 0.241818, 0.032727, 0.241818, 0.241818)),
          ("multiplier=1, last=7, allowed_length=4", FIVE, (0, 1, 2, 3, 4, 0, 1), FIVE))),
    ("p_less", (0.1, 0.15, 0.2, 0.25, 0.3), (), (0, 0, 0, 0.45454545, 0.54545455)),
    ("p_less", FIVE, (), FIVE),
]  # fmt: skip
# The order, k, top-p, min-p, and the lowest of 10,000 ids that stays; id i has the weight i.
LETTERS = {"k": "top_k", "p": "top_p", "m": "min_p"}
WEIGHTS = np.array([-np.inf, *np.log(np.arange(1.0, 10000))])
IDS = [  # the sampler, logits, the context, and the ids that stay
    (listed({"top_k": k, "top_p": top_p, "min_p": min_p}, *(LETTERS[x] for x in order)),
     WEIGHTS, (), {*range(lowest, 10000)})
    for order, k, top_p, min_p, lowest in (
        ("k", 10000, 1, 1, 1), ("k", 1, 1, 1, 9999), ("k", 100, 1, 1, 9900),
        ("p", 10000, 1, 1, 1), ("p", 10000, 0, 1, 9999), ("p", 10000, 0.0003, 1, 9998),
        ("p", 10000, 0.8, 1, 4472), ("m", 10000, 1, 1, 9999), ("m", 10000, 1, 1e-12, 1),
        ("m", 10000, 1, 9997.9 / 9999, 9998), ("m", 10000, 1, 0.1, 1000),
        ("mp", 100, 0.8, 9997.9 / 9999, 9998), ("mp", 100, 0.8, 0.1, 4560),
        *((order, 100, 0.8, 0.1, 9920) for order in ("kp", "kpm", "kmp", "mkp")),
        *((order, 100, 0.8, 0.1, 9900) for order in ("km", "pk", "mk", "pkm", "pmk", "mpk")),
        ("pm", 100, 0.8, 0.1, 4472),
    )
]  # fmt: skip

# vllm-project/vllm, tests/v1/sample/test_dry.py, 0a357137: 13 windows with the penalty of each
# token; tests/v1/sample/test_sampler.py, 0c586818: 10 penalties, biases and filters.

FLOAT32 = float(np.float32(1.0000005))
WORKED = [1, 2, 3, 3, 2, 3, 9, 1, 2, 3]
LOGITS = [  # the sampler, logits, the context, the length of its prompt, changed logits
    *((f"dry({parameters})", [0.0] * 16, tokens, 0, changes)
      for parameters, tokens, changes in (
          ("multiplier=1, base=2, allowed_length=1", WORKED, {3: -4.0, 2: -1.0, 9: -2.0}),
          ("multiplier=1, base=2, allowed_length=1", [*WORKED, 3, 3], {3: -2.0, 2: -2.0, 9: -1.0}),
          ("multiplier=1, base=2", [0, 0, 0, 1, 0, 0], {0: -1.0, 1: -1.0}),
          ("multiplier=1, base=2, allowed_length=3", [1, 2, 3, 1, 2], {}),
          ("multiplier=1, base=2", [1, 2, 3, 1, 2], {3: -1.0}),
          ("multiplier=1, base=2", [7] * 6, {7: -8.0}),
          ("multiplier=1, base=2, sequence_breakers=(7,)", [7] * 6, {}),
          ("multiplier=1, base=2, sequence_breakers=(7,), allowed_length=1", [7] * 6, {}),
          ("multiplier=1, base=2, allowed_length=1", [], {}),
          ("multiplier=1, base=2, allowed_length=1", [5], {}),
          ("multiplier=1, base=2, allowed_length=1, last=4", [7] * 20, {7: -4.0}),
          ("multiplier=0.8, base=2, allowed_length=0", [7] * 200, {7: -0.8 * 2.0**128}),
          ("multiplier=1, base=1.0000005, allowed_length=0", [7] * 150, {7: -(FLOAT32**149)}))),
    *((("vllm", {"logit_bias": {"2": bias}}), [0.01] * 1024, [0], 1, {2: bias + 0.01})
      for bias in (-0.1, 1.2)),
]  # fmt: skip
DRAWN, SEEN, NEW = [4, 8, 8, 15, 15, 15], {4, 8, 15}, {0, 1, 2, 3, 5}
IDS += [(("vllm", {"min_p": p}), [10.0, *[0.01] * 1023], (), {*range(count)})
        for p, count in ((0.0, 1024), (0.1, 1))]  # fmt: skip


@pytest.mark.parametrize(
    ("values", "lowest", "highest"),  # the prompt is token 23
    [
        ({"presence_penalty": 2.0}, SEEN, {*NEW, 23}),
        ({"presence_penalty": -2.0}, {*NEW, 23}, SEEN),
        ({"frequency_penalty": 2.0}, {15}, NEW), ({"frequency_penalty": -2.0}, NEW, {15}),
        ({"repetition_penalty": 1.9}, {*SEEN, 23}, NEW),
        ({"repetition_penalty": 0.1}, NEW, {*SEEN, 23}),
    ],
)  # fmt: skip
def test_vllm_penalties(values, lowest, highest):
    context = Context.of([[23, *DRAWN]], prompt_length=1)
    after = built(("vllm", values))(np.full((1, 1024), 0.01), context)[0]
    assert after[[*lowest]].max() == after.min() < after.max() == after[[*highest]].min()


# huggingface/transformers, tests/generation/test_logits_process.py, 019af3ac: 53 cases. Without a
# counterpart here: rows that min_tokens_to_keep decides, encoder penalties, biases of sequences, an
# exponential bias of the end, prefix functions, and processors that need a second model.

MIXED = (0.15, 0.3, 0.3, 0.25)
DISTRIBUTIONS += [
    (sampler, before, (), rescaled(before, ids))
    for sampler, before, ids in (
        ("top_p(p=0.8)", (0.3, 0.1, 0.1, 0.5), [0, 3]), ("top_p(p=0.8)", MIXED, [1, 2, 3]),
        ("top_h(h=0.3)", PEAK, [0]), ("top_h(h=0.7)", FALL, [0, 1]),
        ("top_h(h=1)", QUARTERS, [0, 1, 2, 3]), ("top_h(h=0.4)", (0.75, 0.25, 0, 0), [0]),
        ("min_p(p=0.05)", (0.9, 0.0274, 0.047, 0.0274), [0, 2]),
        ("min_p(p=0.05)", MIXED, [0, 1, 2, 3]), ("min_p(p=0.05)", PEAK, [0]),
        ("typical(p=0.5)", PEAK, [0]), ("typical(p=0.5)", FLAT, [1, 2, 3]),
        ("epsilon(epsilon=0.1)", (0.87, 0.099, 0.001, 0.03), [0]),
        ("epsilon(epsilon=0.1)", (0.4, 0.299, 0.101, 0.2), [0, 1, 2, 3]),
        ("eta(epsilon=0.0625)", (0, 0.1, 0.8, 0.1), [1, 2, 3]),
        ("eta(epsilon=0.0625)", (0.01, 0.04, 0.9, 0.05), [2]),
    )
]  # fmt: skip
STEPS = np.arange(10.0)
IDS += [
    ("top_k(k=3)", STEPS, (), {7, 8, 9}),
    ("top_k(k=3)", STEPS + 10 * (STEPS < 5), (), {2, 3, 4}),
    ("top_k(k=3)", np.arange(5.0), (), {2, 3, 4}),
    ("top_p(p=0.9)", STEPS - 5, (), {7, 8, 9}),
    ("typical(p=0.7)", STEPS - 5, (), {8, 9}),
    ("epsilon(epsilon=0.05)", STEPS - 5, (), {7, 8, 9}),
    ("eta(epsilon=0.1)", STEPS - 5, (), {8, 9}),
    ("no_repeat_ngram(n=3)", STEPS, (1, 2, 5, 7, 8, 5, 1, 2), {0, 1, 2, 3, 4, 6, 7, 8, 9}),
    *((f"no_repeat_ngram(n={n})", [1 / 3] * 3, tokens, ids)
      for n, tokens, ids in (
          (2, (1, 1, 2, 1), {0}), (2, (0, 1, 0, 1), {1, 2}), (3, (1, 1, 2, 1), {0, 1, 2}),
          (3, (0, 1, 0, 1), {1, 2}), (3, (1, 2), {0, 1, 2}), (3, (0, 1), {0, 1, 2}))),
]  # fmt: skip
NEW_ONLY = "repetition_penalty(penalty=2, skip_prompt=True)"
LOGITS += [
    *((sampler, np.where(id == STEPS, logit, 0.1), tokens, 2, changes)
      for sampler, id, logit, tokens, changes in (
          ("repetition_penalty(penalty=2)", 0, -0.1, [0, 1], {0: -0.2, 1: 0.05}),
          ("repetition_penalty(penalty=2)", 5, 0.4, [5, 0], {0: 0.05, 5: 0.2}),
          (NEW_ONLY, 0, -0.1, [0, 1], {}), (NEW_ONLY, 5, 0.4, [5, 0], {}),
          (NEW_ONLY, 0, -0.1, [0, 1, 0, 1], {0: -0.2, 1: 0.05}),
          (NEW_ONLY, 5, 0.4, [5, 0, 5, 0], {0: 0.05, 5: 0.2}))),
    # Log-probabilities, with the penalty as a factor of those in the context.
    *((f"repetition_penalty(penalty={penalty}, normalised=True)",
       np.where(id == STEPS, logit, 0.1), tokens, 2,
       dict(enumerate(corelm.log_softmax(np.where(id == STEPS, logit, 0.1)[None])[0]
                      * np.where(np.isin(STEPS, tokens), penalty, 1))))
      for penalty, id, logit, tokens in (
          (2, 0, -0.1, [0, 1]), (2, 5, 0.4, [5, 0]), (0.5, 0, 0.5, [0, 1]))),
    ("force(words=(0,))", [0.05] * 20, [1], 1, dict.fromkeys(range(1, 20), -np.inf)),
    ("force(words=(0,))", [0.05] * 20, [1] * 4, 1, {}),
]  # fmt: skip


@pytest.mark.parametrize("ends", [(0,), (0, 18)])
@pytest.mark.parametrize("drawn", [0, 1, 2, 3, 10])
def test_transformers_minimum_of_new_tokens(drawn, ends):
    fields = {"vocabulary": SimpleNamespace(ends=ends), "vocabulary_size": 20}
    context = Context.of(np.ones(5 + drawn), prompt_length=5, **fields)
    after = built("min_length(n=3)")(np.full((1, 20), 0.05), context)
    assert (after[0, list(ends)] > -np.inf).tolist() == [drawn >= 3] * len(ends)


@pytest.mark.parametrize(("text", "impossible"), [("a b d b", "a b d"), ("a b a b", "a b c")])
def test_transformers_phrases(text, impossible):
    vocabulary = ToyModel([*"abcde"], end=False).vocabulary
    context = Context.of(vocabulary.encode(text), vocabulary=vocabulary)
    sampler = built("ban(words=('b', 'b a', 'a b c', 'b d b d'))")
    after = sampler(np.full((1, len(vocabulary)), 0.2), context)[0]
    assert vocabulary.decode(np.flatnonzero(after == -np.inf).tolist()) == impossible


@pytest.mark.engines("torch")
def test_transformers_green_list():
    sampler = built("green_list(key='15485863', scheme='transformers')")
    assert sampler(np.full((1, 20), 0.05), Context.of([10]))[0, 1] == pytest.approx(2.05)


# ml-explore/mlx-lm, tests/test_sample_utils.py, d78bf58e: 19 cases.

FAR, FIRST, SECOND = (0.9, 0, 0, 0.1), (1, 0, 0, 0), (0, 1, 0, 0)
LATE, TIED, WIDE = (0, 0.5, 0.4, 0.1), (0.4, 0.3, 0.15, 0.15), (0, 0.8, 0, 0.1)
DISTRIBUTIONS += [
    (("mlx-lm", {"temp": 1.0, **values}), before, (), after)
    for values, before, after in (
        ({"top_p": 0.3}, FAR, FIRST), ({"top_p": 0.95}, FAR, FAR), ({"top_p": 0.4}, LATE, SECOND),
        ({"top_p": 0.6}, LATE, (0, 0.5556, 0.4444, 0)), ({"top_p": 0.95}, LATE, LATE),
        ({"top_p": 0.5}, FAR, FIRST), ({"top_p": 0.5}, (0, 0.8, 0.1, 0.1), SECOND),
        ({"min_p": 0.8}, FAR, FIRST), ({"min_p": 0.05}, FAR, FAR), ({"min_p": 0.7}, FAR, FIRST),
        ({"min_p": 0.7}, WIDE, SECOND), ({"top_k": 1}, FAR, FIRST), ({"top_k": 1}, WIDE, SECOND),
        ({"top_k": 2}, (0.6, 0, 0.1, 0.3), (0.6667, 0, 0, 0.3333)),
        ({"xtc_probability": 0.0}, TIED, TIED),
    )
] + [("xtc(probability=1, threshold=0.2)", TIED, (), (0, 0.5, 0.25, 0.25))]  # fmt: skip
MIX = {"repetition_penalty": 1.5, "presence_penalty": 0.5, "frequency_penalty": 0.25}
LOGITS += [
    (("mlx-lm", {"temp": 1.0, **values}), before, [0, 0, 0, 1, 1], 5, changes)
    for values, before, changes in (
        ({"presence_penalty": 0.5}, [0] * 4, {0: -0.5, 1: -0.5}),
        ({"frequency_penalty": 0.5}, [0] * 4, {0: -1.5, 1: -1}),
        (MIX, [1, 0.5, 0, -0.5], {0: -0.5833, 1: -0.6667}),
    )
]


@pytest.mark.parametrize(("sampler", "before", "tokens", "prompt", "changes"), LOGITS)
def test_logits(sampler, before, tokens, prompt, changes):
    context = Context.of(tokens, prompt_length=prompt)
    after = built(sampler)(np.array([before], dtype=float), context)[0]
    expected = [changes.get(id, logit) for id, logit in enumerate(before)]
    assert after == pytest.approx(expected, rel=1e-6, abs=5e-5)


@pytest.mark.parametrize(("sampler", "before", "tokens", "after"), DISTRIBUTIONS)
def test_distributions(sampler, before, tokens, after):
    assert distribution(sampler, before, tokens) == pytest.approx(after, abs=5e-5)


# keras-team/keras-hub, keras_hub/src/samplers/*_sampler_test.py, 71453d08: 10 cases. Logits, no
# context, and ids of which the drawn ones are some.

FALLING, ONE = np.arange(26.0, 0, -1), 1e9 * (np.arange(26) == 0)
IDS += [
    *((name, ONE, (), {0}) for name in ("greedy", "stochastic", "top_k(k=5)", "top_p(p=0.1)")),
    *((name, FALLING, (), {0}) for name in ("greedy", "temperature(t=0.00001)")),
    ("temperature(t=0.000000001) | top_p(p=0.5)", FALLING, (), {0}),
    (corelm.presets()["keras-hub"], FALLING, (), {*range(5)}),
    ("top_k(k=5) | top_p(p=1)", FALLING, (), {*range(5)}),
    (f"top_p(p={2 / 26})", 1.0 * (np.arange(26) < 3), (), {0}),
]


@pytest.mark.parametrize(("sampler", "logits", "tokens", "ids"), IDS)
def test_possible_ids(sampler, logits, tokens, ids):
    after = corelm.sampling_distribution(built(sampler), logits, tokens or None)
    assert {*np.flatnonzero(after > 1e-12).tolist()} == ids


# google-deepmind/synthid-text, src/synthid_text/logits_processing_test.py, addb4a15: 5 cases, two
# of them in transformers too. Without a counterpart here: tournaments of three leaves.


def winners(size, n, key, texts):
    """Return the distributions of one layer over equal logits, for random contexts."""
    tokens = np.random.default_rng(0).integers(0, 10**9, (texts, n - 1))
    sampler = built(f"synthid(keys=({key},), context={n - 1})")
    return corelm.softmax(sampler(np.ones((texts, size)), Context.of(tokens, prompt_length=0)))


@pytest.mark.parametrize(
    ("size", "n", "tolerance"), [(2, 10, 0.01), (100, 5, 0.01), (100, 10, 0.02)]
)
def test_synthid_mean_of_the_winners_bits(size, n, tolerance):
    after = winners(size, n, 1, 4000)
    # Equal bits leave a row alone: in half of these rows they are ones.
    bits = np.where(np.ptp(after, axis=1, keepdims=True) < 1e-9, 0.5, after > 1 / size)
    assert (after * bits).sum(axis=1).mean() == pytest.approx(0.75 - 0.25 / size, abs=tolerance)


@pytest.mark.parametrize(("size", "tolerance"), [(2, 0.002), (10, 0.001)])
def test_synthid_leaves_the_distribution_alone_on_the_mean_over_keys(size, tolerance):
    keys = np.random.default_rng(1).integers(0, 10**9, 9).tolist()
    mean = np.mean([winners(size, 5, key, 4000).mean(axis=0) for key in keys], axis=0)
    assert mean == pytest.approx(1 / size, abs=tolerance)


COIN, THREE = "XTC: the coin", (1 / 3, 1 / 3, 1 / 3, 0, 0)
SPARED = (4 / 7, 0, 1.5 / 7, 1.5 / 7), (8 / 11, 0, 0, 3 / 11)


@pytest.mark.parametrize(
    ("sampler", "before", "theirs", "ours", "heading"),
    [
        ("top_k(k=3)", FIVE, FIVE, THREE, "Top-k: ties at the cut-off"),
        ("typical(p=0.5)", FIVE, FIVE, THREE, "Typical: ties, and the last token"),
        ("xtc(probability=1, threshold=0.1)", TIED, (0, 0, 0.5, 0.5), (0, 0, 0, 1), COIN),
        ("xtc(probability=1, threshold=0.1, special=(0,))", TIED, *SPARED, COIN),
    ],
)
def test_a_difference_is_explained(sampler, before, theirs, ours, heading):
    after = distribution(sampler, before)
    assert after == pytest.approx(ours)
    assert after != pytest.approx(theirs, abs=1e-3)
    assert f"\n## {heading}\n" in PAGE.read_text(encoding="utf-8")


def test_a_penalty_of_dry_beyond_float32_removes_nothing():
    sampler = built("dry(multiplier=1, base=2, allowed_length=0)")
    after = sampler(np.zeros((1, 16), dtype=np.float32), Context.of([7] * 200))
    assert after[0, 7] == np.finfo(np.float32).min  # minus infinity in vLLM and llama.cpp
