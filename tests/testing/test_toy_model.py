"""The toy model: its vocabulary, its distributions, and its sessions."""

from __future__ import annotations

import numpy as np
import pytest

from corelm.abilities import can
from corelm.errors import UsageError
from corelm.testing import ToyModel


def test_the_vocabulary_of_the_toy_model():
    words = ToyModel().vocabulary
    assert words.words == (
        "", "[UNK]", "[end]",
        "and", "cat", "dog", "mat", "on", "ran", "sat", "saw", "the", "under",
    )  # fmt: skip
    assert (words.padding, words.unknown, words.ends) == (0, 1, (2,))
    assert words.encode("the cat flew") == [11, 4, 1]
    assert ToyModel(end=False).vocabulary.ends == ()


def test_the_toy_model_counts_its_sentences():
    # "the" is followed 11 times: by cat 5, dog 4, mat 2; each of the 13 tokens counts 0.1 more.
    p = ToyModel().next_token_distribution([[11]])[0]
    assert p.dtype == np.float32
    assert p[[4, 5, 6]] == pytest.approx([5.1 / 12.3, 4.1 / 12.3, 2.1 / 12.3], rel=1e-6)
    assert p[[0, 1, 2]] == pytest.approx([0.1 / 12.3] * 3, rel=1e-6)


def test_an_empty_text_begins_as_sentences_do():
    # Each of the five sentences begins with "the".
    p = ToyModel().next_token_distribution(np.empty((1, 0), dtype=int))[0]
    assert p[11] == pytest.approx(5.1 / 6.3, rel=1e-6)


def test_a_custom_table():
    model = ToyModel(["a", "b"], logits=np.log([0.1, 0.1, 0.2, 0.6]), end=False)
    assert model.next_token_distribution([[2], [3]]).tolist() == [
        pytest.approx([0.1, 0.1, 0.2, 0.6]),
        pytest.approx([0.1, 0.1, 0.2, 0.6]),
    ]


def test_a_row_per_token():
    logits = np.zeros((4, 4))
    logits[2, 3] = np.log(7)  # after "a" comes "b" with 7 in 10
    model = ToyModel(["a", "b"], logits, end=False)
    assert model.next_token_distribution([[3, 2]])[0].tolist() == pytest.approx([0.1] * 3 + [0.7])
    assert model.next_token_distribution([[2, 3]])[0].tolist() == pytest.approx([0.25] * 4)


def test_custom_words_are_equally_likely():
    assert ToyModel(["a"]).next_token_distribution([[3]]).tolist() == [[0.25] * 4]


def test_a_session_extends_forks_and_drops_rows():
    model = ToyModel()
    session = model.start([[11], [4]])
    after_the, after_cat, after_sat = (model.start([[i]]).next_logits()[0] for i in (11, 4, 9))
    assert np.array_equal(session.next_logits(), [after_the, after_cat])
    session.select([1, 1, 0])
    assert np.array_equal(session.next_logits(), [after_cat, after_cat, after_the])
    session.extend(np.array([9, 4, 11]))
    assert np.array_equal(session.next_logits(), [after_sat, after_cat, after_the])
    session.extend(np.array([[4, 9], [9, 4], [9, 9]]))
    assert np.array_equal(session.next_logits(), [after_sat, after_cat, after_sat])
    session.extend(np.empty((3, 0), dtype=int))
    assert np.array_equal(session.next_logits(), [after_sat, after_cat, after_sat])


def test_a_session_looks_back_and_goes_back():
    model = ToyModel()
    session = model.start([[11, 4, 9], [4, 9, 11]])
    logits = [[model.start([[i]]).next_logits()[0] for i in row] for row in ([4, 9], [9, 11])]
    assert np.array_equal(session.last_logits(2), logits)
    hidden = session.hidden_states(2)
    assert hidden.argmax(axis=-1).tolist() == [[4, 9], [9, 11]]
    assert hidden.sum(axis=-1).tolist() == [[1, 1], [1, 1]]
    session.rewind(1)
    assert np.array_equal(session.next_logits(), [row[0] for row in logits])
    session.rewind(2)
    assert np.array_equal(session.next_logits(), model.start([[], []]).next_logits())
    assert can(session, "rewind")
    assert can(session, "hidden_states")


def test_a_session_has_no_more_tokens_than_it_was_given():
    session = ToyModel().start([[11, 4]])
    for count in (0, 4):
        with pytest.raises(
            UsageError, match=f"count must be at least 1 and at most 3, not {count}"
        ):
            session.last_logits(count)
    for count in (-1, 3):
        with pytest.raises(UsageError, match=f"count must be at least 0 and below 3, not {count}"):
            session.rewind(count)


def test_logits_that_do_not_fit_are_refused():
    with pytest.raises(UsageError, match=r"must be \(4,\) or \(4, 4\) .* not \(3,\)"):
        ToyModel(["a", "b"], logits=[1, 2, 3], end=False)
