"""Texts of several requests in one session: each is the text that it is alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from small_models import SMALL, small_model

import corelm
from corelm.abilities import SessionWrapper, can
from corelm.decoding.draws import DrawPlan
from corelm.errors import SamplerError, UsageError
from corelm.generation.batched_texts import RequestRows
from corelm.generation.continuous_batch import PIECE
from corelm.generation.shared_session import SharedSession, join_all
from corelm.numerics.distributions import surprisals_and_entropy
from corelm.registry.registry import Registry
from corelm.runs import ContinuousBatch, Endings, PrefixCache, Strategy, Texts
from corelm.testing import ToyModel
from corelm.testing.draw_checks import SingleSteps

GPT2 = small_model(SMALL["gpt2"], end=True)
CHAINS = (
    "greedy", "stochastic", "temperature(t=0.7)", "top_p(p=0.9) | temperature(t=1.3)",
    "repetition_penalty(penalty=1.3) | top_k(k=5)", "mirostat", "dry | min_p(p=0.05)",
    "phase(start=1, inside=top_k(k=3)) | no_repeat_ngram(n=2) | xtc(probability=0.5) | top_k(k=9)",
)  # fmt: skip


class Alone(corelm.Decoder):
    """An ordinary decoder of another class: it gets a session of its own."""

    def __call__(self, task):
        assert can(task.start().session, "rewind")
        return corelm.Ancestral()(task)


def request(prompt="w1 w2", chain="stochastic", length=20, n=1, seed=1, **endings):
    return Texts(prompt, Strategy.of(chain), length, n, seed, Endings.of(**endings))


def alone(model, texts):
    """Return the texts that `generate` writes."""
    return corelm.generate(
        model, texts.prompt, sampler=texts.strategy.sampler, decoder=texts.strategy.decoder,
        length=texts.length, n=texts.n, seed=texts.seed, unknown=texts.unknown,
        **{name: value for name, value in texts.endings.settings.items() if value},
    )  # fmt: skip


def finished(batch):
    """Write all texts; returns the requests in the order in which they ended."""
    ended = []
    while batch:
        ended += [request for request in batch.step() if request.is_finished]
    return ended


def random_request(rng):
    words = [f"w{i}" for i in rng.integers(0, 27, rng.integers(0, 30))]
    stop = {"stop": "w7"} if rng.random() < 0.2 else {}
    return request(
        " ".join(words), rng.choice(CHAINS), int(rng.integers(0, 40)), int(rng.integers(1, 4)),
        int(rng.integers(0, 1000)), **stop,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "again"), [*zip(SMALL, (None, 8, 8, None), strict=True)])
def test_64_requests_that_come_and_go_write_the_texts_of_each_alone(kind, again):
    model, rng = small_model(SMALL[kind], end=True), np.random.default_rng(1)
    batch = ContinuousBatch(model, rows=24, again=again)
    waiting = [random_request(rng) for _ in range(64)]
    added, cancelled = [], set()
    while batch or waiting:
        for _ in range(min(rng.integers(0, 4), len(waiting))):
            added.append(batch.add(waiting.pop(), measured=True))
        for one in batch.step():
            if not one.is_finished and rng.random() < 0.02:
                one.finish()
                cancelled.add(one)
    assert len(added) == 64
    assert 0 < len(cancelled) < 32
    for one in added:
        assert one.error is None
        expected = alone(model, one.texts)
        found = one.open_texts.generations()
        if one in cancelled:
            for text, whole in zip(found, expected, strict=True):
                assert whole.tokens[: len(text.tokens)] == text.tokens
        else:
            assert found == expected


@pytest.mark.parametrize("samples", [[0], [2, 5], range(70)])
def test_samples_have_the_random_numbers_of_their_index(samples):
    texts = request(n=70)
    batch = ContinuousBatch(GPT2)
    one = batch.add(texts, samples, measured=True)
    finished(batch)
    expected = alone(GPT2, texts)
    assert one.open_texts.generations() == [expected[sample] for sample in samples]


def test_other_decoders_have_a_session_of_their_own():
    texts = replace(request(), strategy=Strategy(corelm.sampler("stochastic"), Alone()))
    batch = ContinuousBatch(GPT2)
    requests = [batch.add(one, measured=True) for one in (request(seed=2), texts, request(seed=3))]
    finished(batch)
    assert [one.open_texts.generations() for one in requests] == [
        alone(GPT2, one.texts) for one in requests
    ]


class Noted(SingleSteps):
    """A model that draws no tokens ahead, and calls a function before each call of a session.

    Args:
        model: the model.
        note: takes the name of the call and the number of rows.
    """

    def __init__(self, model, note):
        super().__init__(model)
        self.note = note

    def start(self, tokens):
        session = NotedSession(self._model.start(tokens))
        session.note = self.note
        return session


class NotedSession(SessionWrapper):
    def next_logits(self):
        logits = super().next_logits()
        self.note("logits", len(logits))
        return logits

    def extend(self, tokens):
        self.note("extend", len(tokens))
        super().extend(tokens)


def test_a_step_of_all_texts_is_one_call():
    calls = []
    batch = ContinuousBatch(Noted(GPT2, lambda *call: calls.append(call)))
    for seed in range(5):
        batch.add(request("w1 " * (seed + 1), length=6, seed=seed))
    batch.step()
    calls.clear()
    batch.step()
    assert calls == [("logits", 5), ("extend", 5)]


def test_models_whose_sessions_cannot_be_joined_write_the_same():
    class Plain(ToyModel):
        def start(self, tokens):
            session = super().start(tokens)
            session.join = None
            session.__class__ = PLAIN
            return session

    class PLAIN(type(ToyModel().start([[3]]))):
        join = None

    batch = ContinuousBatch(Plain())
    requests = [batch.add(request("the cat", seed=seed), measured=True) for seed in range(3)]
    finished(batch)
    for one in requests:
        assert one.open_texts.generations() == alone(ToyModel(), one.texts)


def test_requests_wait_until_there_are_rows():
    batch = ContinuousBatch(GPT2, rows=4)
    requests = [batch.add(request(n=n, length=3, chain="top_k(k=3)")) for n in (3, 2, 9, 1)]
    assert batch.step() == requests[:1]
    assert finished(batch) == requests  # also the one that is larger than the batch


class Raises(corelm.Sampler):
    def __call__(self, logits, context):
        if context.position == 2:
            raise RuntimeError("out of tea")
        return logits


def test_an_error_ends_its_own_request():
    batch = ContinuousBatch(GPT2)
    good = batch.add(request(), measured=True)
    bad = batch.add(replace(request(), strategy=Strategy(Raises())))
    finished(batch)
    assert good.open_texts.generations() == alone(GPT2, good.texts)
    assert isinstance(bad.error, SamplerError)
    assert "out of tea" in str(bad.error)
    assert [len(tokens) for tokens in bad.open_texts.tokens] == [2]


def test_a_prompt_that_the_model_cannot_continue_ends_its_own_request():
    model = small_model(SMALL["gpt2"])  # without a start token
    batch = ContinuousBatch(model)
    good, bad = batch.add(request(), measured=True), batch.add(request(""))
    finished(batch)
    assert isinstance(bad.error, UsageError)
    assert good.open_texts.generations() == alone(model, good.texts)


class LongToy(ToyModel):
    context_length = 10_000


def test_a_long_prompt_is_read_in_pieces_between_the_steps_of_others():
    batch = ContinuousBatch(LongToy(end=False))
    short = batch.add(request("the", length=10))
    long = batch.add(request("the cat " * PIECE, length=10), measured=True)
    changes = [batch.step() for _ in range(4)]
    assert changes == [[short], [short], [short, long], [short, long]]
    finished(batch)
    assert long.open_texts.generations() == alone(ToyModel(end=False), long.texts)


def test_requests_with_a_prompt_that_was_read_before_begin_together():
    model, prompt = LongToy(end=False), "the cat sat on " * 25
    batch = ContinuousBatch(model, prefixes=PrefixCache(1000))
    first = batch.add(request(prompt))
    batch.step()
    assert len(first.open_texts.tokens[0]) == 1
    others = [batch.add(request(prompt)) for _ in range(63)]
    batch.step()
    assert all(len(each.open_texts.tokens[0]) == 1 for each in others)


def steps_to_first(batch, requests):
    """Return the number of steps until each request has its first token."""
    found, step = {}, 0
    while len(found) < len(requests):
        step += 1
        batch.step()
        found |= {
            i: step
            for i, each in enumerate(requests)
            if i not in found and each.open_texts.tokens[0]
        }
    return [found[i] for i in range(len(requests))]


def test_short_prompts_do_not_wait_for_a_long_one_before_them():
    piece = 32
    batch = ContinuousBatch(LongToy(), piece=piece)
    prompts = ["the cat " * 100, "the cat " * 50, "the cat", "the cat sat", "the " * 8]
    added = [batch.add(request(prompt, length=3)) for prompt in prompts]
    assert steps_to_first(batch, added)[2:] == [1, 1, 2]
    finished(batch)
    for prompt, each in zip(prompts, added, strict=True):
        assert each.open_texts.tokens == [
            text.tokens for text in alone(LongToy(), request(prompt, length=3))
        ]


def test_a_long_prompt_is_read_at_half_speed_at_least_while_short_ones_come():
    piece = 32
    batch = ContinuousBatch(LongToy(), piece=piece)
    long = batch.add(request("the " * (10 * piece), length=3))
    steps = 0
    while not long.open_texts.tokens[0]:
        batch.add(request("the cat sat", length=1))
        batch.add(request("the cat", length=1))
        batch.step()
        steps += 1
    assert steps <= 21


def test_first_tokens_of_requests_that_come_together_are_drawn_in_one_call(monkeypatch):
    calls, draw = [], DrawPlan.draw
    note = lambda self, logits, *others: calls.append(len(logits)) or draw(self, logits, *others)  # noqa: E731
    monkeypatch.setattr(DrawPlan, "draw", note)
    batch = ContinuousBatch(ToyModel())
    added = [batch.add(request(prompt, length=3)) for prompt in ("the", "the cat", "the cat sat")]
    batch.step()
    assert calls == [3]
    batch.add(request("cat", length=3, n=2))
    batch.step()
    assert sorted(calls) == [2, 3, 3]
    assert [len(each.open_texts.tokens[0]) for each in added] == [2] * 3


def test_first_tokens_do_not_wait_for_the_step_of_the_others():
    added, noted = [], []
    batch = ContinuousBatch(
        Noted(GPT2, lambda call, rows: call == "logits" and rows == 3 and noted.append(lengths()))
    )
    lengths = lambda: [len(each.open_texts.tokens[0]) for each in added]  # noqa: E731
    added += [batch.add(request("w1 w2", length=9, seed=seed)) for seed in range(3)]
    batch.step()
    added.append(batch.add(request("w3 w4", length=9)))
    batch.step()
    assert noted == [[1, 1, 1, 1]]
    assert lengths() == [2, 2, 2, 1]


def test_newcomers_join_in_pairs():
    copied = []

    class Rows(list):
        def join(self, other):
            self += other
            copied.append(len(other))

    assert join_all([Rows([i]) for i in range(11)]) == [*range(11)]
    assert sum(copied) <= 11 * 4


def test_a_prompt_beyond_the_context_is_read_at_once():
    batch = ContinuousBatch(GPT2, piece=4)
    long = batch.add(request("w1 w2 w3 " * 40, length=10), measured=True)
    assert batch.step() == [long]
    finished(batch)
    assert long.open_texts.generations() == alone(GPT2, long.texts)


def test_nothing_to_write_is_no_error():
    batch = ContinuousBatch(GPT2)
    assert not batch
    assert batch.step() == []
    one = batch.add(request(length=0))
    assert finished(batch) == [one]
    assert (one.step, one.error, one.open_texts.texts[0].value) == (None, None, "")


def test_a_finished_request_is_dropped_before_the_next_step():
    batch = ContinuousBatch(GPT2)
    first, second = batch.add(request()), batch.add(request(seed=2))
    batch.step()
    first.finish()
    assert batch.step() == [second]


def test_few_of_the_windows_that_slide_together_are_read_again_in_a_step(monkeypatch):
    read, start = [], type(GPT2).start

    def noted(self, texts):
        read.extend(text for text in texts if len(text) > 5)  # not the prompts
        return start(self, texts)

    monkeypatch.setattr(type(GPT2), "start", noted)
    batch = ContinuousBatch(GPT2, again=9)  # a window has 5 tokens when it is read again
    long = [batch.add(request("w1 w2", length=20, n=n, seed=n)) for n in (1, 1, 2, 1, 1)]
    counts = []
    while not all(each.is_finished for each in long):
        batch.add(request("w3", length=2))
        before = len(read)
        batch.step()
        counts.append(len(read) - before)
    assert sum(counts) >= 12  # each text slides twice at least
    assert max(counts) == 2  # those of one request are read together
    monkeypatch.undo()
    for each in long:
        assert each.open_texts.tokens == [text.tokens for text in alone(GPT2, each.texts)]


def test_first_tokens_wait_for_no_window_that_slid():
    batch, noted = ContinuousBatch(GPT2, again=9), []
    long = [batch.add(request("w1 w2", length=12, seed=n)) for n in range(3)]
    while not all(each.is_finished for each in long):
        short = batch.add(request("w3", length=2))
        for turn in batch.turns():
            if any(each in turn.requests and not each.is_read for each in long):
                noted.append((short.is_read, len(short.open_texts.tokens[0])))
            turn.run()
    assert {*noted[3:]} == {(True, 1)}  # the first three read the prompts
    for each in long:
        assert each.open_texts.tokens == [text.tokens for text in alone(GPT2, each.texts)]


def turns_of(count, **endings):
    """Return the numbers of requests in the turns of the second step of a batch."""
    batch = ContinuousBatch(GPT2)
    for seed in range(count):
        batch.add(request("w1 w2", length=4, seed=seed, **endings))
    batch.step()
    return [(turn.run(), len(turn.requests))[1] for turn in batch.turns()]


def test_requests_whose_tokens_are_drawn_together_take_them_in_one_turn(monkeypatch):
    monkeypatch.setattr(Registry, "load_observers", lambda self: False)
    assert turns_of(5) == [0, 0, 5]
    # A pattern may take long to search, so each has its own.
    assert turns_of(3, stop_regex="w9") == [0, 0, 1, 1, 1]
    monkeypatch.setattr(Registry, "load_observers", lambda self: True)
    assert turns_of(3) == [0, 0, 1, 1, 1]


def test_the_model_works_before_the_figures_of_a_step_are_computed(monkeypatch):
    calls, figures = [], surprisals_and_entropy
    monkeypatch.setattr(
        "corelm.contracts.step.surprisals_and_entropy",
        lambda *args: calls.append("figures") or figures(*args),
    )
    batch = ContinuousBatch(Noted(GPT2, lambda call, rows: calls.append(call)))
    for seed in (1, 2, 3):
        batch.add(request("w1 w2", length=4, seed=seed))
    batch.step()
    calls.clear()
    assert {float(each.step.entropy[0]) for each in batch.step()}
    assert calls == ["logits", "extend", "figures"]  # once for all rows


def steps_begun_early(*texts, again=None):
    """Return, for each step of a batch, whether the model began before the rows took tokens."""
    calls, early = [], []
    batch = ContinuousBatch(Noted(GPT2, lambda call, rows: calls.append(call)), again=again)
    requests = [batch.add(each) for each in texts]
    while batch:
        extends = []
        for turn in batch.turns():
            calls.clear()
            turn.run()
            if not turn.requests:  # the model's work: to draw, then to append
                extends.append("extend" in calls)
        early.append(any(extends[:-1]))
    for each in requests:
        assert each.open_texts.generations() == alone_unmeasured(each.texts)
    return early


@pytest.mark.parametrize(
    ("again", "steps"),
    [
        # They join after the first step; at the fifth the short text ends; at last the long ones.
        (None, [0, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 0]),
        (9, [0, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0]),  # later windows slide
    ],
)
def test_the_model_begins_before_rows_take_their_tokens_while_they_stay(again, steps):
    short = request("w1 w2", length=5, seed=3)
    long = request("w1 w2 w3", length=12, n=2, seed=1)
    assert steps_begun_early(short, long, again=again)[:12] == steps


def alone_unmeasured(texts):
    return [replace(text, steps=[]) for text in alone(GPT2, texts)]


def test_requests_with_other_chains_are_drawn_apart():
    both = [request("w1 w2", sampler, length=5) for sampler in ("top_p", "min_p")]
    assert not any(steps_begun_early(*both))


@pytest.mark.parametrize(
    ("fault", "match"),
    [
        ("steps_left", "a draw of 7 tokens for rows that have 6 left"),
        ("rows", "the draw has 1 tokens for a request of 2 rows, 2 of them in the session"),
    ],
)
def test_a_fault_in_joint_draws_is_named_where_it_is(monkeypatch, fault, match):
    left, begin = RequestRows.steps_left, SharedSession._begin

    def begin_with_a_row_less(self, rows):
        is_begun = begin(self, rows)
        self._parts = [(each, slice(part.start, part.stop - 1)) for each, part in self._parts]
        return is_begun

    if fault == "steps_left":
        monkeypatch.setattr(RequestRows, "steps_left", lambda *arguments: left(*arguments) + 1)
    else:
        monkeypatch.setattr(SharedSession, "_begin", begin_with_a_row_less)
    batch = ContinuousBatch(GPT2)
    batch.add(request("w1 w2", length=7, n=2))
    with pytest.raises(AssertionError, match=match):
        finished(batch)


def test_a_batch_whose_text_met_its_end_early_waits_for_the_next():
    batch = ContinuousBatch(GPT2)
    for seed, reason in ((3, "end"), (1, "length")):
        text = batch.add(request("w1 w2", length=50, seed=seed))
        finished(batch)
        assert text.open_texts.finish_reasons == [reason]
        assert batch.step() == []
        assert text.open_texts.generations() == alone_unmeasured(text.texts)
