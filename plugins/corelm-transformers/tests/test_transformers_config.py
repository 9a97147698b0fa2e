"""A model's settings as a chain, and a chain as settings, against the engine's own processors."""

import json

import numpy as np
import pytest
import tiny_transformers  # noqa: F401 (skips without transformers)
import torch
from corelm_transformers import from_generation_config, to_generation_config
from tiny_transformers import ENGINE, TOKENIZER, tiny_model
from transformers import GenerationConfig, TopHLogitsWarper

import corelm
from corelm import CorelmError

SIZE = ENGINE.config.vocab_size

PAIRS = [
    ({}, "top_k(k=50)"),
    ({"top_k": 0, "suppress_tokens": [3, 4]}, "ban(words=(3, 4))"),
    ({"top_k": 0, "sequence_bias": {(7,): -2.0}}, "logit_bias(bias={7: -2.0})"),
    (
        {"min_p": 0.05, "temperature": 1.5, "top_k": 40, "repetition_penalty": 1.1, "top_p": 0.95},
        "repetition_penalty(penalty=1.1, last=0, skip_prompt=False, normalised=False) | "
        "temperature(t=1.5) | top_k(k=40) | top_p(p=0.95) | min_p(p=0.05)",
    ),
]


def distributions(config, logits, tokens):
    """Return what transformers draws from with some settings."""
    config._eos_token_tensor = torch.tensor([263])
    processors = ENGINE._get_logits_processor(
        config, input_ids_seq_length=tokens.shape[1], device="cpu"
    )
    scores = processors(torch.from_numpy(tokens), torch.from_numpy(logits.copy()))
    return torch.softmax(scores, -1).numpy()


@pytest.fixture(scope="module")
def cases():
    rng = np.random.default_rng(0)
    logits = (rng.normal(size=(50, SIZE)) * 3).astype(np.float32)
    return logits, rng.integers(0, SIZE, (50, 10))


@pytest.mark.parametrize(("settings", "expression"), PAIRS)
def test_settings_are_a_chain_in_the_order_of_the_engine(settings, expression, cases):
    config = ENGINE._prepare_generation_config(GenerationConfig(do_sample=True, **settings))[0]
    sampler = from_generation_config(config)
    assert str(sampler).startswith(expression)
    expected = distributions(config, *cases)
    found = corelm.sampling_distribution(sampler, *cases)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    "expression",
    [
        "temperature(t=0.7) | top_k(k=20) | top_p(p=0.9) | min_p(p=0.01) | typical(p=0.9)",
        "repetition_penalty(penalty=1.3) | no_repeat_ngram(n=1) | epsilon(epsilon=0.002)",
        "logit_bias(bias={3: 2.0}) | ban(words=[4, 5]) | eta(epsilon=0.01)",
        "stochastic",
        "top_p(p=0.9)",
    ],
)
def test_a_chain_as_settings_and_back(expression, cases):
    sampler = corelm.sampler(expression)
    config = ENGINE._prepare_generation_config(to_generation_config(sampler))[0]
    found = distributions(config, *cases)
    np.testing.assert_allclose(found, corelm.sampling_distribution(sampler, *cases), atol=1e-5)
    assert str(from_generation_config(config)) == str(sampler)


def test_settings_of_the_model_do_not_shine_through():
    engine = tiny_model(TOKENIZER)
    engine.generation_config = GenerationConfig(
        do_sample=True, top_p=0.5, min_p=0.3, repetition_penalty=2.0, temperature=0.1
    )
    merged = engine._prepare_generation_config(to_generation_config("top_k(k=3)"))[0]
    assert str(from_generation_config(merged)) == "top_k(k=3)"


def test_without_sampling_the_filters_do_not_act():
    config = GenerationConfig(repetition_penalty=1.5, temperature=0.5, top_p=0.9)
    chain = "repetition_penalty(penalty=1.5, last=0, skip_prompt=False, normalised=False) | greedy"
    assert str(from_generation_config(config)) == chain
    back = to_generation_config("repetition_penalty(penalty=1.5) | top_p(p=0.9) | greedy")
    assert back.do_sample is False
    assert back.repetition_penalty == 1.5
    assert back.top_p is None


def test_top_h_is_another_one_in_transformers(caplog):
    logits = torch.linspace(0, 3, 300)[None]
    theirs = torch.isfinite(TopHLogitsWarper(1.0)(None, logits)).sum()
    assert theirs <= 100
    ours = corelm.sampling_distribution(corelm.sampler("top_h(h=1)"), logits.numpy())
    assert (ours > 0).sum() == 300
    config = GenerationConfig(do_sample=True, top_k=0, top_h=0.5)
    assert str(from_generation_config(config)) == "stochastic"
    assert "settings without a counterpart in corelm: top_h" in caplog.text
    with pytest.raises(CorelmError, match="top_h"):
        to_generation_config("top_h(h=0.5)")


def test_settings_without_a_counterpart_are_named(caplog):
    from_generation_config(
        GenerationConfig(num_beams=4, min_length=9, bad_words_ids=[[1, 2]], guidance_scale=1.5)
    )
    [record] = [r for r in caplog.records if r.name == "corelm.transformers"]
    assert record.getMessage() == (
        "settings without a counterpart in corelm: "
        "bad_words_ids, guidance_scale, min_length, num_beams"
    )
    caplog.clear()
    from_generation_config(GenerationConfig(max_new_tokens=9, use_cache=False, num_beams=1))
    assert not [r for r in caplog.records if r.name == "corelm.transformers"]


def test_it_reads_files_and_folders(tmp_path):
    file = tmp_path / "generation_config.json"
    file.write_text(json.dumps({"do_sample": True, "top_p": 0.8, "temperature": 0.7, "top_k": 20}))
    expected = "temperature(t=0.7) | top_k(k=20) | top_p(p=0.8)"
    assert str(from_generation_config(tmp_path)) == expected
    assert str(from_generation_config(str(file))) == expected
    to_generation_config("min_p(p=0.1)").save_pretrained(tmp_path)
    assert str(from_generation_config(file)) == "min_p(p=0.1)"


def test_a_name_that_is_nowhere(monkeypatch):
    with pytest.raises(CorelmError, match="cannot read the settings in no/such-model"):
        from_generation_config("no/such-model")


def test_every_field_of_transformers_is_known_and_none_is_invented():
    """No field is unknown to corelm, and corelm writes and reads no field that is not there."""
    fields = vars(GenerationConfig()).keys()
    assert corelm.from_settings(dict.fromkeys(fields, None), "transformers").unknown == ()
    assert corelm.to_settings("stochastic", "transformers").keys() <= fields


def test_what_switches_a_sampler_off_is_the_default_of_transformers():
    """All but `do_sample`, which is off there, and `top_k`, which keeps 50 tokens."""
    defaults = GenerationConfig._get_default_generation_params()
    off = corelm.to_settings("stochastic", "transformers")
    shared = off.keys() & defaults.keys() - {"do_sample", "top_k"}
    assert len(shared) == 9
    assert {name: off[name] for name in shared} == {name: defaults[name] for name in shared}
    assert (defaults["do_sample"], defaults["top_k"]) == (False, 50)
