"""Every registered sampler draws what its definition says, and the same in any batch.

A new sampler is tested without a line here, unless its defaults change nothing or it needs
parameters: then it needs an example.
"""

from __future__ import annotations

import runpy
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from compiled_kernels import no_kernels
from draws import VOCABULARY, draws_of, example_logits, g_test
from small_models import numbered_words

import corelm
from corelm import Context, Sampler
from corelm.runs import Strategy, Texts, chain_stages, plugins
from corelm.testing import ToyModel

EXAMPLES = {
    "break_loop": "break_loop(words=('w2',))",
    "choice": "choice(words=('w5 w1 w5 w7 w1 w2', 'w5 w1 w5 w7 w1 w3 w4', 'w2 w3'))",
    "green_list": "green_list(key='a secret text')",
    "gumbel_max": "gumbel_max(key='a secret text')",
    "lark": "lark(grammar='start: /w[0-9]+( w[0-9]+)*/')",
    "regex": "regex(pattern='w[57]( w[0-9])*')",
    "synthid": "synthid(keys='a secret text')",
} | runpy.run_path(str(Path(__file__).parent / "samplers/sampler_examples.py"))["EXAMPLES"]
"""Samplers whose defaults change nothing, or that need parameters; the built-in ones
have theirs in a file of their own."""
FLAT = {"adaptive_p", "choice", "greedy", "gumbel_max", "min_k", "p_less", "uniform"}
"""Samplers that leave one token here, or almost equally likely ones."""
NAMES = sorted({offer.name for offer in plugins.registry().offers("corelm_samplers")})
ALPHA = 1e-6 / len(NAMES)  # Bonferroni's correction
WORDS = numbered_words(VOCABULARY, end=True)
TOKENS = [9, 4, 8, 4, 8, 10, 4]
"""A text that repeats itself, for penalties: two tokens of prompt, and five that were drawn."""
CONTEXT = Context.of(
    [TOKENS],
    prompt_length=2,
    surprisal=np.array([[np.nan, np.nan, 1.0, 3.0, 2.5, 0.5, 1.5]]),
    model_surprisal=np.array([[np.nan, np.nan, 1.5, 2.0, 2.5, 1.0, 1.0]]),
    vocabulary=WORDS,
)


@cache
def example(name: str) -> Sampler:
    sampler = corelm.sampler(EXAMPLES.get(name, name))
    assert not sampler.is_neutral or name == "stochastic", f"{name} needs an example"
    return sampler


def exact(sampler: Sampler, logits: np.ndarray) -> np.ndarray:
    """The distribution by the definitions alone, in double precision."""
    with no_kernels():
        return corelm.softmax(
            chain_stages.apply(sampler, logits[None, :].astype(np.float64), CONTEXT)
        )[0]


@cache
def drawn(name: str) -> np.ndarray:
    return draws_of(example(name), example_logits(), seed=7, context=CONTEXT)


@pytest.mark.parametrize("name", NAMES)
def test_the_draws_follow_the_definition(name):
    assert g_test(drawn(name), exact(example(name), example_logits())) > ALPHA


@pytest.mark.parametrize("name", sorted({*NAMES} - FLAT))
@pytest.mark.parametrize("t", [0.95, 1.05])
def test_a_temperature_five_percent_off_is_caught(name, t):
    p = exact(example(name), example_logits()) ** (1 / t)
    assert g_test(drawn(name), p / p.sum()) < ALPHA


@pytest.mark.parametrize("name", NAMES)
def test_a_token_too_few_or_too_many_is_caught(name):
    p = exact(example(name), example_logits())
    least = np.where(p > 1e-3, p, np.inf).argmin()
    fewer, more = p.copy(), p.copy()
    fewer[least], more[p.argmin()] = 0, p[least]
    with pytest.raises(AssertionError, match="probability zero was drawn"):
        g_test(drawn(name), fewer)
    assert g_test(drawn(name), more / more.sum()) < ALPHA


@pytest.mark.parametrize("name", NAMES)
def test_a_text_is_the_same_alone_and_in_a_batch(name):
    """And so on any number of workers, each of which draws some of the samples."""
    words = [*WORDS.words[3:20], "7"]  # a number is JSON
    model = ToyModel(words, np.random.default_rng(2).normal(0, 2, (21, 21)))
    sampler = corelm.sampler(EXAMPLES.get(name, name))

    def tokens(samples: tuple[int, ...]) -> dict[int, list[int]]:
        found: dict[int, list[int]] = {i: [] for i in samples}
        texts = Texts("w1 w2", Strategy(sampler), length=8, n=4, seed=5)
        for step in texts.steps(model, samples):
            for sample, token in zip(step.samples.tolist(), step.tokens.tolist(), strict=True):
                found[sample].append(token)
        return found

    together = tokens((0, 1, 2, 3))
    assert tokens((2, 3)) | tokens((0,)) | tokens((1,)) == together
