"""Tokens that corelm draws in other engines are recorded as its own rollouts."""

import numpy as np
import pytest
from corelm_replay import Receipt, TokenLog, record, verify
from corelm_replay.recording import FIGURES
from small_models import LLAMA_OPTIONS

import corelm
from corelm.bundles import Bundle
from corelm.errors import UsageError
from corelm.interop import EngineSampler
from corelm.interop.testing import tiny_gpt2
from corelm.models.export import export
from corelm.testing import ToyModel

CHAIN = "repetition_penalty(penalty=1.2) | top_p(p=0.9) | temperature(t=0.8)"
PROMPTS = ["This movie", "the good film and the"]


def drawn(log, model, prompts, chain="top_k(k=4) | mirostat(tau=2.0)", length=8):
    """Write texts in the loop of an engine that goes on behind the end of a text."""
    engine = EngineSampler(chain, seed=3, vocabulary=model.vocabulary, record=log)
    texts = [model.vocabulary.encode(prompt) for prompt in prompts]
    for _ in range(length):
        logits = np.concatenate([model.start([text]).next_logits() for text in texts])
        for text, token in zip(texts, engine.draw(logits, texts), strict=True):
            text.append(int(token))


def check(found, own):
    """Compare rollouts with those of corelm."""
    assert found.tokens.tolist() == own.tokens.tolist()
    assert found.mask.tolist() == own.mask.tolist()
    assert found.kept.lists() == own.kept.lists()
    for name in FIGURES:
        np.testing.assert_allclose(getattr(found, name), getattr(own, name), atol=1e-6)


@pytest.mark.parametrize("end", [True, False])
def test_a_log_has_the_rollouts_of_corelm(tmp_path, end):
    model, chain = ToyModel(end=end), "top_k(k=4) | mirostat(tau=2.0)"
    log = TokenLog(tmp_path / "tokens.jsonl")
    drawn(log, model, ["the cat"] * 3, chain)
    own = record(model, ["the cat"], sampler=chain, length=8, n=3, seed=3)
    check(log.rollouts(), own)
    check(TokenLog.read(tmp_path / "tokens.jsonl").rollouts(), own)


def test_texts_of_several_names_share_a_file(tmp_path):
    file = tmp_path / "tokens.jsonl"
    for name, chain in (("one", "top_k(k=4)"), ("two", "min_p(p=0.1)"), ("one", "top_k(k=4)")):
        drawn(TokenLog(file, name, keep=False), ToyModel(), ["the cat"], chain, length=3)
    log = TokenLog.read(file)
    assert [log.rollouts(name).chain for name in ("one", "two")] == ["top_k(k=4)", "min_p(p=0.1)"]
    assert len(log.rollouts("one").tokens) == 1  # the second text took the place of the first
    with pytest.raises(UsageError, match="rollouts have one chain; these records have 2"):
        log.rollouts()


def test_the_rollouts_are_in_the_order_of_samples():
    """Where vLLM has the second sample of a request in its first row."""
    log, model = TokenLog(), ToyModel()
    engine = EngineSampler("top_k(k=4)", seed=3, vocabulary=model.vocabulary, record=log)
    start = model.vocabulary.encode("the cat")
    tokens = engine.draw(model.start([start] * 2).next_logits(), [start] * 2, samples=[1, 0])
    assert log.rollouts().tokens[:, -1].tolist() == tokens.tolist()[::-1]


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"format": "other"}'])
def test_another_file_is_refused(tmp_path, text):
    (tmp_path / "other").write_text(text)
    with pytest.raises(UsageError, match="is no log of tokens"):
        TokenLog.read(tmp_path / "other")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(UsageError, match="cannot read"):
        TokenLog.read(tmp_path / "none")


def check_receipts(found, model, samples):
    """Verify the draws of another engine, whose sets may differ at their edge."""
    for row, sample in enumerate(samples):
        own = {"model": "engine:tiny", "model_sha256": "", "seed": 5, "sample": sample}
        assert verify(Receipt.of(found, row, **own), model) == []


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_gpt2(tmp_path_factory.mktemp("gpt2") / "tiny")


def test_transformers_records_its_texts(folder):
    pytest.importorskip("corelm_transformers")
    transformers = pytest.importorskip("transformers")
    exported = str(export(Bundle.read(folder), "transformers", folder.with_name("transformers")))
    tokenizer = transformers.AutoTokenizer.from_pretrained(exported)
    tokenizer.padding_side = "left"
    model = transformers.GPT2LMHeadModel.from_pretrained(exported)
    from corelm_transformers import as_logits_processor

    log, inputs = TokenLog(), tokenizer([PROMPTS[0]] * 3, return_tensors="pt", padding=True)
    processor = as_logits_processor(CHAIN, seed=5, tokenizer=tokenizer, record=log)
    model.generate(**inputs, logits_processor=[processor], max_new_tokens=12, do_sample=True,
                   pad_token_id=tokenizer.pad_token_id)  # fmt: skip
    own = record(corelm.load(folder), PROMPTS[:1], sampler=CHAIN, length=12, n=3, seed=5)
    found = log.rollouts()
    assert (found.tokens.tolist(), found.mask.tolist()) == (own.tokens.tolist(), own.mask.tolist())
    check_receipts(found, corelm.load(folder), samples=range(3))


def test_llama_cpp_records_its_texts(folder):
    pytest.importorskip("corelm_llama_cpp")
    llama = pytest.importorskip("llama_cpp")
    pytest.importorskip("gguf")
    from corelm_llama_cpp import LlamaCppVocabulary, as_logits_processor

    file = export(Bundle.read(folder), "gguf", folder.with_name("tiny.gguf"))
    llm = llama.Llama(str(file), verbose=False, **LLAMA_OPTIONS)
    log = TokenLog()
    processor = as_logits_processor(CHAIN, seed=5, vocabulary=LlamaCppVocabulary(llm), record=log)
    for prompt in PROMPTS:
        llm(prompt, max_tokens=12, temperature=0, logits_processor=[processor],
            stopping_criteria=processor.raise_error)  # fmt: skip
    found, model = log.rollouts(), corelm.load(folder)
    texts = [corelm.generate(model, prompt, sampler=CHAIN, length=12, seed=5)[0]
             for prompt in PROMPTS]  # fmt: skip
    assert [found.ids(row)[1] for row in (0, 1)] == [list(text.tokens) for text in texts]
    check_receipts(found, model, samples=[0, 0])
