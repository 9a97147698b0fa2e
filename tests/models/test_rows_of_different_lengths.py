"""Rows of different lengths in one session of corelm's own models: the bits of each row alone."""

from __future__ import annotations

import numpy as np
import pytest
from compiled_kernels import needs_kernels, no_kernels
from small_models import SMALL, small_model

from corelm.errors import UsageError

OPERATIONS = 40


class Rows:
    """A session, and the texts that its rows should be."""

    def __init__(self, model, rng):
        self.model, self.rng = model, rng
        self.first = 0 if model.vocabulary.start is not None else 1
        self.texts = self.new_texts(4)
        self.session = model.start(self.texts)

    def tokens(self, count):
        return self.rng.integers(0, 30, count).tolist()  # with padding, which `book` masks

    def new_texts(self, most):
        count = self.rng.integers(1, most + 1)
        return [self.tokens(self.rng.integers(self.first, 20)) for _ in range(count)]

    def extend(self, count):
        more = [self.tokens(count) for _ in self.texts]
        self.session.extend(np.array(more, dtype=np.int64).reshape(len(more), count))
        self.texts = [text + added for text, added in zip(self.texts, more, strict=True)]

    def one(self):
        self.extend(1)

    def several(self):
        self.extend(int(self.rng.integers(0, 5)))

    def rewind(self):
        count = int(self.rng.integers(0, min(map(len, self.texts)) - self.first + 1))
        self.session.rewind(count)
        self.texts = [text[: len(text) - count] for text in self.texts]

    def select(self):
        rows = self.rng.integers(0, len(self.texts), self.rng.integers(1, 5)).tolist()
        self.session.select(rows)
        self.texts = [self.texts[row] for row in rows]

    def join(self):
        other = Rows(self.model, self.rng)
        if self.rng.random() < 0.3:  # forks that share one text
            other.texts = other.texts[:1] * 3
            other.session = self.model.start(other.texts[:1])
            other.session.select([0, 0, 0])
        if self.rng.random() < 0.5:
            other.session.next_logits()
            other.one()
        self.session.join(other.session)
        self.texts = self.texts + other.texts

    def check(self):
        """Compare every output of each row with a new session of its text alone."""
        count = int(self.rng.integers(1, min(3, min(map(len, self.texts)) - self.first + 1) + 1))
        for output in (
            lambda session: session.next_logits(),
            lambda session: session.last_logits(count),
            lambda session: session.hidden_states(count),
        ):
            alone = [output(self.model.start([text]))[0] for text in self.texts]
            assert np.array_equal(output(self.session), alone)


@pytest.mark.parametrize(
    "way",
    [pytest.param("kernels", marks=needs_kernels), pytest.param("NumPy", marks=pytest.mark.slow)],
)
@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("end", [pytest.param(False, marks=pytest.mark.slow), True])
def test_rows_have_the_bits_of_each_alone(kind, end, way):
    with no_kernels(way == "NumPy"):
        model = small_model(SMALL[kind], end)
        for seed in range(5):
            change_and_check(Rows(model, np.random.default_rng(seed)))


def change_and_check(rows):
    for _ in range(OPERATIONS):
        names = ["one", "one", "several", "rewind", "select", "join"]
        getattr(rows, rows.rng.choice(names[: 5 if len(rows.texts) > 8 else 6]))()
        if rows.rng.random() < 0.4:
            rows.check()
    rows.check()


@needs_kernels
def test_a_step_of_rows_of_different_lengths_is_one_call(monkeypatch):
    model = small_model(SMALL["gpt2"])
    session = model.start([[3], [4, 5, 6], [7, 8]])
    session.next_logits()
    calls = []
    monkeypatch.setattr(model._network, "begin", lambda *_: None)
    original = model._network.process_with_logits

    def counted(window, new, *rest):
        calls.append((len(window), new))
        return original(window, new, *rest)

    monkeypatch.setattr(model._network, "process_with_logits", counted)
    for token in (9, 10):
        session.extend([token] * 3)
        session.next_logits()
    assert calls == [(3, 1), (3, 1)]


@needs_kernels
def test_a_step_of_rows_of_different_lengths_runs_in_the_background():
    session = small_model(SMALL["gpt2"]).start([[3], [4, 5, 6]])
    session.next_logits()
    session.extend([7, 8])
    assert session._background


def test_rows_join_where_there_is_room_without_copying_the_others():
    model = small_model(SMALL["gpt2"])
    session = model.start([[3]] * 4)
    session.join(model.start([[4]]))
    room = session._cache.base
    session.join(model.start([[5, 6]]))
    assert session._cache.base is room


@pytest.mark.parametrize("rows", [[0, 3, 2], [3, 2], [1, 1, 3], [0, 2, 3], [2, 3, 2]])
def test_rows_that_move_up_stay_in_the_same_array(rows):
    network = small_model(SMALL["gpt2"])._network
    cache = np.random.default_rng(0).random(network.new_cache(4).shape, dtype=np.float32)
    before, at = cache.copy(), np.array(rows)
    found = network.select(cache, at, 3)
    assert np.shares_memory(found, cache)
    assert np.array_equal(found[..., :3, :], before[at][..., :3, :])


def test_only_sessions_of_the_same_model_can_be_joined():
    model, other = small_model(SMALL["gpt2"]), small_model(SMALL["gpt2"])
    session = model.start([[3]])
    for wrong in (other.start([[3]]), session, None):
        with pytest.raises(UsageError, match="another session of the same model"):
            session.join(wrong)


@pytest.mark.parametrize(
    ("tokens", "complaint"),
    [
        ([[3], []], "cannot continue an empty text"),
        ([[3], [4, 30]], "there is no token 30"),
        ([[3], [4, -1]], "there is no token -1"),
        ([[3], [4, 0.5]], "tokens must be whole numbers"),
        ([[3], 4], "a list of ids for each row"),
    ],
)
def test_wrong_rows_are_refused(tokens, complaint):
    with pytest.raises(UsageError, match=complaint):
        small_model(SMALL["gpt2"]).start(tokens)


def test_a_row_cannot_lose_more_tokens_than_the_shortest_has():
    session = small_model(SMALL["gpt2"]).start([[3, 4, 5], [6, 7]])
    with pytest.raises(UsageError, match="a text of 2 tokens cannot lose its last 2"):
        session.rewind(2)
