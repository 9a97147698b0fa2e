"""Any Keras model as a language model."""

from __future__ import annotations

import numpy as np
import pytest
from corelm_train import KerasLanguageModel, keras_model
from corelm_train.network_weights import set_weights
from small_models import SMALL, numbered_words, random_weights, small_model

from corelm import log_softmax
from corelm.abilities import can
from corelm.errors import UsageError
from corelm.testing import obeys_the_laws

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


@obeys_the_laws(KerasLanguageModel(LastToken(COUNTING), WORDS, 10), tolerance=0)
def test_it_obeys_the_laws_of_models(model, law):
    law(model)


def test_logits_are_those_after_the_last_token():
    session = KerasLanguageModel(LastToken(COUNTING), WORDS, 10).start([[1, 2], [3, 4]])
    assert session.next_logits().tolist() == [[12, 13, 14, 15, 16, 17], [24, 25, 26, 27, 28, 29]]
    assert session.next_logits().dtype == np.float32
    session.extend(np.array([0, 1]))
    assert session.next_logits()[:, 0].tolist() == [0, 6]
    session.extend(np.array([[1, 2], [1, 3]]))
    assert session.next_logits()[:, 0].tolist() == [12, 18]
    session.select([1, 1, 0])
    assert session.next_logits()[:, 0].tolist() == [18, 18, 12]


def test_probabilities_are_found_out_and_zero_becomes_minus_infinity():
    inf = np.inf
    model = KerasLanguageModel(LastToken(CERTAIN), WORDS, 10)
    assert model.start([[1, 2]]).next_logits().tolist() == [[-inf, -inf, -inf, 0, -inf, -inf]]
    assert model.next_token_distribution([[1, 2]]).tolist() == [[0, 0, 0, 1, 0, 0]]


def test_it_may_be_said_whether_scores_are_probabilities():
    model = KerasLanguageModel(LastToken(CERTAIN), WORDS, 10, probabilities=False)
    assert model.start([[2]]).next_logits().tolist() == [[0, 0, 0, 1, 0, 0]]
    model = KerasLanguageModel(LastToken(COUNTING + 1), WORDS, 10, probabilities=True)
    np.testing.assert_allclose(
        model.start([[0]]).next_logits()[0], np.log([1, 2, 3, 4, 5, 6]), rtol=1e-6
    )


def test_inputs_are_padded_to_few_lengths():
    inner = LastToken(COUNTING)
    model = KerasLanguageModel(inner, WORDS, 7, probabilities=False, causal=True)
    for length in range(1, 9):
        session = model.start([[5] * length])
        assert session.next_logits()[0, 0] == 30
    assert [len(ids[0]) for ids in inner.seen] == [2, 2, 4, 4, 7, 7, 7, 7]
    assert inner.seen[2] == [[5, 5, 5, 0]]


def test_past_the_context_the_window_moves_by_half_of_it():
    inner = LastToken(COUNTING)
    session = KerasLanguageModel(inner, WORDS, 4, probabilities=False, causal=True).start(
        [[1, 2, 3, 4]]
    )
    session.extend([5])
    assert session.next_logits()[0, 0] == 30
    assert inner.seen == [[[3, 4, 5, 0]]]


def test_a_model_of_one_length_gets_that_length():
    inner = LastToken(COUNTING, input_shape=(None, 5))
    model = KerasLanguageModel(inner, WORDS, 100)
    assert model.context_length == 5
    assert model.start([[4, 3]]).next_logits()[0, 0] == 18
    assert inner.seen[-1] == [[4, 3, 0, 0, 0]]


@pytest.mark.slow
def test_a_model_without_a_declared_input_keeps_its_context(tmp_path):
    """Wrapping it calls it once, with a text of two tokens, and a saved file has that shape."""
    import keras

    layers = keras.layers.Embedding(6, 4), keras.layers.Dense(6)
    model = keras.Sequential([*layers])
    assert KerasLanguageModel(model, WORDS, 50).context_length == 50
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.input_shape[1] == 2
    assert KerasLanguageModel(again, WORDS, 50).context_length == 50
    declared = keras.Sequential([keras.Input((7,), dtype="int32"), *layers])
    assert KerasLanguageModel(declared, WORDS, 50).context_length == 7


def test_scores_are_computed_once_and_only_when_asked_for():
    inner = LastToken(COUNTING)
    session = KerasLanguageModel(inner, WORDS, 9, probabilities=False, causal=True).start(
        [[1], [2], [3]]
    )
    session.extend([4, 4, 5])
    session.select([2])
    assert inner.seen == []
    assert session.next_logits()[0, :2].tolist() == [30, 31]
    assert inner.seen == [[[3, 5]]]


def test_logits_after_each_of_the_last_tokens_and_going_back():
    inner = LastToken(COUNTING)
    session = KerasLanguageModel(inner, WORDS, 4, probabilities=False, causal=True).start(
        [[1], [2]]
    )
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
    assert session.next_logits()[:, 0].tolist() == [12, 18]
    assert inner.seen[-1] == [[1, 2], [2, 3]]
    assert can(session, "rewind")
    assert not can(session, "hidden_states")


