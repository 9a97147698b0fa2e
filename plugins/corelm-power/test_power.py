"""Power sampling: the distribution of whole texts, against the list of all of them."""

import logging
from collections import Counter

import numpy as np
import pytest
from corelm_power import Power

import corelm
from corelm import RandomStream
from corelm.testing import ToyModel, g_test, obeys_the_laws, text_probabilities

A, B, C, D = 3, 4, 5, 6


@obeys_the_laws(Power(), Power(alpha=0.5, block=1, moves=3), Power(moves=0))
def test_law(decoder, law):
    law(decoder)


def random_model():
    return ToyModel(["a", "b", "c"], np.random.default_rng(3).normal(size=(6, 6)) * 1.2)


def texts(model, decoder, sampler="stochastic", length=3, samples=64, seed=1, prompt="a"):
    """The tokens of the texts, without the measurements of `corelm.generate`."""
    ids = np.array(model.vocabulary.encode(prompt))
    stream = RandomStream(seed, range(samples))
    results = [() for _ in range(samples)]
    for step in decoder(corelm.DecodingTask(model, ids, corelm.sampler(sampler), stream, length)):
        for sample, token in zip(step.samples, step.tokens.tolist(), strict=True):
            results[sample] += (token,)
    return results


def p_value(model, decoder, alpha, seeds=12, **options):
    """Test the counts of texts against p^alpha, for which every text is listed and weighed."""
    sampler, length = options.get("sampler", "stochastic"), options.get("length", 3)
    p = text_probabilities(model, "a", sampler=sampler, length=length)
    total = sum(q**alpha for q in p.values())
    counts = Counter(
        t for seed in range(seeds) for t in texts(model, decoder, seed=seed, **options)
    )
    return g_test(counts, {text: q**alpha / total for text, q in p.items()})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sampler", "alpha", "block", "moves"),
    [
        ("stochastic", 2, 2, 25),
        ("stochastic", 2, 3, 25),
        ("stochastic", 4, 3, 150),
        ("stochastic", 1, 3, 5),
        ("stochastic", 0.5, 3, 8),
        ("repetition_penalty(penalty=1.5)", 2, 3, 25),
        ("mirostat", 2, 2, 25),
    ],
)
def test_the_texts_have_the_probability_p_to_the_alpha(sampler, alpha, block, moves):
    decoder = Power(alpha=alpha, block=block, moves=moves)
    assert p_value(random_model(), decoder, alpha, sampler=sampler) > 1e-3


def test_the_first_token_of_a_vocabulary_may_end_a_text():
    model = random_model()
    model.vocabulary.ends = (0, *model.vocabulary.ends)  # as in SmolLM2
    assert all(texts(model, Power(), length=2, samples=4))


def test_without_moves_the_counts_are_others():
    assert p_value(random_model(), Power(alpha=2, moves=0), 2) < 1e-6


@pytest.mark.slow
def test_an_unlikely_token_that_leads_to_likely_ones():
    """The text c d has 0.4; b c and b d have 0.3 each. A low temperature would begin with b."""
    logits = np.full((7, 7), -np.inf)
    logits[:, D] = 0.0
    logits[A, [B, C, D]] = np.log([0.6, 0.4, 1e-300])
    logits[B, [C, D]] = np.log([0.5, 0.5])
    model = ToyModel(["a", "b", "c", "d"], logits)
    results = Counter(texts(model, Power(alpha=4, moves=60), length=2, samples=400))
    # 0.4^4 = 0.0256 against 0.3^4 = 0.0081 twice
    expected = {(C, D): 256 / 418, (B, C): 81 / 418, (B, D): 81 / 418}
    assert g_test(results, expected) > 1e-3
    assert results[C, D] > results[B, C] + results[B, D]


def test_the_model_calls_and_moves_are_reported(caplog):
    model = ToyModel(["a", "b"], np.log([1, 1, 0.5, 0.5]), end=False)
    with caplog.at_level(logging.INFO, "corelm"):
        texts(model, Power(block=2, moves=1), length=4, samples=2)
    [record] = caplog.records
    common, stops = RandomStream(1, [0]), (2, 4)
    used, calls = 0, 8  # four tokens of two texts, then one move after two and one after four
    for stop in stops:
        used += 2
        start = int(common.at(used)[0] * stop)
        calls += 2 * (stop - start)
        used += 2 + stop - start
    assert record.getMessage() == (
        f"power: 8 tokens from {calls} calls of the model, {calls / 8:.1f} a token; "
        "4 of 4 moves were accepted (100 %)"
    )
