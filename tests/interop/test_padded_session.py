"""Sessions of rows of different lengths on a padded cache of an engine that counts its passes."""

from __future__ import annotations

import numpy as np
import pytest

import corelm
from corelm.errors import UsageError
from corelm.interop import PaddedSession
from corelm.interop.session_trial import row_faults
from corelm.testing import ToyModel, obeys_the_laws

TOY = ToyModel()
SIZE = len(TOY.vocabulary)


class Cache:
    """A cache whose "keys" are the tokens; its logits depend on each token and its position."""

    passes: list[tuple[int, int]] = []

    def __init__(self, crops=True):
        self.crops, self.tokens, self.lengths = crops, np.empty((0, 0), int), np.empty(0, int)

    @property
    def positions(self):
        return self.tokens.shape[1]

    def empty(self):
        return Cache(self.crops)

    def process(self, tokens, count, lengths=None):
        self.passes.append(tokens.shape)
        if not self.positions:
            self.tokens, self.lengths = tokens[:, :0], np.zeros(len(tokens), int)
        if lengths is not None:
            assert np.array_equal(lengths, self.lengths)
        self.tokens = np.concatenate([self.tokens, tokens], axis=1)
        self.lengths = self.lengths + tokens.shape[1]
        ends = range(self.positions - count + 1, self.positions + 1)
        return (np.stack([self.logits(end) for end in ends], axis=1),)

    def logits(self, end):
        before = self.positions - self.lengths
        positions = np.arange(1, end + 1) - before[:, None]
        sums = np.where(positions > 0, self.tokens[:, :end] * positions, 0).sum(axis=1)
        return np.sin(np.sin(sums)[:, None] * np.arange(1, SIZE + 1)).astype(np.float32)

    def truncate(self, length):
        dropped = self.positions - length
        if not self.crops:
            length, dropped = 0, self.positions
        self.tokens, self.lengths = self.tokens[:, :length], np.maximum(self.lengths - dropped, 0)
        return length

    def select(self, rows):
        self.tokens, self.lengths = self.tokens[rows], self.lengths[rows]

    def join(self, other):
        time = max(self.positions, other.positions)
        padded = (np.pad(c.tokens, ((0, 0), (time - c.positions, 0))) for c in (self, other))
        self.tokens = np.concatenate([*padded])
        self.lengths = np.concatenate([self.lengths, other.lengths])

    def trim(self, positions):
        assert (self.lengths <= positions).all()
        self.tokens = self.tokens[:, -positions:]


class Model:
    vocabulary = TOY.vocabulary

    def __init__(self, crops=True, context_length=12):
        self.crops, self.context_length = crops, context_length

    def start(self, tokens):
        return PaddedSession(
            Cache(self.crops), tokens, self.vocabulary, self.context_length, model=self
        )

    def next_token_distribution(self, tokens):
        return corelm.softmax(self.start(tokens).next_logits())


@obeys_the_laws(Model(), Model(crops=False), Model(context_length=3), tolerance=0)
def test_rows_have_the_logits_of_each_alone(model, law):
    law(model)


@pytest.fixture
def passes():
    Cache.passes.clear()
    return Cache.passes


def test_rows_of_different_lengths_are_extended_in_one_pass(passes):
    model = Model(context_length=50)
    session = model.start([[3, 4], [5], [6, 7]])
    session.next_logits()
    assert sorted(passes) == [(1, 2), (2, 3)]  # the start token is one of them; a pass a length
    passes.clear()
    for count in (1, 2):
        session.extend(np.full((3, count), 8))
        session.next_logits()
    session.join(model.start([[9]]))
    passes.clear()
    session.extend([3, 4, 5, 6])
    session.next_logits()
    assert passes == [(4, 1)]


def test_positions_that_are_padding_in_all_rows_are_dropped():
    session = Model(context_length=50).start([[3] * 20, [4]])
    session.next_logits()
    session.select([1])
    assert session._cache.positions == 2
    sliding = Model(context_length=4).start([[3] * 5, [4] * 2])
    for token in range(3, 9):
        sliding.extend([token, token])
        sliding.next_logits()
        assert sliding._cache.positions <= 4


def test_an_interrupted_pass_leaves_nothing_in_the_cache(monkeypatch):
    model = Model(context_length=50)
    session = model.start([[3, 4], [5]])
    session.next_logits()
    session.extend([6, 7])
    process = Cache.process

    def fail(cache, *arguments):
        process(cache, *arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Cache, "process", fail)
        with pytest.raises(KeyboardInterrupt):
            session.next_logits()
    assert np.array_equal(session.next_logits()[:1], model.start([[3, 4, 6]]).next_logits())


def test_sessions_of_other_models_are_refused():
    session = Model().start([[3]])
    for other in (session, Model().start([[3]]), TOY.start([[3]])):
        with pytest.raises(UsageError, match="another session of the same model"):
            session.join(other)


class NoMask(Cache):
    """An engine that reads padding as text."""

    def empty(self):
        return NoMask()

    def logits(self, end):
        sums = (self.tokens[:, :end] * np.arange(1, end + 1)).sum(axis=1)
        return np.sin(sums[:, None] * np.arange(1, SIZE + 1)).astype(np.float32)


class NoJoin(Cache):
    def empty(self):
        return NoJoin()

    def join(self, other):
        raise NotImplementedError


@pytest.mark.parametrize(
    ("cache", "faults"), [(Cache, set()), (NoMask, {"start", "join"}), (NoJoin, {"start"})]
)
def test_engines_without_masks_are_found_out(cache, faults):
    def start(tokens):
        return PaddedSession(cache(), tokens, TOY.vocabulary, 50, model=cache)

    assert row_faults(start, start, SIZE).keys() == faults


def test_a_trial_of_rows_takes_six_passes():
    caches = []

    class Counted(Cache):
        def empty(self):
            return Counted()

        def process(self, *args, **options):
            caches.append(self)
            return super().process(*args, **options)

    def start(tokens):
        return PaddedSession(Counted(), tokens, TOY.vocabulary, 50, model=Counted)

    assert row_faults(start, start, SIZE) == {}
    assert len(caches) == 6