def test_the_shared_part_of_forks_is_computed_once():
    inner = LastToken(COUNTING)
    session = KerasLanguageModel(inner, WORDS, 9, probabilities=False, causal=True).start([[1, 2]])
    session.select([0, 0, 0])
    assert session.next_logits()[:, 0].tolist() == [12, 12, 12]
    assert inner.seen == [[[1, 2]]]


def test_a_large_batch_is_cut_into_parts(monkeypatch):
    monkeypatch.setattr(keras_model, "AT_ONCE", 2 * 6 * 2)  # two rows of two tokens
    inner = LastToken(COUNTING)
    model = KerasLanguageModel(inner, WORDS, 9, probabilities=False, causal=True)
    for _ in range(2):
        logits = model.start([[0, i] for i in range(5)]).next_logits()
        assert logits[:, 0].tolist() == [0, 6, 12, 18, 24]
        assert [len(ids) for ids in inner.seen] == [2, 2, 1]
        inner.seen.clear()
        monkeypatch.setattr(keras_model, "AT_ONCE", 3 * 6 * 2)  # three, and so still two


def test_batches_are_padded_to_few_sizes_with_texts_that_are_there():
    inner = LastToken(COUNTING)
    model = KerasLanguageModel(inner, WORDS, 7, probabilities=False, causal=True)
    for batch in range(1, 10):
        logits = model.start([[1, i % 6] for i in range(batch)]).next_logits()
        assert logits[:, 0].tolist() == [6 * (i % 6) for i in range(batch)]
    assert [len(ids) for ids in inner.seen] == [1, 2, 4, 4, 8, 8, 8, 8, 16]
    assert inner.seen[2] == [[1, 0], [1, 1], [1, 2], [1, 2]]


class Traced(LastToken):
    """The same, compiled again for each shape of its input, as JAX and XLA do."""

    def __init__(self, table):
        super().__init__(table)
        self.traces = 0
        tf = pytest.importorskip("tensorflow", reason="pip install tensorflow")

        def scores(ids):
            self.traces += 1
            return tf.gather(tf.constant(self.table), ids)

        self._compiled = tf.function(scores)

    def predict_on_batch(self, ids):
        return self._compiled(
            pytest.importorskip("tensorflow", reason="pip install tensorflow").constant(ids)
        ).numpy()


@pytest.mark.slow
def test_a_step_is_compiled_for_few_shapes():
    inner = Traced(COUNTING)
    model = KerasLanguageModel(inner, WORDS, 20, probabilities=False, causal=True)
    for batch in range(1, 9):
        for length in range(1, 31):
            session = model.start(np.full((batch, length), 5))
            assert session.next_logits()[:, 0].tolist() == [30] * batch
    assert inner.traces == 4 * 5  # 1, 2, 4, 8 texts of 2, 4, 8, 16, 20 tokens


class Ahead(LastToken):
    """A model that looks ahead: it scores each token by its count in the whole text."""

    def predict_on_batch(self, ids):
        scores = super().predict_on_batch(ids).copy()
        scores[:] = (ids[:, :, None] == np.arange(6)).sum(axis=1, keepdims=True)
        return scores


def test_a_model_that_looks_ahead_is_run_on_exact_lengths(caplog):
    inner = Ahead(COUNTING)
    model = KerasLanguageModel(inner, WORDS, 8, probabilities=False)
    assert [record.message for record in caplog.records] == [
        "the scores of this model depend on the tokens after a text; it is run on exact lengths, "
        "which is slow where each length is compiled"
    ]
    inner.seen.clear()
    session = model.start([[1, 2, 2], [3, 3, 3]])
    assert session.next_logits().tolist() == [[0, 1, 2, 0, 0, 0], [0, 0, 0, 3, 0, 0]]
    assert session.last_logits(2)[0].tolist() == [[0, 1, 1, 0, 0, 0], [0, 1, 2, 0, 0, 0]]
    assert [np.shape(ids) for ids in inner.seen] == [(2, 3), (2, 2), (2, 3)]


def test_a_model_of_one_length_that_looks_ahead_is_noted(caplog):
    inner = Ahead(COUNTING, input_shape=(None, 5))
    model = KerasLanguageModel(inner, WORDS, 8, probabilities=False)
    assert "it takes only one length, so padding follows each text" in caplog.text
    assert model.start([[1, 2]]).next_logits().tolist() == [[3, 1, 1, 0, 0, 0]]


class FromTheEnd(LastToken):
    """A model that counts positions from the end: what matters is how many tokens follow."""

    def predict_on_batch(self, ids):
        left = np.arange(ids.shape[1])[::-1]
        return super().predict_on_batch(ids) + left[:, None].astype(np.float32)


