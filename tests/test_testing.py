"""The authors' test kit: every law catches a bad sampler written on purpose."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import corelm
from corelm import Sampler, keep, softmax
from corelm.errors import UsageError
from corelm.testing import (
    LAWS,
    ToyModel,
    ignores_a_constant,
    is_a_distribution,
    leaves_its_input_alone,
    never_revives_a_token,
    obeys_the_laws,
    repeats_itself,
    survives_a_point_mass,
    treats_rows_alone,
)


class Good(Sampler):
    """Drop the least likely tokens: exact, stateless, row by row."""

    def __call__(self, logits, context):
        return keep(logits, logits >= logits.max(axis=-1, keepdims=True) - 2)


# Bad samplers, each with one fault


class HiddenCounter(Sampler):
    calls = []

    def __call__(self, logits, context):
        self.calls.append(1)
        return logits / (1 + 0.01 * len(self.calls))


class PrivateRandomness(Sampler):
    def __call__(self, logits, context):
        noise = np.random.default_rng().gumbel(size=logits.shape)
        return (logits + noise).astype(logits.dtype)


class GlobalRandomness(Sampler):
    """The coin changes nothing here; that it is thrown is the fault."""

    def __call__(self, logits, context):
        np.random.random()
        return logits


class MeanOverTheBatch(Sampler):
    def __call__(self, logits, context):
        p = softmax(logits)
        return keep(logits, (p >= p.mean(axis=0)) | (p == p.max(axis=-1, keepdims=True)))


class WritesIntoItsInput(Sampler):
    def __call__(self, logits, context):
        logits[logits < logits.max(axis=-1, keepdims=True) - 2] = -np.inf
        return logits


class RevivesTokens(Sampler):
    def __call__(self, logits, context):
        return np.maximum(logits, logits.max(axis=-1, keepdims=True) - 20)


class RemovesTheOnlyToken(Sampler):
    """Keeps what is less likely than certain: nothing, where one token is certain."""

    def __call__(self, logits, context):
        p = softmax(logits)
        return keep(logits, p < 1)


class MovesTokens(Sampler):
    def __call__(self, logits, context):
        return np.roll(logits, 1, axis=-1)


class NotANumber(Sampler):
    def __call__(self, logits, context):
        with np.errstate(invalid="ignore"):
            return logits - logits.min(axis=-1, keepdims=True)


class PlusInfinity(Sampler):
    def __call__(self, logits, context):
        return np.where(logits == logits.max(axis=-1, keepdims=True), np.inf, logits).astype(
            logits.dtype
        )


class WrongShape(Sampler):
    def __call__(self, logits, context):
        return logits.max(axis=-1)


class WrongType(Sampler):
    def __call__(self, logits, context):
        return logits * np.float64(0.5)


class NoArray(Sampler):
    def __call__(self, logits, context):
        return logits.tolist()


class EmptyRow(Sampler):
    def __call__(self, logits, context):
        return keep(logits, softmax(logits) > 0.9)


class Raises(Sampler):
    def __call__(self, logits, context):
        return logits + context.tokens[:, [-1]].astype(logits.dtype)


class NeedsRawLogits(Sampler):
    def __call__(self, logits, context):
        return np.where(logits > 0, logits / 2, logits * 2)


class SaysThatItNeedsRawLogits(NeedsRawLogits):
    is_shift_invariant = False


ONE_FAULT = [
    (HiddenCounter(), {repeats_itself, treats_rows_alone, ignores_a_constant}),
    (PrivateRandomness(), {repeats_itself, treats_rows_alone, ignores_a_constant}),
    (GlobalRandomness(), {repeats_itself}),
    (MeanOverTheBatch(), {treats_rows_alone}),
    (WritesIntoItsInput(), {leaves_its_input_alone}),
    (RevivesTokens(), {never_revives_a_token}),
    (NeedsRawLogits(), {ignores_a_constant}),
]
"""Samplers whose results are distributions, and the laws that they break: no other one."""

NO_DISTRIBUTION = [
    (NotANumber(), "returned NaN", "Subtract the largest logit"),
    (PlusInfinity(), "returned +infinity", "finite or minus infinity"),
    (WrongShape(), "returned the shape (1,) instead of (1, 1)", "keepdims=True"),
    (WrongType(), "returned float64 instead of float32", "astype(logits.dtype)"),
    (NoArray(), "returned list instead of an array", "as a NumPy array"),
    (EmptyRow(), "returned a row in which every token is impossible", "likeliest token"),
    (Raises(), "raised IndexError", "an empty one too"),
]
"""Samplers whose results are none, what the law says is wrong, and what it says to do."""


def broken_by(sampler):
    """The laws that a sampler breaks."""
    return {law for law in LAWS if complaint(law, sampler)}


def complaint(law, sampler):
    try:
        law(sampler)
    except AssertionError as error:
        return str(error)
    return ""


def test_the_laws_are_these_seven():
    assert [law.__name__ for law in LAWS] == [
        "is_a_distribution",
        "leaves_its_input_alone",
        "repeats_itself",
        "treats_rows_alone",
        "never_revives_a_token",
        "survives_a_point_mass",
        "ignores_a_constant",
    ]
    assert all(law.__doc__ for law in LAWS)


@obeys_the_laws(Good(), SaysThatItNeedsRawLogits(), Good() | Good())
def test_a_good_sampler_obeys_every_law(sampler, law):
    law(sampler)


@pytest.mark.parametrize(
    ("sampler", "laws"),
    ONE_FAULT,
    ids=lambda value: repr(value)[:30] if not isinstance(value, set) else "laws",
)
def test_a_fault_is_caught_by_its_law_and_no_other(sampler, laws):
    assert broken_by(sampler) == laws


@pytest.mark.parametrize(("sampler", "what", "way_out"), NO_DISTRIBUTION, ids=repr)
def test_what_is_no_distribution_is_named_with_the_way_out(sampler, what, way_out):
    message = complaint(is_a_distribution, sampler)
    assert message.startswith(f"{sampler!r} {what}")
    assert way_out in message


def test_a_sampler_that_removes_the_only_token_is_caught():
    assert survives_a_point_mass in broken_by(RemovesTheOnlyToken())
    assert "keep the likeliest token" in complaint(survives_a_point_mass, RemovesTheOnlyToken())


def test_a_sampler_that_moves_the_only_token_is_caught():
    message = complaint(survives_a_point_mass, MovesTokens())
    assert message.startswith("MovesTokens() removed the one token that was possible")


@pytest.mark.parametrize("law", [repeats_itself, treats_rows_alone, never_revives_a_token])
def test_other_laws_refuse_what_is_no_distribution_too(law):
    assert "returned the shape" in complaint(law, WrongShape())


def test_the_constant_may_matter_where_the_sampler_says_so():
    ignores_a_constant(SaysThatItNeedsRawLogits())
    ignores_a_constant(Good() | SaysThatItNeedsRawLogits())
    with pytest.raises(AssertionError, match="was added to every logit"):
        ignores_a_constant(NeedsRawLogits())


@pytest.mark.parametrize(
    ("law", "sampler", "way_out"),
    [
        (repeats_itself, HiddenCounter(), "A sampler keeps nothing and draws nothing"),
        (repeats_itself, GlobalRandomness(), "a coin before the draw is a mixture"),
        (treats_rows_alone, MeanOverTheBatch(), "axis=-1"),
        (leaves_its_input_alone, WritesIntoItsInput(), "Work on a copy"),
        (never_revives_a_token, RevivesTokens(), "keep(result, logits > -np.inf)"),
        (ignores_a_constant, NeedsRawLogits(), "is_shift_invariant = False"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_each_law_says_what_to_do(law, sampler, way_out):
    message = complaint(law, sampler)
    assert message.startswith(repr(sampler))
    assert way_out in message


def test_the_tests_are_named_after_sampler_and_law():
    mark = obeys_the_laws(corelm.sampler("temperature", t=0.2)).mark
    assert mark.args[0] == ("sampler", "law")
    assert mark.kwargs["ids"][2] == "Temperature(t=0.2)-repeats_itself"
    assert len(mark.args[1]) == len(LAWS)


def test_nothing_to_test_is_refused():
    with pytest.raises(UsageError, match="at least one sampler"):
        obeys_the_laws()


def test_a_class_in_the_place_of_a_sampler_is_refused():
    with pytest.raises(UsageError, match=r"such as TopP\(p=0.9\), not <class"):
        obeys_the_laws(Good)


def test_pytest_is_imported_only_where_it_is_needed(monkeypatch):
    monkeypatch.setitem(sys.modules, "pytest", None)
    for law in LAWS:
        law(Good())
    with pytest.raises(ImportError):
        obeys_the_laws(Good())


# The toy model


def test_the_vocabulary_of_the_toy_model():
    words = ToyModel().vocabulary
    assert words.words == (
        "", "[UNK]", "[end]",
        "and", "cat", "dog", "mat", "on", "ran", "sat", "saw", "the", "under",
    )  # fmt: skip
    assert (words.padding, words.unknown, words.end) == (0, 1, 2)
    assert words.encode("the cat flew") == [11, 4, 1]
    assert ToyModel(end=False).vocabulary.end is None


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


def test_a_table_of_ones_own():
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


def test_words_of_ones_own_are_equally_likely():
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
    assert isinstance(session, corelm.RewindableSession)
    assert isinstance(session, corelm.HiddenStateSession)


def test_a_session_has_no_more_tokens_than_it_was_given():
    session = ToyModel().start([[11, 4]])
    for count in (0, 4):
        with pytest.raises(UsageError, match=f"the last {count} tokens of 3 cannot be looked at"):
            session.last_logits(count)
    for count in (-1, 3):
        with pytest.raises(UsageError, match=f"a text of 3 tokens cannot lose its last {count}"):
            session.rewind(count)


def test_logits_that_do_not_fit_are_refused():
    with pytest.raises(UsageError, match=r"must be \(4,\) or \(4, 4\) .* not \(3,\)"):
        ToyModel(["a", "b"], logits=[1, 2, 3], end=False)
