"""Random chains of llama.cpp's and corelm's samplers, in every order, against each stage alone."""

import ctypes
import random
from functools import partial

import numpy as np
import pytest

import corelm
from corelm import Sampler
from corelm.errors import SamplerError
from corelm.testing import g_test

pytest.importorskip("llama_cpp", reason="pip install llama-cpp-python")

import llama_cpp as llama
from corelm_llama_cpp import as_logits_processor, as_sampler

SIZE = 40
OF_LLAMA_CPP = {
    "top_k": lambda chance: llama.llama_sampler_init_top_k(chance.choice([0, 3, 8, 100])),
    "top_p": lambda chance: llama.llama_sampler_init_top_p(chance.choice([0.5, 0.9, 1.0]), 0),
    "min_p": lambda chance: llama.llama_sampler_init_min_p(chance.choice([0.01, 0.2]), 0),
    "typical": lambda chance: llama.llama_sampler_init_typical(chance.choice([0.4, 0.9]), 0),
    "temp": lambda chance: llama.llama_sampler_init_temp(chance.choice([0.5, 1.0, 1.7])),
    "temp_ext": lambda chance: llama.llama_sampler_init_temp_ext(1.0, 0.5, 1.0),
    "xtc": lambda chance: llama.llama_sampler_init_xtc(1.0, chance.choice([0.05, 0.2]), 0, 1),
    "top_n_sigma": lambda chance: llama.llama_sampler_init_top_n_sigma(chance.choice([0.7, 2.0])),
    "penalties": lambda chance: llama.llama_sampler_init_penalties(SIZE, 64, 1.3, 0.2, 0.4),
}
# None makes ties, of which llama.cpp takes those that come first.
OF_CORELM = [
    "temperature(t=0.5)", "temperature(t=1.0)", "top_k(k=5)", "top_k(k=1000)", "top_p(p=0.8)",
    "min_p(p=0.05)", "typical(p=0.7)", "ban(words=[3, 7])", "mirostat(tau=2.0)", "greedy",
    "xtc(probability=0.5, threshold=0.1)", "logit_bias(bias={2: 3.0, 9: -2.0})",
    "quadratic(factor=0.3)",
    "repetition_penalty(penalty=1.4)", "presence_penalty(penalty=0.6)", "top_n_sigma(n=1.0)",
    "stochastic", "dry(multiplier=0.8, allowed_length=1)",
]  # fmt: skip


def random_stages(chance):
    """Return the functions that make two to seven samplers, at least one of them corelm's."""
    makers = []
    for _ in range(chance.randint(2, 7)):
        if chance.random() < 0.5:
            makers.append((as_sampler, chance.choice(OF_CORELM)))
        else:
            makers.append((OF_LLAMA_CPP[chance.choice([*OF_LLAMA_CPP])], chance))
    if all(make is not as_sampler for make, _ in makers):
        makers.append((as_sampler, "temperature(t=0.05)"))
    # Each is made twice, with the same parameters.
    return [partial(made, maker, source, chance.random()) for maker, source in makers]


def made(maker, source, seed):
    if maker is as_sampler:
        return as_sampler(source, vocabulary=Ids())
    return maker(random.Random(seed))


def apply(sampler, records):
    """Return the (id, logit) pairs that a sampler leaves."""
    array = (llama.llama_token_data * len(records))(*((i, logit, 0) for i, logit in records))
    candidates = llama.llama_token_data_array(array, len(records), -1, False)
    llama.llama_sampler_apply(sampler, ctypes.byref(candidates))
    return [(each.id, each.logit) for each in candidates.data[: candidates.size]]


def distribution(records):
    row = np.full(SIZE, -np.inf)
    for token, logit in records:
        row[token] = logit
    return corelm.softmax(row)


def alone(stages, logits, tokens):
    """Return the candidates after each stage by itself, which always gets them in order."""
    records = list(enumerate(logits))
    for make in stages:
        stage = make()
        for token in tokens:
            llama.llama_sampler_accept(stage, token)
        records = sorted(apply(stage, records))
        llama.llama_sampler_free(stage)
    return records


def in_a_chain(stages, logits, tokens):
    chain = llama.llama_sampler_chain_init(llama.llama_sampler_chain_default_params())
    for make in stages:
        llama.llama_sampler_chain_add(chain, make())
    for token in tokens:
        llama.llama_sampler_accept(chain, token)
    records = apply(chain, list(enumerate(logits)))
    llama.llama_sampler_free(chain)
    return records