class Dropping(LastToken):
    """A model whose scores change from call to call, as with dropout."""

    def predict_on_batch(self, ids):
        return super().predict_on_batch(ids) + np.float32(len(self.seen))


def test_a_model_that_changes_is_not_said_to_look_ahead(caplog):
    KerasLanguageModel(Dropping(COUNTING), WORDS, 8, probabilities=False)
    [record] = caplog.records
    assert record.message.startswith("the scores of this model change from call to call")


def test_a_model_to_which_only_the_length_matters_looks_ahead_too(caplog):
    model = KerasLanguageModel(FromTheEnd(COUNTING), WORDS, 8, probabilities=False)
    assert len(caplog.records) == 1
    assert model.start([[1, 2, 3]]).next_logits()[0, 0] == 18


@pytest.mark.parametrize("context_length", [1, 2, 3, 8])
@pytest.mark.parametrize("table", [COUNTING, CERTAIN, np.where(np.eye(6) > 0, 0, -np.inf)])
def test_a_causal_model_is_known_as_one(caplog, table, context_length):
    inner = LastToken(table)
    model = KerasLanguageModel(inner, WORDS, context_length)
    assert not caplog.records
    assert max(len(ids[0]) for ids in inner.seen) <= context_length
    assert model.start([[2, 3, 4, 5, 2]]).next_logits().shape == (1, 6)
    assert len(inner.seen[-1][0]) == min(8, context_length)


def test_it_may_be_said_that_a_model_looks_ahead():
    inner = LastToken(COUNTING)
    model = KerasLanguageModel(inner, WORDS, 8, probabilities=False, causal=False)
    assert model.start([[1, 2, 3]]).next_logits()[0, 0] == 18
    assert inner.seen == [[[1, 2, 3]]]


def test_a_text_begins_with_the_end_token_where_there_is_one():
    inner = LastToken(COUNTING)
    model = KerasLanguageModel(
        inner, numbered_words(6, end=True), 9, probabilities=False, causal=True
    )
    assert model.start(np.empty((1, 0))).next_logits()[0, 0] == 12
    assert inner.seen == [[[2, 0]]]


@pytest.mark.parametrize(
    ("table", "words", "length", "message"),
    [
        (COUNTING[:, :3], WORDS, 10, r"maps ids of shape \(1, 2\) to \(1, 2, 3\), not to"),
        (COUNTING, WORDS, 0, "context_length must be at least 1, not 0"),
        (COUNTING, "a vocabulary", 10, "the vocabulary has no attribute padding; None would say"),
    ],
)
def test_what_is_no_model_of_words_is_refused(table, words, length, message):
    with pytest.raises(UsageError, match=message):
        KerasLanguageModel(LastToken(table), words, length)


@pytest.fixture(params=["attention", "both ways"])
def looking_ahead(request):
    """A Keras network that is not causal, with random weights."""
    keras = pytest.importorskip("keras", reason="pip install keras")
    keras.utils.set_random_seed(0)
    inputs = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(30, 8)(inputs)
    if request.param == "attention":
        x = keras.layers.MultiHeadAttention(2, 4)(x, x)
    else:
        x = keras.layers.Bidirectional(keras.layers.GRU(4, return_sequences=True))(x)
    return keras.Model(inputs, keras.layers.Dense(30)(x))


@pytest.mark.slow
def test_scores_of_a_keras_model_that_looks_ahead_are_those_of_the_text_alone(looking_ahead):
    model = KerasLanguageModel(looking_ahead, numbered_words(30), 16)
    texts = np.random.default_rng(0).integers(1, 30, (3, 7))
    expected = looking_ahead.predict_on_batch(texts)[:, -1]
    np.testing.assert_allclose(model.start(texts).next_logits(), expected, atol=1e-5)


@pytest.mark.long
@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("kind", SMALL)
def test_rounding_does_not_look_like_looking_ahead(kind, precision, caplog):
    keras = pytest.importorskip("keras", reason="pip install keras")
    from corelm_train import build

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    network = build(SMALL[kind])
    keras.config.set_dtype_policy(before)
    set_weights(network, random_weights(SMALL[kind]))
    KerasLanguageModel(network, numbered_words(30, end=True), 8)
    assert not [record for record in caplog.records if record.name == "corelm"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", SMALL)
def test_it_agrees_with_the_runtime_wherever_the_window_is(kind):
    pytest.importorskip("keras", reason="pip install keras")
    from corelm_train import build

    network = build(SMALL[kind])
    set_weights(network, random_weights(SMALL[kind]))
    in_keras = KerasLanguageModel(network, numbered_words(30, end=True), 8)
    texts = np.random.default_rng(0).integers(1, 30, (3, 20))
    sessions = [m.start(texts[:, :3]) for m in (in_keras, small_model(SMALL[kind], end=True))]
    for position in range(3, 20):
        ours, theirs = (log_softmax(session.next_logits()) for session in sessions)
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
        for session in sessions:
            session.extend(texts[:, position])
            if position == 10:
                session.select([2, 0, 2])
