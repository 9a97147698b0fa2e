"""Any Keras model as a language model."""

from __future__ import annotations

import numpy as np
import pytest
from small_models import SMALL, numbered_words, random_weights, small_model

import corelm
from corelm.distributions import log_softmax
from corelm.errors import UsageError
from corelm.model import bundle, keras_model
from corelm.model.keras_model import KerasLanguageModel

WORDS = numbered_words(6)


class LastToken:
    """Stands for a Keras model: after token t all six are as likely as row t of a table says."""

    def __init__(self, table, input_shape=None):
        self.table = np.asarray(table, np.float32)
        self.seen = []
        if input_shape:
            self.input_shape = input_shape

    def predict_on_batch(self, ids):
        assert ids.dtype == np.int32
        self.seen.append(ids.tolist())
        return self.table[ids]


COUNTING = np.arange(36).reshape(6, 6)
CERTAIN = np.eye(6)[[1, 2, 3, 4, 5, 0]]  # after token t comes t + 1, surely


def test_logits_are_those_after_the_last_token():
    session = KerasLanguageModel(LastToken(COUNTING), WORDS, 10).start([[1, 2], [3, 4]])
    assert session.logits.tolist() == [[12, 13, 14, 15, 16, 17], [24, 25, 26, 27, 28, 29]]
    assert session.logits.dtype == np.float32
    session.extend(np.array([0, 1]))
    assert session.logits[:, 0].tolist() == [0, 6]
    session.extend(np.array([[1, 2], [1, 3]]))
    assert session.logits[:, 0].tolist() == [12, 18]
    session.select([1, 1, 0])
    assert session.logits[:, 0].tolist() == [18, 18, 12]


def test_probabilities_are_found_out_and_zero_becomes_minus_infinity():
    inf = np.inf
    model = KerasLanguageModel(LastToken(CERTAIN), WORDS, 10)
    assert model.start([[1, 2]]).logits.tolist() == [[-inf, -inf, -inf, 0, -inf, -inf]]
    assert model.next_token_distribution([[1, 2]]).tolist() == [[0, 0, 0, 1, 0, 0]]


def test_it_may_be_said_whether_scores_are_probabilities():
    model = KerasLanguageModel(LastToken(CERTAIN), WORDS, 10, probabilities=False)
    assert model.start([[2]]).logits.tolist() == [[0, 0, 0, 1, 0, 0]]
    model = KerasLanguageModel(LastToken(COUNTING + 1), WORDS, 10, probabilities=True)
    np.testing.assert_allclose(model.start([[0]]).logits[0], np.log([1, 2, 3, 4, 5, 6]), rtol=1e-6)


def test_inputs_are_padded_to_few_lengths():
    inner = LastToken(COUNTING)
    model = KerasLanguageModel(inner, WORDS, 7, probabilities=False)
    for length in range(1, 9):
        session = model.start([[5] * length])
        assert session.logits[0, 0] == 30
    assert [len(ids[0]) for ids in inner.seen] == [2, 2, 4, 4, 7, 7, 7, 7]
    assert inner.seen[2] == [[5, 5, 5, 0]]


def test_past_the_context_the_window_moves_by_half_of_it():
    inner = LastToken(COUNTING)
    session = KerasLanguageModel(inner, WORDS, 4, probabilities=False).start([[1, 2, 3, 4]])
    session.extend([5])
    assert session.logits[0, 0] == 30
    assert inner.seen == [[[3, 4, 5, 0]]]


def test_a_model_of_one_length_gets_that_length():
    inner = LastToken(COUNTING, input_shape=(None, 5))
    model = KerasLanguageModel(inner, WORDS, 100)
    assert model.context_length == 5
    assert model.start([[4, 3]]).logits[0, 0] == 18
    assert inner.seen[-1] == [[4, 3, 0, 0, 0]]


