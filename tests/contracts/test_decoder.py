"""The decoder contract, the decoding state, and ancestral sampling."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import ClassVar

import numpy as np
import pytest
from small_models import SMALL, small_model

import corelm
from corelm import (
    Ancestral,
    Context,
    Decoder,
    DecodingTask,
    RandomStream,
    Sampler,
    Step,
)
from corelm.errors import ModelOutputError, PluginError, UsageError
from corelm.testing import ToyModel

INF = float("inf")
GREEDY, STOCHASTIC = corelm.sampler("greedy"), corelm.sampler("stochastic")


def task(
    model=None, prompt="the", sampler=STOCHASTIC, samples=(0,), seed=1, **options
) -> DecodingTask:
    model = model or ToyModel()
    ids = np.array(model.vocabulary.encode(prompt), dtype=np.int64)
    options.setdefault("length", 8)
    return DecodingTask(model, ids, sampler, RandomStream(seed, samples), **options)


def steps(**options) -> list[Step]:
    return list(Ancestral()(task(**options)))


# Ancestral


def test_no_samples_need_no_model():
    class Never:
        def start(self, tokens):
            raise AssertionError("the model was asked")

    nothing = DecodingTask(Never(), np.array([3]), GREEDY, RandomStream(1, []), 5)
    assert list(Ancestral()(nothing)) == []
    no_length = DecodingTask(Never(), np.array([3]), GREEDY, RandomStream(1, [0]), 0)
    assert list(Ancestral()(no_length)) == []


def test_a_row_leaves_when_it_ends():
    drawn = steps(samples=range(30), length=40)
    end = ToyModel().vocabulary.start
    here = [set(step.samples.tolist()) for step in drawn]
    gone = set()
    for step, now in zip(drawn, here, strict=True):
        assert not now & gone
        gone |= set(step.samples[step.tokens == end].tolist())
    assert len(gone) > 20
    assert len(here[-1]) < 30
    assert here[0] == set(range(30))
    assert all(later <= earlier for earlier, later in pairwise(here))


def test_the_random_numbers_decide_the_tokens():
    model = ToyModel(["a", "b"], logits=np.log([1, 1, 0.25, 0.75]), end=False)
    stream = RandomStream(7, range(50))
    drawn = steps(model=model, prompt="a", samples=range(50), seed=7, length=20)
    for step in drawn:
        expected = np.where(stream.at(step.position) < 0.25, 2, 3)
        assert step.tokens.tolist() == expected.tolist()


def test_the_sampler_sees_the_tokens_and_how_surprising_they_were():
    seen: list[Context] = []

    class Looks(Sampler):
        def __call__(self, logits, context):
            seen.append(context)
            return logits / 2

    drawn = steps(
        model=ToyModel(end=False), prompt="the cat", sampler=Looks(), samples=range(3), length=4
    )
    assert [context.position for context in seen] == [0, 1, 2, 3]
    last = seen[-1]
    assert last.tokens[:, :2].tolist() == [[10, 3]] * 3
    assert last.drawn.T.tolist() == [step.tokens.tolist() for step in drawn[:3]]
    assert np.isnan(last.surprisal[:, :2]).all()
    assert last.surprisal[:, 2:].T.tolist() == [step.surprisal.tolist() for step in drawn[:3]]
    model_surprisals = [step.model_surprisal.tolist() for step in drawn[:3]]
    assert last.model_surprisal[:, 2:].T.tolist() == model_surprisals


class Frozen:
    """A model whose sessions return read-only logits, although the caller owns them."""

    def __init__(self, model):
        self.vocabulary, self.context_length = model.vocabulary, model.context_length
        self._model = model

    def start(self, tokens):
        return FrozenSession(self._model.start(tokens))


class FrozenSession:
    def __init__(self, session):
        self._session = session
        self.extend, self.select = session.extend, session.select

    def next_logits(self):
        logits = self._session.next_logits()
        logits.flags.writeable = False
        return logits


def test_read_only_logits_of_a_session_are_copied():
    model = small_model(SMALL["default"], end=True)
    how = {"prompt": "w1", "samples": range(9), "length": 20}
    owned, frozen = steps(model=model, **how), steps(model=Frozen(model), **how)
    assert len(owned) == len(frozen)
    for some, others in zip(owned, frozen, strict=True):
        assert some.tokens.tolist() == others.tokens.tolist()
        assert np.array_equal(some.model_logits, others.model_logits)


# Step


def test_a_step_has_the_place_of_each_token_among_the_models():
    model = ToyModel(["a", "b"], logits=np.log([0.1, 0.2, 0.35, 0.35]), end=False)
    found = {
        (int(token), int(place))
        for step in steps(model=model, prompt="a", samples=range(50), length=1)
        for token, place in zip(step.tokens, step.model_rank, strict=True)
    }
    assert found == {(2, 1), (3, 2)}  # of the two that tie, the lowest id is first


def test_a_step_knows_its_distributions_and_what_they_say_of_the_token():
    model = ToyModel(["a", "b"], logits=np.log([1, 1, 0.2, 0.8]), end=False)
    [step] = steps(model=model, prompt="a", sampler=corelm.sampler("temperature", t=0.5), length=1)
    assert step.model_distribution[0].tolist() == pytest.approx([0, 0, 0.2, 0.8])
    assert step.distribution[0].tolist() == pytest.approx([0, 0, 0.04 / 0.68, 0.64 / 0.68])
    assert step.model_entropy[0] == pytest.approx(0.2 * math.log(5) + 0.8 * math.log(1.25))
    a, b = 0.04 / 0.68, 0.64 / 0.68
    assert step.entropy[0] == pytest.approx(-a * math.log(a) - b * math.log(b))
    assert step.tokens[0] == 3
    assert step.surprisal[0] == pytest.approx(-math.log(b))
    assert step.model_surprisal[0] == pytest.approx(-math.log(0.8))


@pytest.mark.parametrize("name", ["samples", "tokens", "model_logits", "logits", "surprisal"])
def test_the_arrays_of_a_step_are_read_only(name):
    [step] = steps(length=1)
    with pytest.raises(ValueError, match="read-only"):
        getattr(step, name)[0] = 0


# Models that go wrong: refused before anything is drawn


class Unasked(Sampler):
    def __call__(self, logits, context):
        raise AssertionError("the sampler was asked")


@pytest.mark.parametrize(
    ("logits", "message"),
    [
        ([np.nan] * 4, "hold NaN in row 0"),
        ([0, 0, np.nan, 0], "hold NaN in row 0"),
        ([0, 0, INF, 0], "hold +infinity in row 0"),
        ([-INF] * 4, "hold a row in which every token is impossible in row 0"),
        ([0, 0, -INF, -INF], "hold a row in which every token is impossible in row 0"),
    ],
)
def test_invalid_logits_of_a_model(logits, message):
    model = ToyModel(["a", "b"], logits=logits, end=False)
    with pytest.raises(ModelOutputError) as caught:
        steps(model=model, prompt="a", sampler=Unasked())
    assert str(caught.value) == f"the model's logits at step 0 {message}"


def test_the_step_and_the_row_that_went_wrong_are_named():
    logits = np.zeros((5, 5))
    logits[:, [0, 1, 2]] = -INF
    logits[4] = np.nan
    model = ToyModel(["a", "b"], logits=logits)  # after a: a or b; after b: nonsense
    with pytest.raises(ModelOutputError, match=r"logits at step \d hold NaN in row \d"):
        steps(model=model, prompt="a", samples=range(3))


class Misshapen(ToyModel):
    def __init__(self, change):
        super().__init__()
        self.change = change

    def start(self, tokens):
        session, change = super().start(tokens), self.change

        class Changed:
            next_logits = staticmethod(lambda: change(session.next_logits()))
            extend, select = session.extend, session.select

        return Changed()


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        (lambda logits: logits[0], r"\(13,\) in float32"),
        (lambda logits: logits[:, :5], r"\(1, 5\) in float32"),
        (lambda logits: logits.astype(np.float16), r"\(1, 13\) in float16"),
        (lambda logits: logits.astype(int), r"\(1, 13\) in int64"),
    ],
)
def test_logits_of_another_shape_or_type(change, shown):
    with pytest.raises(ModelOutputError, match=rf"must be \(batch, 13\) in float32 .* not {shown}"):
        steps(model=Misshapen(change), sampler=Unasked())


# Model surprisals


class Reads(Sampler):
    """Keep every context, and declare which attributes it reads."""

    reads: ClassVar[frozenset[str]] = frozenset({"model_surprisal"})

    def __call__(self, logits, context):
        CONTEXTS.append(context)
        return logits / 2


class ReadsNothing(Reads):
    reads: ClassVar[frozenset[str]] = frozenset()


CONTEXTS: list[Context] = []


@pytest.mark.parametrize("model", [ToyModel(), small_model(SMALL["book"], end=True)])
@pytest.mark.parametrize("sampler", [Reads(), STOCHASTIC | Reads()])
def test_model_surprisals_are_there_for_a_sampler_that_reads_them(model, sampler):
    """Rows finish on the way, and the texts outgrow the second model's context window."""
    CONTEXTS.clear()
    drawn = steps(model=model, prompt="", sampler=sampler, samples=range(20), length=15)
    assert len(drawn[0].tokens) > len(drawn[8].tokens) > 0
    for before, after in zip(drawn, CONTEXTS[1:], strict=False):
        stayed = np.isin(before.samples, drawn[after.position].samples)
        expected = before.model_surprisal[stayed]
        assert np.array_equal(after.model_surprisal[:, -1], expected)
        assert np.array_equal(after.surprisal[:, -1], before.surprisal[stayed])


