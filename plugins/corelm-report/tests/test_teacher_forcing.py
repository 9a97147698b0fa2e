"""One pass of the model over ragged texts, each with the distributions that it has alone."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from corelm_report.measure.contexts import Contexts, Reader, groups, nan_if_impossible, read
from small_models import SMALL, small_model

import corelm
from corelm import Sampler, surprisals
from corelm.errors import ModelOutputError
from corelm.generation.teacher_forcing import LOGITS_BYTES
from corelm.language_model import never_drawn
from corelm.testing import ToyModel

INF = float("inf")
BOUND = "corelm.generation.teacher_forcing.LOGITS_BYTES"


def some_texts(size, lengths, prompts, seed=0):
    rng = np.random.default_rng(seed)
    texts = tuple(tuple(rng.integers(2, size, length).tolist()) for length in lengths)
    return Contexts("human", "random", texts, prompts)


@pytest.fixture(params=[1, 1_000, LOGITS_BYTES], ids=["one", "few", "all"])
def at_once(request, monkeypatch):
    """Let a block have one position, a few or all of them."""
    monkeypatch.setattr(BOUND, request.param)


@pytest.mark.parametrize("kind", ["default", "rnn"])
def test_every_position_has_the_distribution_after_the_tokens_before_it(kind, at_once):
    """Bit for bit, also beyond the context of 8, where the window slides."""
    model = small_model(SMALL[kind], end=True)
    contexts = some_texts(30, lengths=(3, 19, 1, 8, 19, 2), prompts=(0, 2, 0, 2, 0, 2))
    seen = {}
    for group in groups(model, contexts):
        for position in read(model, group):
            rows = np.arange(len(group.texts))[position.rows]
            for row, token, logits in zip(rows, position.tokens, position.logits, strict=True):
                text = contexts.texts[group.texts[row]]
                assert token == text[position.time]
                seen[group.texts[row], position.time] = logits.copy()
    assert sorted(seen) == [
        (i, time)
        for i in range(6)
        for time in range(contexts.prompt_lengths[i], len(contexts.texts[i]))
    ]
    assert len(seen) == contexts.positions
    for (i, time), logits in seen.items():
        alone = model.start([contexts.texts[i][:time]]).next_logits()[0].copy()
        alone[never_drawn(model.vocabulary)] = -INF
        assert np.array_equal(logits, alone)


class Engine:
    """A toy model that counts its passes; its sessions return several positions, or one."""

    def __init__(self, several=True):
        self._toy, self._several = ToyModel(list("abcd")), several
        self.vocabulary, self.context_length = self._toy.vocabulary, self._toy.context_length
        self.passes = []

    def start(self, tokens):
        session = self._toy.start(tokens)
        found = SimpleNamespace(extend=session.extend, select=session.select)
        found.next_logits = lambda: self.counted(session.next_logits()[:, None])[:, 0]
        if self._several:
            found.rewind = session.rewind
            found.last_logits = lambda count: self.counted(session.last_logits(count))
        return found

    def counted(self, logits):
        self.passes.append(logits.shape[:2])
        return logits


def test_contexts_are_read_in_one_pass_where_the_session_can():
    contexts = some_texts(6, (31,) * 8, (1,) * 8)
    found = {}
    for several in (True, False):
        model = Engine(several)
        [group] = groups(model, contexts)
        logits = [position.logits for position in read(model, group)]
        found[several] = np.stack(logits), group.model_surprisal, model.passes
    assert found[True][2] == [(8, 30)]
    assert found[False][2] == [(8, 1)] * 30
    for one, other in zip(found[True][:2], found[False][:2], strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_pass_has_a_bounded_memory_and_is_never_mostly_padding(monkeypatch):
    model = Engine()
    rows = 80  # of logits, in one pass
    monkeypatch.setattr(BOUND, rows * len(model.vocabulary) * 4)
    lengths = (31,) * 4 + (14, 13, 3, 2)
    [group] = groups(model, some_texts(6, lengths, (1,) * 8))
    seen = [len(position.tokens) for position in read(model, group)]
    assert seen == [sum(length > time for length in lengths) for time in range(1, 31)]
    assert model.passes == [(8, 10), (6, 13), (4, 7)]
    assert sum(batch * count for batch, count in model.passes) < 1.5 * sum(seen)


def test_samplers_cannot_write_into_the_logits_of_a_session():
    model = small_model(SMALL["default"], end=True)
    [group] = groups(model, some_texts(30, (6,), (2,)))
    session = model.start(group.tokens[:, :2])
    session.extend(group.tokens[:, 2:5])
    kept = session.last_logits(4)
    session.last_logits, expected = (lambda count: kept), kept.copy()
    engine = SimpleNamespace(
        vocabulary=model.vocabulary, context_length=8, start=lambda tokens: session
    )
    session.extend = lambda tokens: None
    for position in read(engine, group):
        position.logits[:] = 0
    np.testing.assert_array_equal(kept, expected)


def test_texts_with_prompts_of_one_length_are_read_together():
    contexts = some_texts(30, (4,) * 140, (1, 2) * 70)
    model = small_model(SMALL["rnn"])
    found = groups(model, contexts)
    assert [(group.prompt_length, len(group.texts)) for group in found] == [
        (1, 64), (1, 6), (2, 64), (2, 6)
    ]  # fmt: skip
    assert [group.texts for group in groups(model, contexts.some([5, 2]))] == [(1,), (0,)]


class Spy(Sampler):
    """A sampler that allows tokens below a bound, and records its contexts."""

    bound: int = corelm.param(99)

    def __call__(self, logits, context):
        heard.append(context)
        return corelm.mask_logits(logits, np.arange(logits.shape[1]) < self.bound)


heard: list[corelm.Context] = []


def test_a_sampler_has_the_context_of_a_text_of_its_own():
    """A model of four words that always have 1/2, 1/4, 1/8 and 1/8."""
    model = ToyModel(list("abcd"), logits=[0, 0, *np.log([4, 2, 1, 1])], end=False)
    contexts = Contexts("human", "d", ((2, 3, 1, 4, 2), (5, 2)), (1, 1))  # 1 is unknown
    [group] = groups(model, contexts)
    reader = Reader(Spy(bound=4), group)  # a and b alone: two thirds and one third
    heard.clear()
    for position in read(model, group):
        reader.store(
            position, nan_if_impossible(surprisals(reader.logits(position), position.tokens))
        )
    assert [context.tokens.tolist() for context in heard] == [
        [[2], [5]],
        [[2, 3]],
        [[2, 3, 1]],
        [[2, 3, 1, 4]],
    ]
    assert [context.position for context in heard] == [0, 1, 2, 3]
    assert all(context.vocabulary is model.vocabulary for context in heard)
    # the prompt; b, a third; unknown: never drawn; c: not by this sampler
    nan = float("nan")
    own, of_model = heard[-1].surprisal[0], heard[-1].model_surprisal[0]
    assert own == pytest.approx([nan, np.log(3), nan, nan], nan_ok=True)
    assert of_model == pytest.approx([nan, np.log(4), nan, np.log(8)], nan_ok=True)
    assert np.isnan(heard[0].surprisal).all()


def test_unusable_logits_are_refused():
    model = ToyModel(list("ab"), logits=[0, 0, np.nan, 0], end=False)
    [group] = groups(model, Contexts("human", "d", ((2, 3),), (1,)))
    with pytest.raises(ModelOutputError, match="the model's logits at step 0 hold NaN in row 0"):
        next(read(model, group))
