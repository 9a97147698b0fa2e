"""GGUF files as models of corelm: sessions next to full passes, and the vocabulary."""

import ctypes
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from programs import python

import corelm
from corelm import CorelmError
from corelm.contracts.language_model import window_start
from corelm.errors import ModelFileError
from corelm.runs import ContinuousBatch, Endings, Strategy, Texts
from corelm.testing import LAWS

pytest.importorskip("llama_cpp", reason="pip install llama-cpp-python")

import llama_cpp
from corelm_llama_cpp import LlamaCppModel, LlamaCppVocabulary
from corelm_llama_cpp.context import Context
from corelm_llama_cpp.sequences import Row


@pytest.fixture(scope="module")
def started(started_file):
    return LlamaCppModel(started_file)


@pytest.fixture(params=["model", "started"])
def any_model(request):
    return request.getfixturevalue(request.param)


def full_pass(model, text):
    """Return the logits and the hidden state after a text, from one pass over its window."""
    if model.vocabulary.start is not None:
        text = [model.vocabulary.start, *text]
    window = text[window_start(len(text), model.context_length) :]
    ids, lengths = np.array([window]), np.array([len(window)])
    logits, hidden = model.sequences.process([Row()], ids, lengths, 1, True)
    return logits[0, 0], hidden[0, 0]


def assert_same(session, model, texts, count=1):
    """Compare the outputs after each of the last tokens with full passes."""
    length = np.shape(texts)[1]
    logits = session.last_logits(count)
    assert logits.dtype == np.float32
    hidden = session.hidden_states(count)
    for row, text in enumerate(texts):
        for i in range(count):
            expected = full_pass(model, list(text[: length - count + 1 + i]))
            np.testing.assert_allclose(logits[row, i], expected[0], atol=1e-5)
            np.testing.assert_allclose(hidden[row, i], expected[1], atol=1e-5)
    np.testing.assert_allclose(session.next_logits(), logits[:, -1], atol=1e-5)


def test_a_notebook_shows_its_sizes(model):
    shown = model._repr_mimebundle_()
    assert f"{len(model.vocabulary):,} tokens" in shown["text/html"]
    assert "LlamaCppModel" in shown["text/plain"]


@pytest.mark.parametrize("law", LAWS["model"])
def test_it_obeys_the_laws_of_models(any_model, law):
    law(any_model)


def test_outputs_are_those_of_full_passes(any_model):
    texts = np.random.default_rng(0).integers(0, len(any_model.vocabulary), (2, 9))
    session = any_model.start(texts)
    assert_same(session, any_model, texts, 4)
    session.rewind(3)
    assert_same(session, any_model, texts[:, :6], 2)


def test_texts_longer_than_the_first_context_and_several_passes(gguf_file, tmp_path):
    import tiny_gguf

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny_gguf, "CONTEXT", 1500)
        model = LlamaCppModel(tiny_gguf.write(tmp_path / "long.gguf"))
    tokens = np.random.default_rng(0).integers(0, len(model.vocabulary), (3, 1400))
    session = model.start(tokens[:, :250])
    session.next_logits()
    session.extend(tokens[:, 250:500])
    session.next_logits()
    session.extend(tokens[:, 500:])
    several, whole = session.last_logits(300), model.start(tokens).last_logits(300)
    np.testing.assert_allclose(several, whole, atol=5e-5)
    np.testing.assert_allclose(
        model.start(tokens[1:2, :1200]).next_logits(), whole[1:2, 99], atol=5e-5
    )


def test_the_stateless_hook(model):
    p = model.next_token_distribution([[1, 2, 3], [4, 5, 6]])
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(p[1], corelm.softmax(full_pass(model, [4, 5, 6])[0]), atol=1e-5)


def test_the_vocabulary(model, started):
    vocabulary = model.vocabulary
    end = len(vocabulary) - 2
    assert vocabulary.start is None
    assert started.vocabulary.start == end
    assert vocabulary.ends == {end, end + 1}
    assert vocabulary.padding is None
    assert vocabulary.unknown is None
    for text in ("This movie", "the café — 日本", "", " ", "a\nb"):
        assert vocabulary.decode(vocabulary.encode(text)) == text
        assert started.vocabulary.encode(text) == vocabulary.encode(text)
    assert len(vocabulary.encode("This movie")) == 2


def test_a_token_may_be_a_part_of_a_character(model):
    ids = model.vocabulary.encode("é")
    assert [model.vocabulary.token_bytes(i) for i in ids] == [b"\xc3", b"\xa9"]


def test_special_tokens_can_be_written_and_add_nothing(model):
    vocabulary = model.vocabulary
    assert vocabulary.encode("the<|im_end|>")[-1] == len(vocabulary) - 1
    assert vocabulary.token_bytes(len(vocabulary) - 1) == b""


def test_a_text_ends_at_any_of_the_ends(model):
    ends = sorted(model.vocabulary.ends)
    bias = f"logit_bias(bias={{{ends[1]}: 100.0}})"
    [text] = corelm.generate(model, "This movie", sampler=bias, length=9, seed=0)
    assert text.tokens == [ends[1]]


def test_the_vocabulary_of_a_llama(llm, model):
    vocabulary = LlamaCppVocabulary(llm)
    assert vocabulary.encode("This movie") == model.vocabulary.encode("This movie")