def test_scores_are_computed_once_and_only_when_asked_for():
    inner = LastToken(COUNTING)
    session = KerasLanguageModel(inner, WORDS, 9, probabilities=False).start([[1], [2], [3]])
    session.extend([4, 4, 5])
    session.select([2])
    assert inner.seen == []
    assert [session.logits[0, 0], session.logits[0, 1]] == [30, 31]
    assert inner.seen == [[[3, 5]]]


def test_logits_after_each_of_the_last_tokens_and_going_back():
    inner = LastToken(COUNTING)
    session = KerasLanguageModel(inner, WORDS, 4, probabilities=False).start([[1], [2]])
    session.extend([[2, 3, 4], [3, 4, 5]])
    assert session.last_logits(3)[:, :, 0].tolist() == [[12, 18, 24], [18, 24, 30]]
    assert len(inner.seen) == 1
    session.extend([[5], [0]])  # one more than the context: two windows
    assert session.last_logits(2)[:, :, 0].tolist() == [[24, 30], [30, 0]]
    assert inner.seen[1:] == [
        [[1, 2, 3, 4], [2, 3, 4, 5]],
        [[3, 4, 5, 0], [4, 5, 0, 0]],
    ]
    session.rewind(3)
    assert session.logits[:, 0].tolist() == [12, 18]
    assert inner.seen[-1] == [[1, 2], [2, 3]]
    assert isinstance(session, corelm.RewindableSession)
    assert not isinstance(session, corelm.HiddenStateSession)


def test_what_forks_share_is_computed_once():
    inner = LastToken(COUNTING)
    session = KerasLanguageModel(inner, WORDS, 9, probabilities=False).start([[1, 2]])
    session.select([0, 0, 0])
    assert session.logits[:, 0].tolist() == [12, 12, 12]
    assert inner.seen == [[[1, 2]]]


def test_a_large_batch_is_cut_into_parts(monkeypatch):
    monkeypatch.setattr(keras_model, "AT_ONCE", 2 * 6 * 2)  # two rows of two tokens
    inner = LastToken(COUNTING)
    model = KerasLanguageModel(inner, WORDS, 9, probabilities=False)
    logits = model.start([[0, i] for i in range(5)]).logits
    assert logits[:, 0].tolist() == [0, 6, 12, 18, 24]
    assert [len(ids) for ids in inner.seen] == [2, 2, 1]


def test_a_text_begins_with_the_end_token_where_there_is_one():
    inner = LastToken(COUNTING)
    model = KerasLanguageModel(inner, numbered_words(6, end=True), 9, probabilities=False)
    assert model.start(np.empty((1, 0))).logits[0, 0] == 12
    assert inner.seen == [[[2, 0]]]


def test_a_model_of_another_shape_is_refused():
    with pytest.raises(UsageError, match=r"maps ids of shape \(1, 2\) to \(1, 2, 3\), not to"):
        KerasLanguageModel(LastToken(COUNTING[:, :3]), WORDS, 10)


def test_a_context_of_nothing_is_refused():
    with pytest.raises(UsageError, match="context_length must be at least 1, not 0"):
        KerasLanguageModel(LastToken(COUNTING), WORDS, 0)


def test_texts_are_generated_with_it():
    model = KerasLanguageModel(LastToken(CERTAIN), WORDS, 10)
    [text] = corelm.generate(model, "w0", sampler="stochastic", length=3, seed=1)
    assert text.tokens == [3, 4, 5]


@pytest.mark.parametrize("kind", SMALL)
def test_it_agrees_with_the_runtime_wherever_the_window_is(kind):
    pytest.importorskip("keras")
    from corelm.model.architecture import build

    network = build(SMALL[kind])
    bundle.set_weights(network, random_weights(SMALL[kind]))
    in_keras = KerasLanguageModel(network, numbered_words(30, end=True), 8)
    texts = np.random.default_rng(0).integers(1, 30, (3, 20))
    sessions = [m.start(texts[:, :3]) for m in (in_keras, small_model(SMALL[kind], end=True))]
    for position in range(3, 20):
        ours, theirs = (log_softmax(session.logits) for session in sessions)
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
        for session in sessions:
            session.extend(texts[:, position])
            if position == 10:
                session.select([2, 0, 2])