def test_model_surprisals_are_not_computed_for_other_samplers():
    CONTEXTS.clear()
    drawn = steps(model=ToyModel(end=False), sampler=ReadsNothing())
    assert len(CONTEXTS) == 8
    assert all(np.isnan(context.model_surprisal).all() for context in CONTEXTS)
    assert all("model_surprisal" not in step.__dict__ for step in drawn)


def test_a_step_with_a_text_keeps_the_figures_it_has_computed():
    [step] = steps(length=1)
    entropy = step.entropy
    assert step.with_text("cat").text == "cat"
    assert step.with_text("cat").entropy is entropy
    assert step.text == ""


# The decoding state


def test_surprisals_follow_their_rows_through_a_selection():
    decoding = task(samples=range(4), model=ToyModel(end=False), sampler=Reads()).start()
    step = decoding.draw()
    rows = np.array([3, 0, 0])
    decoding.select(rows)
    decoding.advance(step.tokens[rows])
    assert decoding.samples.tolist() == [3, 0, 0]
    assert decoding.context.drawn[:, 0].tolist() == step.tokens[rows].tolist()
    assert decoding.context.surprisal[:, -1].tolist() == step.surprisal[rows].tolist()
    assert decoding.context.model_surprisal[:, -1].tolist() == step.model_surprisal[rows].tolist()