@pytest.mark.parametrize("decoder", ["Beam", "Contrastive", "Speculative"])
def test_other_decoders_continue_a_text(model, decoder):
    kind = getattr(pytest.importorskip(f"corelm_{decoder.lower()}"), decoder)
    options = {"sampler": "top_k(k=5)", "length": 60, "seed": 1}
    [text] = corelm.generate(model, "This movie", decoder=kind(), **options)
    assert text.tokens
    if decoder == "Speculative":
        [ordinary] = corelm.generate(model, "This movie", **options)
        assert text.tokens == ordinary.tokens


def run(*arguments):
    done = python("-m", "corelm", *map(str, arguments), text=False)
    return done.returncode, done.stdout, done.stderr.decode()


def test_on_the_command_line(gguf_file, model):
    options = ("--sampler", "stochastic", "--length", 12, "--seed", 1, "--json")
    code, out, errors = run("sample", "--model", f"gguf:{gguf_file}", "This movie", *options)
    assert (code, errors) == (0, "")
    [expected] = corelm.generate(model, "This movie", sampler="stochastic", length=12, seed=1)
    [text] = json.loads(out)["texts"]
    assert [step["token"] for step in text["tokens"]] == expected.tokens
    assert text["text"] == expected.text


def test_all_sessions_share_one_context_that_goes_with_the_model(gguf_file, monkeypatch):
    freed, free = [], llama_cpp.llama_free

    def counted(context):
        freed.append(context)
        free(context)

    monkeypatch.setattr(llama_cpp, "llama_free", counted)
    model = LlamaCppModel(gguf_file)
    before = len(freed)
    for _ in range(20):
        model.start([[1, 2]]).next_logits()
    assert len(freed) == before
    del model  # without the collector of garbage: a model is large
    assert len(freed) == before + 1


def test_models_in_several_threads(gguf_file, model):
    expected = model.next_token_distribution([[1, 2, 3]])
    with ThreadPoolExecutor(4) as pool:
        models = list(pool.map(LlamaCppModel, [gguf_file] * 8))
        found = list(pool.map(lambda one: one.next_token_distribution([[1, 2, 3]]), models))
    for distribution in found:
        np.testing.assert_array_equal(distribution, expected)


def test_the_log_of_llama_cpp_is_left_as_it_was(model):
    lines = []
    callback = llama_cpp.llama_log_callback(lambda level, text, data: lines.append(text))
    before, data = llama_cpp.llama_log_callback(), ctypes.c_void_p()
    llama_cpp.llama_log_get(ctypes.byref(before), ctypes.byref(data))
    llama_cpp.llama_log_set(callback, None)
    model.start([[1, 2]]).next_logits()
    with pytest.raises(ModelFileError):
        LlamaCppModel(__file__)
    assert not lines
    llama_cpp.llama_model_load_from_file(b"none", llama_cpp.llama_model_default_params())
    assert lines
    llama_cpp.llama_log_set(before, data)


def test_the_model_may_go_before_its_session(gguf_file):
    session = LlamaCppModel(gguf_file).start([[1, 2]])
    assert np.isfinite(session.next_logits()).all()


def test_errors_of_llama_cpp_are_errors_of_corelm(model):
    session = model.start([[1, 2]])
    session.next_logits()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("llama_cpp.llama_decode", lambda context, batch: 1)
        session.extend([3])
        with pytest.raises(CorelmError, match=r"could not process 1 tokens \(code 1\)"):
            session.next_logits()
    assert_same(session, model, np.array([[1, 2, 3]]))


def test_a_model_that_keeps_a_state_outside_its_cache_is_refused(gguf_file, monkeypatch):
    monkeypatch.setattr(Context, "fork", lambda self, source, target: None)
    with pytest.raises(CorelmError, match=r"gguf .* cache"):
        LlamaCppModel(gguf_file)


def test_unknown_words_and_ids_without_a_token_are_never_drawn(tmp_path, monkeypatch):
    """The converter of llama.cpp names the ids beyond the tokenizer [PAD268] and the like."""
    import gguf
    import tiny_gguf

    size, plain = len(tiny_gguf.words()), tiny_gguf.words
    more = ["<unk>", "<unused0>", f"[PAD{size + 2}]"]
    kinds = [gguf.TokenType.UNKNOWN, gguf.TokenType.UNUSED, gguf.TokenType.UNUSED]
    add_types = gguf.GGUFWriter.add_token_types
    monkeypatch.setattr(tiny_gguf, "words", lambda: [*plain(), *more])
    monkeypatch.setattr(
        gguf.GGUFWriter,
        "add_token_types",
        lambda self, types: add_types(self, [*types[: size - 2], *types[-2:], *kinds]),
    )
    vocabulary = LlamaCppModel(tiny_gguf.write(tmp_path / "more.gguf")).vocabulary
    assert (vocabulary.unknown, vocabulary.unused) == (size, (size + 2,))


def test_requests_share_the_passes_of_the_network(model, monkeypatch):
    passes, process = [], Context.process
    note = lambda self, ids, *rest: passes.append(len(ids)) or process(self, ids, *rest)  # noqa: E731
    monkeypatch.setattr(Context, "process", note)
    prompts, length = ["the", "This movie", "This is the movie of the", "the the the"], 12
    requests = [
        (Texts(prompt, Strategy.of("top_k(k=5)"), length, 1, 3, Endings()), [0])
        for prompt in prompts
    ]
    found = [r.open_texts.tokens[0] for r in ContinuousBatch.in_order(model, requests)]
    assert len(passes) < 2 * length + len(prompts)  # a pass each would be 48
    assert passes[-1] == 4
    monkeypatch.undo()
    options = {"sampler": "top_k(k=5)", "length": length, "seed": 3}
    assert found == [corelm.generate(model, prompt, **options)[0].tokens for prompt in prompts]
