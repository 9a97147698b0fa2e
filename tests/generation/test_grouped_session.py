"""Rows of different lengths for models whose sessions take rows of one length."""

from __future__ import annotations

import numpy as np
import pytest

import corelm
from corelm.abilities import can
from corelm.errors import UsageError
from corelm.runs import start_rows
from corelm.testing import ToyModel, obeys_the_laws

TOY = ToyModel()


class SumSession:
    """The simplest session: it keeps its texts, all of one length."""

    def __init__(self, tokens):
        self.tokens = np.array(tokens)

    def next_logits(self):
        sums = np.sin((self.tokens * np.arange(1, self.tokens.shape[1] + 1)).sum(axis=1))
        return np.sin(sums[:, None] * np.arange(1, len(TOY.vocabulary) + 1)).astype(np.float32)

    def extend(self, tokens):
        more = np.reshape(tokens, (len(self.tokens), -1))
        self.tokens = np.concatenate([self.tokens, more], axis=1)

    def select(self, rows):
        self.tokens = self.tokens[np.asarray(rows)]


class RewindingSession(SumSession):
    def rewind(self, count):
        self.tokens = self.tokens[:, : self.tokens.shape[1] - count]

    def last_logits(self, count):
        time = self.tokens.shape[1]
        parts = [SumSession(self.tokens[:, : time - i]).next_logits() for i in range(count)]
        return np.stack(parts[::-1], axis=1)


class SumModel:
    vocabulary, context_length = TOY.vocabulary, 10**6

    def __init__(self, session=SumSession):
        self.start_equal = session

    def start(self, tokens):
        return start_rows(self.start_equal, tokens)

    def next_token_distribution(self, tokens):
        return corelm.softmax(self.start(tokens).next_logits())


@obeys_the_laws(SumModel(), SumModel(RewindingSession), tolerance=0)
def test_any_session_of_equal_rows_gets_rows_of_different_lengths(model, law):
    law(model)


def test_it_can_what_its_sessions_can():
    plain, rewinding = (SumModel(s).start([[3]]) for s in (SumSession, RewindingSession))
    assert can(plain, "join")
    assert not can(plain, "rewind")
    assert can(rewinding, "rewind")
    assert can(start_rows(TOY.start, [[3]]), "hidden_states")


def test_rows_of_one_length_are_one_session():
    started = []

    def start(ids):
        started.append(ids.tolist())
        return SumSession(ids)

    start_rows(start, [[3, 4], [5], [6, 7]])
    assert started == [[[5]], [[3, 4], [6, 7]]]


def test_all_rows_may_go():
    session = SumModel().start([[3, 4], [5]])
    session.select([])
    assert session.next_logits().shape == (0, len(TOY.vocabulary))


@pytest.mark.parametrize("tokens", [3, [3, 4], [[3], 4], [[[3]]]])
def test_other_shapes_are_refused(tokens):
    with pytest.raises(UsageError, match="tokens must be"):
        SumModel().start(tokens)


def test_tokens_for_other_rows_are_refused():
    with pytest.raises(UsageError, match=r"tokens must be \(2,\) or \(2, time\), not \(3,\)"):
        SumModel().start([[3, 4], [5]]).extend([3, 4, 5])
