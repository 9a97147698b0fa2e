"""Tokens of a GGUF file that are drawn several in one call: the texts of single steps."""

import ctypes
import itertools

import numpy as np
import pytest

import corelm
from corelm import native
from corelm.errors import CorelmError, ModelOutputError
from corelm.interop.testing import check_draws_ahead

llama = pytest.importorskip("llama_cpp", reason="pip install llama-cpp-python")
pytest.importorskip("corelm_llama_cpp.passes", reason="there was no compiler")

from corelm_llama_cpp import LlamaCppModel, context  # noqa: E402
from corelm_llama_cpp.context import Context  # noqa: E402
from corelm_llama_cpp.threads import ThreadChoice  # noqa: E402

pytestmark = pytest.mark.skipif(not native.kernels, reason="there are no kernels here")

CHAINS = [
    "stochastic",
    "greedy",
    "top_k(k=5) | temperature(t=1.4)",
    "repetition_penalty(penalty=2)",
]

KINDS = {
    "llama_decode": ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, llama.llama_batch),
    "llama_get_logits_ith": ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int32),
}
"""The types of llama.cpp's functions that the extension calls."""


@pytest.fixture(autouse=True)
def any_time(monkeypatch):
    """Draw several tokens in a call, however busy the machine is."""
    monkeypatch.setattr("corelm_llama_cpp.model.CALL", 1e6)


