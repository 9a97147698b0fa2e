"""Samplers in KerasHub's loop: distributions, rows, errors; on the backend of this process."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

keras_hub = pytest.importorskip("keras_hub", reason="pip install keras-hub")

import keras  # noqa: E402
import tiny_keras_hub  # noqa: E402
from corelm_keras_hub import KerasHubModel, as_sampler  # noqa: E402
from engine_samplers import Fails  # noqa: E402
from keras import ops  # noqa: E402

import corelm  # noqa: E402
from corelm.errors import UnknownNameError, UsageError  # noqa: E402
from corelm.interop.testing import SAMPLERS, check_draws  # noqa: E402

VOCABULARY = 50


@pytest.fixture(scope="module")
def causal_lm():
    return tiny_keras_hub.gpt2()


def drive(sampler, logits, prompt, mask=None, **options):
    """Run a sampler in KerasHub's loop on logits (time, batch, vocabulary); return its ids and the
    probabilities that each step draws from."""
    seen = []
    draw = sampler.get_next_token

    def get_next_token(probabilities):
        seen.append(ops.convert_to_numpy(probabilities))
        return draw(probabilities)

    sampler.get_next_token = get_next_token

    def next(prompt, cache, index):
        return ops.convert_to_tensor(logits[int(index)]), None, cache

    ids = sampler(next, ops.convert_to_tensor(prompt), mask=mask, **options)
    return ops.convert_to_numpy(ids), seen


def test_without_a_seed_keras_hub_draws_from_the_distribution_of_the_sampler():
    if keras.backend.backend() == "jax":
        pytest.skip("JAX traces the loop, so its values cannot be seen")
    logits = np.random.default_rng(0).normal(size=(6, 3, VOCABULARY)).astype(np.float32) * 3
    prompt = np.ones((3, 6), np.int32)
    for expression in (each for each in SAMPLERS if "mirostat" not in each):
        sampler = corelm.sampler(expression)
        ids, seen = drive(as_sampler(expression), logits, prompt, index=2)
        assert len(seen) == 4
        for time, found in enumerate(seen, 2):
            expected = corelm.sampling_distribution(sampler, logits[time], ids[:, :time])
            np.testing.assert_allclose(found, expected, atol=1e-6)
        assert all(seen[t - 2][i, ids[i, t]] > 0 for i in range(3) for t in range(2, 6))


def test_the_draws_follow_the_distribution():
    def draw(logits, sampler):
        keras.utils.set_random_seed(1)
        rows = np.tile(logits, (2, 20_000, 1))
        prompt = np.ones((20_000, 2), np.int32)
        return drive(as_sampler(sampler), rows, prompt, index=1)[0][:, 1]

    check_draws(draw)


def test_keras_hub_draws_with_its_own_seed_generator(causal_lm):
    texts = set()
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        causal_lm.compile(sampler=as_sampler("temperature(t=0.9)"), jit_compile=False)
        texts.add(causal_lm.generate("the", max_length=12))
    assert len(texts) == 2


def test_a_text_that_is_continued_is_a_prompt(causal_lm):
    """The second generation of one compiled function knows nothing of the first."""
    model = KerasHubModel(causal_lm)
    causal_lm.compile(sampler=as_sampler("min_p(p=0.1)", seed=3), jit_compile=False)
    cat = causal_lm.generate("the cat", max_length=8)
    prompt = cat[: len("the cat") + 1]
    length = 11 - len(model.vocabulary.encode(prompt))
    [expected] = corelm.generate(model, prompt, sampler="min_p(p=0.1)", length=length, seed=3)
    found = causal_lm.generate(prompt, max_length=12)
    assert found.rstrip("\N{REPLACEMENT CHARACTER}").startswith(prompt + expected.text)


ENDS = [*range(1, 250, 7), 261]


@pytest.mark.parametrize(
    "expression",
    [
        "min_length(n=6)",
        "length_bias(weight=2.0, start=3)",
        "xtc(probability=1.0, threshold=0.02, special='end')",
    ],
)
def test_every_stop_token_is_an_end(causal_lm, expression):
    model = KerasHubModel(causal_lm, ends=[*ENDS, -1, 10**6])
    assert set(model.vocabulary.ends) == set(ENDS)
    inputs = causal_lm.preprocessor.generate_preprocess(["the"] * 12, sequence_length=12)
    length = 11 - len(model.vocabulary.encode("the"))
    causal_lm.compile(sampler=as_sampler(expression, seed=3), jit_compile=False)
    outputs = causal_lm.make_generate_function()(inputs, stop_token_ids=ENDS)
    ids, mask = (ops.convert_to_numpy(outputs[name]) for name in ("token_ids", "padding_mask"))
    found = [
        row[-length:][kept[-length:].astype(bool)].tolist()
        for row, kept in zip(ids, mask, strict=True)
    ]
    options = {"sampler": expression, "seed": 3, "length": length, "n": 12}
    assert found == [text.tokens for text in corelm.generate(model, "the", **options)]
    if "min_length" in expression:
        assert min(map(len, found)) > 6


def test_the_sampler_is_saved_with_its_expression_and_seed():
    sampler = as_sampler("top_k(k=4) | temperature(t=0.5)", seed=9)
    config = keras.saving.serialize_keras_object(sampler)
    again = keras.saving.deserialize_keras_object(config)
    assert (again.sampler, again.seed) == (sampler.sampler, 9)


def test_bad_samplers_and_seeds_are_refused_before_the_model_is_compiled():
    with pytest.raises(UnknownNameError, match="there is no sampler 'top_q'"):
        as_sampler("top_q(p=0.5)")
    with pytest.raises(UsageError, match="the seed must be a whole number of at least 0, not -1"):
        as_sampler("top_p", seed=-1)


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="only TensorFlow has no callback"
)
@pytest.mark.filterwarnings("ignore")
def test_a_loop_compiled_with_xla_runs_portable_samplers_only(causal_lm):
    model, expression = KerasHubModel(causal_lm), "min_p(p=0.02) | temperature(t=0.8)"
    causal_lm.compile(sampler=as_sampler(expression, seed=7), jit_compile=True)
    found = causal_lm.generate(["the", "a cat"], max_length=10)
    for i, prompt in enumerate(["the", "a cat"]):
        length = 9 - len(model.vocabulary.encode(prompt))
        texts = corelm.generate(model, prompt, sampler=expression, length=length, n=2, seed=7)
        assert (
            model.vocabulary.decode(model.vocabulary.encode(prompt) + texts[i].tokens) == found[i]
        )
    causal_lm.compile(sampler=as_sampler("mirostat(tau=3.0)"), jit_compile=True)
    with pytest.raises(Exception, match=r"it reads the .*surprisal.* of a text; compile .*=False"):
        causal_lm.generate("the", max_length=10)


def test_the_preset_is_the_default_sampler_of_keras_hub(monkeypatch):
    """The distribution that TopKSampler draws from, seen through the function that draws."""
    compile_options = inspect.signature(keras_hub.models.CausalLM.compile).parameters
    default = keras_hub.samplers.get(compile_options["sampler"].default)
    logits = np.random.default_rng(1).normal(size=(1000, VOCABULARY)).astype(np.float32) * 4
    probabilities = default.compute_probabilities(ops.convert_to_tensor(logits))
    found = np.zeros(logits.shape)
    for rank in range(default.k):
        drawn = []

        def categorical(logits, *args, rank=rank, drawn=drawn, **options):
            drawn.append(ops.convert_to_numpy(logits))
            return ops.full((len(logits), 1), rank, dtype="int32")

        monkeypatch.setattr(keras.random, "categorical", categorical)
        tokens = ops.convert_to_numpy(default.get_next_token(probabilities))
        found[np.arange(1000), tokens] = corelm.softmax(drawn[0])[:, rank]
    expected = corelm.sampling_distribution(corelm.preset("keras-hub"), logits)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("seed", [None, 7])
def test_an_error_of_a_sampler_reaches_the_user(seed, causal_lm):
    causal_lm.compile(sampler=as_sampler(Fails(), seed=seed))
    with pytest.raises(Exception, match="no third token"):
        causal_lm.generate("the", max_length=10)