@pytest.mark.parametrize(
    "seeds", [range(100), pytest.param(range(100, 2000), marks=pytest.mark.slow)], ids=len
)
def test_random_chains_of_both_kinds_of_samplers(seeds):
    for seed in seeds:
        chance, rng = random.Random(seed), np.random.default_rng(seed)
        logits = (rng.normal(size=SIZE) * rng.uniform(0.5, 4)).astype(np.float32).tolist()
        tokens = rng.integers(0, SIZE, rng.integers(0, 9)).tolist()
        stages = random_stages(chance)
        # A candidate of minus infinity stays in the list, or does not.
        expected = distribution(alone(stages, logits, tokens))
        result = distribution(in_a_chain(stages, logits, tokens))
        assert np.flatnonzero(result).tolist() == np.flatnonzero(expected).tolist(), seed
        np.testing.assert_allclose(result, expected, atol=1e-5, err_msg=f"chain {seed}")


@pytest.mark.slow
def test_draws_of_a_coin_before_other_samplers_are_those_of_llama_cpp():
    """llama.cpp tosses its coin and goes on; a chain of corelm's mixes at its end."""
    logits = np.log([0.5, 0.2, 0.1, 0.08, 0.05, 0.04, 0.02, 0.01]).astype(np.float32)
    chain = llama.llama_sampler_chain_init(llama.llama_sampler_chain_default_params())
    for stage in (
        llama.llama_sampler_init_xtc(0.5, 0.07, 1, 1),
        llama.llama_sampler_init_temp(0.6),
        llama.llama_sampler_init_min_p(0.1, 1),
        llama.llama_sampler_init_dist(2),
    ):
        llama.llama_sampler_chain_add(chain, stage)
    array = (llama.llama_token_data * len(logits))(*((i, x, 0) for i, x in enumerate(logits)))
    counts = np.zeros(len(logits), int)
    for _ in range(60_000):
        copy = type(array).from_buffer_copy(array)
        candidates = llama.llama_token_data_array(copy, len(logits), -1, False)
        llama.llama_sampler_apply(chain, ctypes.byref(candidates))
        counts[candidates.data[candidates.selected].id] += 1
    llama.llama_sampler_free(chain)
    own = "xtc(probability=0.5, threshold=0.07) | temperature(t=0.6) | min_p(p=0.1)"
    p = corelm.sampling_distribution(own, logits)
    assert g_test(dict(enumerate(counts.tolist())), dict(enumerate(p.tolist()))) > 1e-3


@pytest.mark.parametrize("make", [as_sampler, as_logits_processor])
def test_a_coin_before_stages_of_llama_cpp_is_noted(make, caplog):
    coin = "xtc(probability=0.5) | temperature(t=0.7)"
    make(coin, seed=1)
    make("temperature(t=0.7)")
    assert not caplog.messages
    make(coin)
    [message] = caplog.messages
    assert "tosses a coin, and stages of llama.cpp after it act on the mixture" in message


def test_each_candidate_keeps_its_logit():
    stages = [lambda: llama.llama_sampler_init_top_k(4), lambda: as_sampler("temperature(t=0.5)")]
    assert dict(in_a_chain(stages, [0.0, 3.0, 1.0, 2.0], [])) == {0: 0.0, 1: 6.0, 2: 2.0, 3: 4.0}


class Ids:
    """A vocabulary of ids without words."""

    padding = unknown = start = None
    ends = ()

    def __len__(self):
        return SIZE


class Fails(Sampler):
    """Raise an error."""

    def __call__(self, logits, context):
        raise ValueError("no")


def test_an_error_is_raised_where_llama_cpp_returns(llm):
    stages = [lambda: llama.llama_sampler_init_top_k(4), lambda: as_sampler(Fails())]
    with pytest.raises(SamplerError, match="no"):
        in_a_chain(stages, [0.0, 1.0], [])
    llm.reset()
    llm.eval([4])
    own = as_sampler(Fails(), seed=1)
    with pytest.raises(SamplerError, match="no"):
        llama.llama_sampler_sample(own, llm.ctx, -1)
    own.free()
    processors = llama.LogitsProcessorList([as_logits_processor(Fails())])
    with pytest.raises(SamplerError, match="no"):
        llm("This movie", max_tokens=3, logits_processor=processors)
    # It is raised once.
    assert llm("This movie", max_tokens=1)["choices"]