@pytest.fixture(scope="module")
def single(gguf_file):
    """Return the tiny model without the extension."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(context, "passes", None)
        return LlamaCppModel(gguf_file)


@pytest.fixture
def drawn(monkeypatch):
    """Return a list that gets the number of tokens of each block that was drawn."""
    found, draw_ahead = [], Context.draw_ahead

    def noted(*arguments):
        count, passes = draw_ahead(*arguments)
        found.append(count)
        return count, passes

    monkeypatch.setattr(Context, "draw_ahead", noted)
    return found


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("n", [1, 5])
def test_texts_are_those_of_single_steps(model, single, chain, n, drawn):
    """Also beyond the window, which has 48 tokens, and of rows that end one after the other."""
    arguments = {"sampler": chain, "n": n, "seed": 3, "length": 90}
    texts = corelm.generate(model, "This movie", **arguments)
    assert bool(drawn) == ("penalty" not in chain)
    drawn.clear()
    assert texts == corelm.generate(single, "This movie", **arguments)
    assert not drawn


def test_steps_are_those_of_single_steps(model, single):
    arguments = {"sampler": "top_k(k=9) | temperature(t=0.9)", "seed": 3, "length": 30}
    steps = [corelm.stream(each, "This movie", **arguments) for each in (model, single)]
    for step, other in zip(*steps, strict=True):
        assert step.model_logits.tobytes() == other.model_logits.tobytes()
        assert step.logits.tobytes() == other.logits.tobytes()
        for name in ("tokens", "surprisal", "entropy", "model_entropy", "text"):
            assert getattr(step, name) == getattr(other, name)


def test_texts_do_not_depend_on_what_is_drawn_ahead(model):
    """Also beyond the window, with windows that slide in turn."""
    for again in (None, 64):
        assert check_draws_ahead(model, [[7], [7, 8, 9], [10, 11], [12]], again=again) == 7


def test_a_context_that_is_full_grows_before_more_is_drawn(gguf_file, drawn, monkeypatch):
    monkeypatch.setattr("corelm_llama_cpp.sequences.LEAST", 16)
    model = LlamaCppModel(gguf_file)
    drawn.clear()
    texts = corelm.generate(model, [7, 8], sampler="stochastic", seed=2, length=40)
    assert sum(drawn) > 20
    monkeypatch.setattr(context, "passes", None)
    other = LlamaCppModel(gguf_file)
    assert texts == corelm.generate(other, [7, 8], sampler="stochastic", seed=2, length=40)


@pytest.mark.parametrize(
    ("call", "count"), [(0.0, None), (4e-3, 4), (1.9e-3, 1), (0.9e-3, None), (1, 8)]
)
def test_a_call_takes_little_time(gguf_file, call, count, monkeypatch, drawn):
    """Where a pass takes long, others would wait for several."""
    monkeypatch.setattr(Context, "pass_seconds", lambda self, tokens: 1e-3)
    monkeypatch.setattr("corelm_llama_cpp.model.CALL", call)
    corelm.generate(LlamaCppModel(gguf_file), [7], sampler="greedy", length=33)
    assert drawn[:3] == ([count] * 3 if count else [])


@pytest.mark.parametrize("name", ["llama_model_is_recurrent", "llama_model_is_hybrid"])
def test_a_state_that_cannot_drop_tokens_is_not_drawn_ahead(gguf_file, name, monkeypatch, drawn):
    monkeypatch.setattr(llama, name, lambda pointer: True)
    corelm.generate(LlamaCppModel(gguf_file), [7], sampler="greedy", length=9)
    assert not drawn


@pytest.mark.parametrize(
    ("name", "value"), [("FIELDS", ["n_tokens"]), ("passes", None), ("passes.BATCH_SIZE", 48)]
)
def test_passes_need_the_extension_and_its_version_of_batches(name, value, monkeypatch):
    assert context.can_draw_ahead()
    monkeypatch.setattr(f"corelm_llama_cpp.context.{name}", value)
    assert not context.can_draw_ahead()


@pytest.mark.parametrize(
    ("name", "result", "code"), [("llama_decode", 3, 3), ("llama_get_logits_ith", None, -1)]
)
def test_a_pass_that_fails_is_an_error_of_the_model(gguf_file, name, result, code, monkeypatch):
    """The texts so far are kept, and the model can be used again."""
    model, calls, original = LlamaCppModel(gguf_file), itertools.count(), getattr(llama, name)
    own = KINDS[name](context._address(original))
    failing = KINDS[name](lambda *arguments: result if next(calls) == 4 else own(*arguments))
    with monkeypatch.context() as patch:
        patch.setattr(context, "_address", _with(context._address, original, failing))
        with pytest.raises(CorelmError, match=rf"1 tokens \(code {code}\)") as raised:
            corelm.generate(model, [7, 8], sampler="greedy", length=20)
    assert len(raised.value.generations[0].tokens) >= 1
    arguments = {"sampler": "greedy", "seed": 1, "length": 20}
    fresh = corelm.generate(LlamaCppModel(gguf_file), [7, 8], **arguments)
    assert corelm.generate(model, [7, 8], **arguments) == fresh


def _with(address, function, other):
    return lambda pointer: address(other if pointer is function else pointer)


def test_logits_that_are_no_distribution_are_named_where_they_come(gguf_file, monkeypatch):
    model, get = LlamaCppModel(gguf_file), llama.llama_get_logits_ith
    size = len(model.vocabulary)
    bad, calls = np.full(size, np.nan, np.float32), itertools.count()
    kind = KINDS["llama_get_logits_ith"]
    own = kind(context._address(get))
    bad_later = kind(lambda *arguments: bad.ctypes.data if next(calls) >= 3 else own(*arguments))
    monkeypatch.setattr(context, "_address", _with(context._address, get, bad_later))
    monkeypatch.setattr(Context, "process", _with_nan(Context.process))
    monkeypatch.setattr(Context, "pass_seconds", lambda self, tokens: 1e-4)  # before the first
    with pytest.raises(ModelOutputError, match="step 4 hold NaN") as raised:
        corelm.generate(model, [7, 8], sampler="stochastic", seed=1, length=20)
    assert [len(text.tokens) for text in raised.value.generations] == [4]


def _with_nan(process):
    """Return `process` whose passes of one token find no distribution."""

    def found(self, ids, *rest):
        logits, *others = process(self, ids, *rest)
        return [logits if len(ids) > 1 else np.full_like(logits, np.nan), *others]

    return found


@pytest.mark.parametrize(
    ("at", "value", "match"),
    [
        (3, b"short", "batch: expected 56 bytes, got 5"), (4, np.zeros(2), "order: expected"),
        (5, np.zeros(2), "report: expected 24 bytes"), (5, b"x" * 24, "writable|not writable"),
        (0, None, "int"), (6, -1, "negative|convert"),
    ],
)  # fmt: skip
def test_passes_refuse_what_does_not_fit(at, value, match):
    batch = llama.llama_batch(n_tokens=3)
    arguments = [1, 1, 1, batch, np.zeros(3, int), np.zeros(3), 4, 1]
    arguments[at] = value
    with pytest.raises((ValueError, TypeError, BufferError, OverflowError), match=match):
        context.passes.new_passes(*arguments)
    with pytest.raises(TypeError, match="expected 8 arguments, got 7"):
        context.passes.new_passes(*arguments[:7])


def test_the_time_of_a_pass_is_that_of_the_faster_number_of_threads():
    choice = ThreadChoice(4)
    assert choice.seconds(6) is None
    choice.note(6, 4, 12.0)
    choice.note(5, 1, 5.0)  # of one size, from 4 to 7 tokens
    assert choice.seconds(6) == 6.0
    assert choice.seconds(8) is None
