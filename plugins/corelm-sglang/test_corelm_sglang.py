"""corelm's samplers in SGLang, on stand-ins of its documented interfaces."""

from __future__ import annotations

import importlib
import json
import pickle
import sys
import weakref
from importlib.util import find_spec
from types import ModuleType, SimpleNamespace

import corelm_sglang
import numpy as np
import pytest

import corelm
from corelm.interop.testing import check_draws, tiny_tokenizer
from corelm.testing import ToyModel

torch = pytest.importorskip("torch", reason="pip install torch")

SAMPLERS = [
    "top_k(k=3) | temperature(t=0.7)",
    "mirostat(tau=3.0)",
    "repetition_penalty(penalty=1.5)",
    "min_p(p=0.05) | adaptive_p(target=0.3)",
]
MODEL = ToyModel(end=False)
PICKLE = importlib.import_module("dill") if find_spec("dill") else pickle
"""SGLang uses dill, which reads what pickle wrote."""


class Request:
    """The fields of SGLang's `Req` that a processor reads."""

    def __init__(self, rid, tokens, tokenizer=None, ends=(), **params):
        self.rid, self.origin_input_ids, self.output_ids = rid, list(tokens), []
        self.tokenizer, self.eos_token_ids = tokenizer, set(ends)
        others = {"stop_token_ids": None, "ignore_eos": False, "logit_bias": None}
        self.sampling_params = SimpleNamespace(**others | params)