def test_chosen_tokens_have_the_surprisal_of_the_last_distributions():
    decoding = task(samples=range(2), sampler=corelm.sampler("temperature", t=0.5)).start()
    logits = decoding.next().logits
    decoding.select(np.array([1, 1, 0]))
    decoding.advance(np.array([4, 5, 6]))
    expected = corelm.surprisals(logits[[1, 1, 0]], np.array([4, 5, 6]))
    assert decoding.context.surprisal[:, -1].tolist() == expected.tolist()


def test_tokens_appended_without_a_distribution_have_no_surprisal():
    decoding = task().start()
    decoding.advance(np.array([4]))
    assert np.isnan(decoding.context.surprisal[:, -1]).all()
    assert decoding.session.next_logits().shape == (1, 13)


def test_a_mask_selects_rows_as_indices_do():
    decoding = task(samples=range(3)).start()
    decoding.select(np.array([True, False, True]))
    assert decoding.samples.tolist() == [0, 2]
    assert len(decoding.next().model_logits) == 2


def test_scores_given_by_the_caller_stay_as_they_are():
    decoding, scores = task().start(), np.zeros((1, 13), dtype=np.float32)
    model_logits = decoding.next(scores).model_logits
    assert set(model_logits[0].tolist()) == {-INF, 0.0}
    assert not scores.any()


