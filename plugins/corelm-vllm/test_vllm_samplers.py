"""The real vLLM writes the texts of `corelm.generate`, with every sampler and its own settings."""

import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from corelm_replay import Receipt, TokenLog, record, verify

import corelm
from corelm.cli.output.describe import example
from corelm.registry.registry import registry
from corelm.testing import g_test

pytestmark = [
    pytest.mark.engines("vllm"),
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),
]
sys.path.insert(0, str(Path(__file__).parent))
from vllm_on_cpu import MODEL, engine, expected, export, is_rounding, params, tokens  # noqa: E402

PROMPTS = ["This movie", "I have never seen a film that", "The"]
GRAMMARS = ("choice", "json_schema", "lark", "regex")
PEAKED = "top_k(k=5) | temperature(t=0.7)"

FAILING = """
from corelm import Sampler, hookimpl


class Failing(Sampler):
    def __call__(self, logits, context):
        if context.position >= 3:
            raise ZeroDivisionError("this plugin fails at the fourth token")
        return logits


@hookimpl
def corelm_samplers():
    return {"failing": Failing}
"""


def samplers():
    """Return an expression of each installed sampler but the grammars, and chains."""
    offers = [offer for offer in registry().offers("corelm_samplers") if offer.name not in GRAMMARS]
    each = [str(example(offer.value, offer.name)) for offer in offers]
    return [*each, "uniform | top_k(k=20)", "repetition_penalty(penalty=1.2) | min_p(p=0.02)"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return export(tmp_path_factory.mktemp("vllm") / "gpt2")


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    return tmp_path_factory.mktemp("records") / "tokens.jsonl"


@pytest.fixture(scope="module")
def llm(folder, records):
    with engine(folder, additional_config={"corelm_records": str(records)}) as llm:
        yield llm


def test_every_sampler_writes_the_texts_of_generate(llm):
    asked = [(sampler, p, s) for sampler in samplers() for s in (1, 2) for p in PROMPTS]
    requests = [params(sampler, seed) for sampler, _, seed in asked]
    found = tokens(llm.generate([prompt for _, prompt, _ in asked], requests, use_tqdm=False))
    other = [
        (request, text, own)
        for request, text in zip(asked, found, strict=True)
        if text != (own := expected(*request))
    ]
    assert [each for each in other if not is_rounding(*each[0], *each[1:])] == []
    print(f"{len(asked) - len(other)} of {len(asked)} texts are the same")
    assert len(other) <= len(asked) // 100
    assert len(asked) >= 6 * 30


def test_without_a_seed_vllm_draws_from_the_sampler(llm):
    """One token after a prompt, 2,000 times; the counts rule out a temperature that is 10 % off."""
    sampler = "top_k(k=6) | temperature(t=1.5)"
    requests = params(sampler, max_tokens=1, n=64)
    outputs = llm.generate(["This movie"] * 32, requests, use_tqdm=False)
    counts = Counter((text.token_ids[0],) for each in outputs for text in each.outputs)
    assert counts.total() == 2048

    def exact(chain):
        prompt = np.array([MODEL.vocabulary.encode("This movie")])
        p = corelm.sampling_distribution(corelm.sampler(chain), MODEL.start(prompt).next_logits())
        return {(token,): float(p[0, token]) for token in np.flatnonzero(p[0]).tolist()}

    assert g_test(counts, exact(sampler)) > 1e-6
    assert g_test(counts, exact("top_k(k=6) | temperature(t=1.2)")) < 1e-6


def test_the_samples_of_a_request_are_the_samples_of_generate(llm):
    request = params("temperature(t=1.3)", 7, n=3)
    for _ in range(2):  # one object for two calls
        [output] = llm.generate(["This movie"], request, use_tqdm=False)
        texts = corelm.generate(
            MODEL, "This movie", sampler="temperature(t=1.3)", length=24, seed=7, n=3
        )
        found = [list(each.token_ids) for each in output.outputs]
        assert found == [list(text.tokens) for text in texts]
        assert len({tuple(text) for text in found}) == 3


def test_a_stop_text_ends_the_text_where_generate_has_it(llm):
    whole = expected("temperature(t=0.8)", "The", 3, length=40)
    stop = MODEL.vocabulary.decode(whole[8:10]).strip()
    [output] = llm.generate(
        ["The"], params("temperature(t=0.8)", 3, max_tokens=40, stop=[stop]), use_tqdm=False
    )
    [own] = corelm.generate(
        MODEL, "The", sampler="temperature(t=0.8)", length=40, seed=3, stop=[stop]
    )
    [text] = output.outputs
    assert (text.finish_reason, text.stop_reason) == ("stop", stop)
    assert text.text == own.text
    assert 0 < len(text.token_ids) < 40


@pytest.mark.parametrize("sampler", [PEAKED, "min_length(n=30) | temperature(t=1.2)"])
def test_stop_tokens_end_the_text_and_samplers_know_them(llm, sampler):
    whole = expected(PEAKED, "The", 3, length=40)
    [output] = llm.generate(
        ["The"], params(sampler, 3, max_tokens=40, stop_token_ids=[whole[8]]), use_tqdm=False
    )
    [text] = tokens([output])
    if sampler == PEAKED:
        assert text == whole[: whole.index(whole[8]) + 1]
    else:
        assert len(text) > 30
        assert whole[8] not in text[:30]


def test_ignore_eos_goes_on_and_the_end_is_an_ordinary_token(llm):
    sampler = "logit_bias(bias={1: 8.0}) | temperature(t=0.8)"
    ended, going = llm.generate(
        ["The", "The"], [params(sampler, 3), params(sampler, 3, ignore_eos=True)], use_tqdm=False
    )
    end = MODEL.vocabulary.start
    assert tokens([ended])[0][-1] == end
    [text] = tokens([going])
    assert len(text) == 24
    assert end in text[:-1]
    [kept] = tokens(
        llm.generate(
            ["The"],
            params(f"min_length(n=20) | {sampler}", 3, ignore_eos=True, stop_token_ids=[5]),
            use_tqdm=False,
        )
    )
    assert end in kept  # min_length knows that only 5 ends this text


def test_logprobs_are_those_of_the_model_before_corelm(llm):
    request = params(PEAKED, 5, logprobs=3, max_tokens=6)
    [output] = llm.generate(["The"], request, use_tqdm=False)
    [text] = output.outputs
    prompt = MODEL.vocabulary.encode("The")
    for i, (token, found) in enumerate(zip(text.token_ids, text.logprobs, strict=True)):
        ids = np.array([[*prompt, *text.token_ids[:i]]])
        own = corelm.log_softmax(MODEL.start(ids).next_logits().astype(np.float64))[0]
        assert token in found
        for each, value in found.items():
            assert value.logprob == pytest.approx(own[each], abs=1e-4)


def test_structured_output_comes_before_corelm(llm):
    from vllm.sampling_params import StructuredOutputsParams

    choices = StructuredOutputsParams(choice=["good", "bad", "terrible"])
    requests = [
        params("uniform", seed, structured_outputs=choices, max_tokens=12) for seed in range(24)
    ]
    outputs = llm.generate(["The film is"] * 24, requests, use_tqdm=False)
    texts = {output.outputs[0].text for output in outputs}
    assert texts <= {"good", "bad", "terrible"}
    assert len(texts) >= 2


def test_a_request_may_ask_for_a_token_that_is_never_drawn(llm):
    padding = MODEL.vocabulary.padding
    asked = [
        {},
        {"logit_bias": {padding: 50.0}},
        {"allowed_token_ids": [padding]},
    ]
    requests = [params("uniform | top_k(k=4000)", 1, max_tokens=8, **each) for each in asked]
    requests[1] = params("greedy", 1, max_tokens=8, **asked[1])
    plain, biased, allowed = tokens(llm.generate(["The"] * 3, requests, use_tqdm=False))
    assert padding not in plain
    assert set(biased) == set(allowed) == {padding}


def test_a_refused_request_leaves_running_ones_alone(llm):
    from vllm.exceptions import VLLMValidationError

    core, texts = llm.llm_engine, {}
    for i in range(4):
        core.add_request(str(i), "This movie", params("temperature(t=1.1)", i))
    for step in range(200):
        if step == 5:
            with pytest.raises(VLLMValidationError, match="did you mean 'temperature'"):
                core.add_request("bad", "The", params("temprature"))
        for output in core.step():
            texts[output.request_id] = tokens([output])[0]
        if not core.has_unfinished_requests():
            break
    assert [texts[str(i)] for i in range(4)] == [
        expected("temperature(t=1.1)", "This movie", i) for i in range(4)
    ]


def test_failing_samplers_leave_their_requests_to_vllm(llm, installed_plugin, caplog):
    """A plugin that raises, and a word that the vocabulary lacks; the others go on."""
    installed_plugin("corelm-failing", {"failing": "corelm_failing"}, FAILING)
    chains = ["failing", "temperature(t=0.9)", "ban(words=(99999,))", "mirostat(tau=3.0)"]
    requests = [params(chain, 3, max_tokens=12, ignore_eos=True) for chain in chains]
    found = tokens(llm.generate(["This movie"] * 4, requests, use_tqdm=False))
    for i in (1, 3):
        assert found[i] == expected(chains[i], "This movie", 3, length=12)
    assert found[0][:3] == expected("stochastic", "This movie", 3, length=3)
    assert [len(text) for text in found] == [12] * 4
    assert "this plugin fails at the fourth token" in caplog.text
    assert caplog.text.count("corelm leaves this request to vLLM") == 2


def test_requests_of_vllm_and_of_corelm_share_a_batch(llm):
    from vllm import SamplingParams

    greedy = SamplingParams(temperature=0, max_tokens=24)
    requests = [greedy, params("greedy"), params("greedy", 3), greedy]
    found = tokens(llm.generate(["This movie"] * 4, requests, use_tqdm=False))
    assert found == [expected("greedy", "This movie", 0)] * 4


def test_a_recorded_request_has_the_figures_of_generate(llm, records):
    """Requests with and without a record in one batch; each draw is verified, in corelm."""
    chains = {
        "a": "repetition_penalty(penalty=1.2) | top_p(p=0.9) | temperature(t=0.8)",
        "b": "min_p(p=0.05) | mirostat(tau=3.0)",
    }
    asked = [params(chain, 7, n=2, record=name) for name, chain in chains.items()]
    outputs = llm.generate(["This movie"] * 3, [*asked, params("stochastic", 1)], use_tqdm=False)
    log = TokenLog.read(records)
    for (name, chain), output in zip(chains.items(), outputs, strict=False):
        found = log.rollouts(name)
        assert found.chain == str(corelm.sampler(chain))
        texts = [found.ids(row)[1] for row in range(2)]
        assert texts == [list(text.token_ids) for text in output.outputs]
        own = record(MODEL, ["This movie"], sampler=chain, length=24, n=2, seed=7)
        np.testing.assert_allclose(found.model_logprobs, own.model_logprobs, atol=1e-3)
        for row in range(2):
            receipt = Receipt.of(found, row, model="vllm:gpt2", model_sha256="", seed=7, sample=row)
            assert verify(receipt, MODEL) == []
    assert {json.loads(line)["name"] for line in records.read_text().splitlines()} == {*chains}