@pytest.fixture
def processor(monkeypatch):
    """The module of the processor, with a stand-in of SGLang's base class."""

    class CustomLogitProcessor:
        @classmethod
        def from_str(cls, text):
            return PICKLE.loads(bytes.fromhex(json.loads(text)["callable"]))()

    names = ("sglang", "sglang.srt", "sglang.srt.sampling")
    for name in (*names, "sglang.srt.sampling.custom_logit_processor"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    module = sys.modules["sglang.srt.sampling.custom_logit_processor"]
    module.CustomLogitProcessor = CustomLogitProcessor
    monkeypatch.delitem(sys.modules, "corelm_sglang.processor", raising=False)
    loaded = importlib.import_module("corelm_sglang.processor")
    yield loaded
    monkeypatch.delitem(sys.modules, "corelm_sglang.processor", raising=False)


def step(processor, rows, logits):
    """Return the logits of a step, as SGLang calls a processor that it has just made."""
    made = processor.CustomLogitProcessor.from_str(corelm_sglang.PROCESSOR)
    params = [
        None if params is None else {**params["custom_params"], "__req__": weakref.proxy(request)}
        for request, params in rows
    ]
    return made(torch.tensor(np.array(logits), dtype=torch.float32), params)


def logits_of(request):
    """Return the toy model's logits as an engine has them, its padding impossible."""
    text = np.array([[*request.origin_input_ids, *request.output_ids]])
    logits = MODEL.start(text).next_logits()[0].astype(np.float32)
    logits[[MODEL.vocabulary.padding, MODEL.vocabulary.unknown]] = -np.inf
    return logits


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_texts_are_those_of_generate(processor, sampler):
    prompts = ["the", "a cat", "the cat sat"]
    requests = [Request(f"{sampler}{i}", MODEL.vocabulary.encode(p)) for i, p in enumerate(prompts)]
    rows = [(r, corelm_sglang.sampling_params(sampler, seed=i)) for i, r in enumerate(requests)]
    for turn in range(8):
        rows = [rows[-1], *rows[:-1]] if turn % 2 else rows
        found = step(processor, rows, [logits_of(request) for request, _ in rows])
        for (request, _), row in zip(rows, found, strict=True):
            request.output_ids.append(int(row.argmax()))
    for seed, (request, prompt) in enumerate(zip(requests, prompts, strict=True)):
        [text] = corelm.generate(MODEL, prompt, sampler=sampler, length=8, seed=seed)
        assert request.output_ids == text.tokens


def test_without_a_seed_the_distribution_is_the_samplers(processor):
    request = Request("one", [3])
    params = corelm_sglang.sampling_params("top_k(k=3) | temperature(t=0.7)")
    logits = np.random.default_rng(0).normal(0, 3, 40).astype(np.float32)
    found = torch.softmax(step(processor, [(request, params)], [logits])[0], -1).numpy()
    sampler = corelm.sampler("top_k(k=3) | temperature(t=0.7)")
    np.testing.assert_allclose(found, corelm.sampling_distribution(sampler, logits), atol=1e-6)


@pytest.mark.slow
def test_the_draws_of_a_seed_follow_the_distribution(processor):
    def draw(logits, sampler):
        for seed in range(200):
            request = Request(f"{sampler}{seed}", [3])
            params = corelm_sglang.sampling_params(sampler, seed)
            for _ in range(100):
                token = int(step(processor, [(request, params)], [logits])[0].argmax())
                request.output_ids.append(token)
                yield token

    check_draws(draw)


def test_words_are_those_of_the_requests_tokenizer(processor):
    tokenizer = tiny_tokenizer()
    *before, cat = tokenizer.encode("cat", add_special_tokens=False)
    params = corelm_sglang.sampling_params("ban(words=('cat',))")
    rows = [(Request("words", before, tokenizer, ends=[1]), params)]
    found = step(processor, rows, [np.zeros(len(tokenizer))])[0]
    assert np.flatnonzero(found == -np.inf).tolist() == [cat]


@pytest.mark.parametrize(
    ("fields", "never"),
    [
        ({}, [0, 264, 265]),
        ({"stop_token_ids": {0}}, [264, 265]),
        ({"logit_bias": {"0": 1.0}}, [264, 265]),
    ],
)
def test_tokens_that_are_never_drawn_here_are_never_drawn_there(processor, fields, never):
    tokenizer = tiny_tokenizer(pad_token="!")
    params = corelm_sglang.sampling_params("temperature(t=0.5)")
    request = Request(f"never{fields}", [3], tokenizer, **fields)
    found = step(processor, [(request, params)], [np.zeros(266)])[0]
    assert np.flatnonzero(found == -np.inf).tolist() == never


@pytest.mark.parametrize(
    ("fields", "ends"),
    [
        ({"ends": [5]}, [5, 263]),
        ({"ends": [5], "stop_token_ids": {7}}, [5, 7, 263]),
        ({"ends": [5], "stop_token_ids": {7}, "ignore_eos": True}, []),
    ],
)
def test_every_end_of_a_request_is_an_end(processor, fields, ends):
    request = Request(f"ends{fields}", [3], tiny_tokenizer(), **fields)
    params = corelm_sglang.sampling_params("min_length(n=6)")
    found = step(processor, [(request, params)], [np.zeros(264)])[0]
    assert np.flatnonzero(found == -np.inf).tolist() == ends


def test_requests_without_corelm_and_those_that_fail_are_left_alone(processor, caplog):
    others = [Request("a", [3]), Request("b", [3]), Request("c", [3])]
    wrong = {"custom_params": {"sampler": "nope"}}
    rows = [(others[0], None), (others[1], {"custom_params": {}}), (others[2], wrong)]
    logits = np.random.default_rng(0).normal(0, 1, (3, 9)).astype(np.float32)
    for _ in range(2):
        assert np.array_equal(step(processor, rows, logits).numpy(), logits)
    assert [record.message[:36] for record in caplog.records] == [
        "corelm leaves request c to SGLang: t"
    ]


def test_drafts_are_for_samplers_that_read_logits_only(processor, caplog):
    request = Request("draft", [3])
    logits = np.random.default_rng(0).normal(0, 1, (2, 9)).astype(np.float32)
    simple = corelm_sglang.sampling_params("top_k(k=1)")
    found = step(processor, [(request, simple)] * 2, logits)
    assert ((found > -np.inf).sum(-1) == 1).all()
    reading = corelm_sglang.sampling_params("repetition_penalty(penalty=2)")
    step(processor, [(Request("reads", [3]), reading)] * 2, logits)
    assert "switch speculative decoding off" in caplog.text


def test_the_request_carries_a_name_and_an_expression_and_no_code():
    held = bytes.fromhex(json.loads(corelm_sglang.PROCESSOR)["callable"])
    assert held == b"ccorelm_sglang.processor\nSamplerProcessor\n."
    params = corelm_sglang.sampling_params("min_p(0.05)")
    assert json.loads(json.dumps(params))["custom_params"] == {"sampler": "min_p(p=0.05)"}


@pytest.mark.parametrize(
    ("sampler", "seed", "message"),
    [("nope", None, "there is no sampler"), ("greedy", -1, "seed must be a whole number of at")],
)
def test_a_wrong_request_is_refused_by_the_client(sampler, seed, message):
    with pytest.raises(corelm.CorelmError, match=message):
        corelm_sglang.sampling_params(sampler, seed)