# Decoders of one's own


class Continues(Decoder):
    """Yield the end token of each sample at every step."""

    def __call__(self, task):
        return [replace(step, tokens=step.tokens * 0 + 2) for step in Ancestral()(task)]


def test_a_decoder_yields_no_step_after_the_end_of_a_sample():
    options = {"sampler": "greedy", "length": 3, "n": 2, "decoder": Continues()}
    with pytest.raises(
        PluginError, match=r"Continues\(\) of this process yielded the samples \[0, 1\] at step 1"
    ):
        corelm.generate(ToyModel(), "the", **options)


def test_the_drawn_tokens_are_appended_when_none_are_passed():
    decoding = task(samples=range(3), model=ToyModel(end=False)).start()
    step = decoding.draw()
    decoding.select(np.array([2, 0]))
    decoding.advance()
    assert decoding.context.drawn[:, 0].tolist() == step.tokens[[2, 0]].tolist()
    with pytest.raises(UsageError, match="no tokens were drawn; pass the tokens to append"):
        decoding.advance()


def steps_as_lists(steps):
    names = ("samples", "tokens", "model_logits", "logits", "surprisal")
    return [{name: getattr(step, name).tolist() for name in names} for step in steps]


@pytest.mark.parametrize("sampler", ["stochastic", "repetition_penalty(penalty=1.5)"])
def test_a_replay_yields_the_steps_of_the_texts(sampler):
    asked = task(samples=range(9), sampler=corelm.sampler(sampler), length=12)
    drawn, texts = [*Ancestral()(asked)], [[] for _ in range(9)]
    for step in drawn:
        for sample, token in zip(step.samples, step.tokens, strict=True):
            texts[sample].append(token)
    assert len({len(text) for text in texts}) > 2
    assert steps_as_lists(asked.replay(texts)) == steps_as_lists(drawn)


@pytest.mark.parametrize("texts", [[], [[]], [[], []]])
def test_a_replay_of_nothing_has_no_steps(texts):
    assert list(task(samples=range(len(texts))).replay(texts)) == []


def test_a_text_is_resumed_where_it_was_cut():
    asked = task(model=ToyModel(end=False), samples=range(5), sampler=Reads(), prompt="the cat")
    decoding = asked.start()
    for _ in range(6):
        step = decoding.draw()
        decoding.advance()
        if step.position == 2:
            before = decoding.context
    rows = np.array([4, 1])
    past = {
        name: getattr(before, name)[rows] for name in ("tokens", "surprisal", "model_surprisal")
    }
    again = asked.start(replace(before, **past), rows)
    assert again.samples.tolist() == [4, 1]
    for _ in range(3):
        again.draw()
        again.advance()
    assert again.context.position == 6
    for name in past:
        full = getattr(decoding.context, name)[rows]
        assert np.array_equal(getattr(again.context, name), full, equal_nan=True)
    assert decoding.context.position == 6


class Forward:
    """A model whose sessions can't drop tokens."""

    def __init__(self, model):
        self.vocabulary, self._model = model.vocabulary, model

    def start(self, tokens):
        session = self._model.start(tokens)

        class Session:
            next_logits, extend, select = session.next_logits, session.extend, session.select

        return Session()


@pytest.mark.parametrize("model", [ToyModel(end=False), Forward(ToyModel(end=False))])
def test_a_text_that_goes_back_draws_the_same_again(model):
    decoding = task(model=model, samples=range(5), sampler=corelm.sampler("mirostat")).start()
    logits = []
    for _ in range(6):
        logits.append(decoding.draw().logits)
        decoding.advance()
    tokens = decoding.context.tokens
    decoding.rewind(4)
    with pytest.raises(UsageError, match="no tokens were drawn"):
        decoding.advance()
    for position in range(2, 6):
        assert np.array_equal(decoding.draw().logits, logits[position])
        decoding.advance()
    assert decoding.context.tokens.tolist() == tokens.tolist()
