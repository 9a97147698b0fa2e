"""One pass of the model over ragged texts: distributions as alone, and bounded memory."""

from __future__ import annotations

import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
from documents import compare
from small_models import SMALL, small_model

import corelm
from corelm import Sampler, native
from corelm.generation.generate import BATCH
from corelm.testing import ToyModel

BOUND = "corelm.generation.teacher_forcing.LOGITS_BYTES"
WORDS = 8_000


def some_texts(model, lengths, seed=0):
    """Random texts of the model's words."""
    rng = np.random.default_rng(seed)
    ids = (rng.integers(2, len(model.vocabulary), length).tolist() for length in lengths)
    return [model.vocabulary.decode(text).strip() for text in ids]


class Spy(Sampler):
    """A sampler that allows tokens below a bound, and records what it is called with."""

    bound: int = corelm.param(99)

    def __call__(self, logits, context):
        heard.append((logits.copy(), context))
        return corelm.mask_logits(logits, np.arange(logits.shape[1]) < self.bound)


heard: list[tuple[np.ndarray, corelm.Context]] = []


@pytest.fixture
def calls():
    heard.clear()
    return heard


@pytest.mark.parametrize("at_once", [1, 1_000, 2**40])
@pytest.mark.parametrize("kind", ["default", "rnn"])
def test_every_position_has_the_distribution_after_the_tokens_before_it(
    kind, at_once, calls, monkeypatch
):
    """Bit for bit, also beyond the context of 8, where the window slides."""
    monkeypatch.setattr(BOUND, at_once)  # a block has one position, a few or all of them
    model = small_model(SMALL[kind])
    texts = some_texts(model, (3, 19, 5, 8, 19, 2))
    made = compare([Spy()], model=model, prompts="w1", n=2, length=12, reference=texts)
    rows = [
        (row, tuple(tokens))
        for logits, context in calls
        for row, tokens in zip(logits, context.tokens.tolist(), strict=True)
    ]
    assert len(rows) > made["header"]["contexts"]["positions"] == 2 + 7 + 4 + 7 + 7 + 1
    for row, tokens in rows:
        alone = model.start([tokens]).next_logits()[0].copy()
        alone[[model.vocabulary.padding, model.vocabulary.unknown]] = -np.inf
        assert np.array_equal(row, alone)


class Engine:
    """A toy model that counts its passes; its sessions return several positions, or one."""

    def __init__(self, several=True):
        self._toy, self._several = ToyModel(list("abcd"), end=False), several
        self.vocabulary, self.context_length = self._toy.vocabulary, self._toy.context_length
        self.passes = []

    def start(self, tokens):
        session = self._toy.start(tokens)
        proxy = SimpleNamespace(extend=session.extend, select=session.select)
        proxy.next_logits = lambda: self.counted(session.next_logits()[:, None])[:, 0]
        if self._several:
            proxy.rewind = session.rewind
            proxy.last_logits = lambda count: self.counted(session.last_logits(count))
        return proxy

    def counted(self, logits):
        self.passes.append(logits.shape[:2])
        return logits


def read(model, lengths):
    texts = some_texts(model, lengths)
    return compare(["greedy"], model=model, prompts="a", n=1, length=40, contexts=99,
                   reference=texts)["samplers"]  # fmt: skip


def test_contexts_are_read_in_one_pass_where_the_session_can():
    one, many = Engine(), Engine(several=False)
    assert read(one, [31] * 8) == read(many, [31] * 8)
    assert one.passes[0] == (8, 30)
    assert many.passes[:30] == [(8, 1)] * 30


def test_a_pass_has_a_bounded_memory_and_is_never_mostly_padding(monkeypatch):
    model = Engine()
    rows = 80  # of logits, in one pass
    monkeypatch.setattr(BOUND, rows * len(model.vocabulary) * 4)
    lengths = (31,) * 4 + (14, 13, 3, 2)
    read(model, lengths)
    assert model.passes[:3] == [(8, 10), (6, 13), (4, 7)]
    positions = sum(length - 1 for length in lengths)
    assert sum(batch * count for batch, count in model.passes[:3]) < 1.5 * positions


def test_a_sampler_has_the_context_of_a_text_of_its_own(calls):
    """A model of four words that always have 1/2, 1/4, 1/8 and 1/8."""
    model = ToyModel(list("abcd"), logits=[0, 0, *np.log([4, 2, 1, 1])], end=False)
    texts = ["a b zebra c a", "d a"]
    compare([Spy(bound=4)], model=model, prompts="a", n=1, reference=texts)
    contexts = [context for _, context in calls[:4]]  # a and b alone: two thirds and one third
    tokens = [context.tokens.tolist() for context in contexts]
    assert tokens == [[[2], [5]], [[2, 3]], [[2, 3, 1]], [[2, 3, 1, 4]]]
    assert [context.position for context in contexts] == [0, 1, 2, 3]
    assert all(context.vocabulary is model.vocabulary for context in contexts)
    # the prompt; b, a third; unknown: never drawn; c: not by this sampler
    nan = float("nan")
    own, of_model = contexts[-1].surprisal[0], contexts[-1].model_surprisal[0]
    assert own == pytest.approx([nan, np.log(3), nan, nan], nan_ok=True)
    assert of_model == pytest.approx([nan, np.log(4), nan, np.log(8)], nan_ok=True)
    assert np.isnan(contexts[0].surprisal).all()


def peak_of_a_report(model, **settings):
    """The bytes that a report allocates at most, as tracemalloc counts them."""
    tracemalloc.start()
    corelm.compare(model, **settings)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


@pytest.mark.long
@pytest.mark.parametrize("kernels", ["kernels", "definitions"])
def test_a_report_holds_a_few_batches_of_logits_at_once(kernels, monkeypatch):
    """Longer and more texts add nothing: no distribution of an earlier step is kept."""
    if kernels == "definitions":
        monkeypatch.setattr(native, "kernels", None)
    zipf = -1.1 * np.log(np.arange(1, WORDS + 1, dtype=np.float32))
    model = ToyModel([f"w{i}" for i in range(WORDS - 3)], zipf)
    settings = {"prompts": "w1"}
    corelm.compare(model, n=1, length=1, **settings)  # imports and plugins, which stay
    one_batch = BATCH * WORDS * 4
    assert peak_of_a_report(model, n=BATCH, length=2, **settings) < 10 * one_batch
    assert peak_of_a_report(model, n=BATCH + 1, length=8, **settings) < 10 * one_batch
