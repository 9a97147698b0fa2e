"""DRY: what would go on with a repetition is lowered, the more the longer it is."""

from __future__ import annotations

import numpy as np
import pytest
from corelm_samplers.dry import Dry, repetitions, z_function
from hypothesis import given
from hypothesis import strategies as st

from corelm import Context, generate
from corelm.errors import UsageError
from corelm.testing import ToyModel

INF = float("inf")
A, B, C, Y = range(4)


def lowered(dry, tokens, size=4):
    """Return the decrease of each logit that falls, by token."""
    context = Context.of(np.array([tokens], dtype=np.int64))
    fall = -dry(np.zeros((1, size)), context)[0]
    return {int(t): float(fall[t]) for t in np.flatnonzero(fall)}


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        # what follows an earlier occurrence of the last n tokens, with the longest such n
        ([], {}),
        ([A], {}),
        ([A, B], {}),
        ([A, A], {A: 1}),
        ([A, B, A], {B: 1}),
        ([A, B, C, A, B], {C: 2}),
        ([B, A, C, B, A], {C: 2}),
        ([A, B, C, Y, B, C], {Y: 2}),
        ([A, B, C, C, B, C, Y, A, B, C], {C: 3, B: 1, Y: 2}),
        ([A, A, A, A], {A: 3}),  # a run may overlap itself
        ([A, B, A, B, A], {B: 3}),
        ([C, A, B, Y, A, B, Y, C, A, B], {Y: 3}),
    ],
)
def test_the_tokens_that_would_continue_a_repetition_and_its_length(tokens, expected):
    assert repetitions(tokens, breakers=()) == expected


@pytest.mark.parametrize(
    ("allowed_length", "expected"),
    [
        # lengths: C 3, B 1, Y 2; multiplier 1, base 2
        (1, {C: 4, B: 1, Y: 2}),
        (2, {C: 2, Y: 1}),
        (3, {C: 1}),
        (4, {}),
    ],
)
def test_the_penalty_is_a_power_of_the_base(allowed_length, expected):
    dry = Dry(multiplier=1, base=2, allowed_length=allowed_length)
    assert lowered(dry, [A, B, C, C, B, C, Y, A, B, C]) == expected


def test_the_usual_values():
    dry = Dry(multiplier=0.8)
    assert (dry.base, dry.allowed_length) == (1.75, 2)
    fall = lowered(dry, [A, B, C, Y, A, B, C])  # Y would be the fourth
    assert fall == {Y: pytest.approx(0.8 * 1.75)}


@pytest.mark.parametrize(
    ("tokens", "breakers", "expected"),
    [
        ([A, B, C, Y, A, B, C], [B], {Y: 1}),  # only C comes after the last breaker
        ([A, B, C, Y, A, B, C], [A], {Y: 2}),
        ([A, B, C, Y, A, B, C], [C], {}),  # nothing does
        ([A, B, C, Y, A, B, C], [Y], {}),  # it is never lowered itself
        ([A, Y, B, C, A, Y, B], [Y], {C: 1}),
        ([Y, B, C, A, B], [Y], {C: 1}),
    ],
)
def test_a_breaker_stops_the_match_and_is_never_penalised(tokens, breakers, expected):
    assert repetitions(tokens, breakers) == expected


def test_breakers_are_words_or_ids():
    model = ToyModel(["a", "b", "!"], end=False)  # ids 2, 3, 4
    context = Context.of([[2, 4, 3, 2, 4]], vocabulary=model.vocabulary)
    for breaker in ("!", 4):
        dry = Dry(multiplier=1, allowed_length=1, sequence_breakers=[breaker])
        assert dry(np.zeros((1, 5)), context).tolist() == [[0] * 5]
    assert Dry(multiplier=1, allowed_length=1)(np.zeros((1, 5)), context)[0, 3] == -1.75


@pytest.mark.parametrize(
    ("breaker", "message"),
    [
        ("! !", "dry: '! !' is 2 tokens ('!', '!'); give each of them by itself"),
        (99, "dry: there is no token 99; the ids go from 0 to 3"),
    ],
)
def test_a_breaker_that_is_not_a_token_is_refused(breaker, message):
    dry = Dry(multiplier=1, sequence_breakers=[breaker])
    with pytest.raises(UsageError) as caught:
        generate(ToyModel(["a", "!"], end=False), "a", sampler=dry, length=1)
    assert str(caught.value) == message


def test_a_breaker_that_the_vocabulary_lacks_is_skipped():
    model = ToyModel(["a", "b", "!"], end=False)  # ids 2, 3, 4
    context = Context.of([[2, 4, 3, 2, 4]], vocabulary=model.vocabulary)
    for breakers in ([], ["?"], ["?", "unheard-of"]):
        dry = Dry(multiplier=1, allowed_length=1, sequence_breakers=breakers)
        assert dry(np.zeros((1, 5)), context)[0, 3] == -1.75
    dry = Dry(multiplier=1, allowed_length=1, sequence_breakers=["?", "!"])
    assert dry(np.zeros((1, 5)), context).tolist() == [[0] * 5]


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        # every token that occurred has a match of length 0 at least: base^0 = 1
        ([A], {A: 1}),
        ([A, B, C], {A: 1, B: 1, C: 1}),
        # after A came B: length 1
        ([A, B, A], {A: 1, B: 1.75}),
        ([A, B, A, B, A], {A: 1, B: 1.75**3}),
        ([], {}),
    ],
)
def test_with_an_allowed_length_of_0_every_token_that_occurred_is_lowered(tokens, expected):
    assert lowered(Dry(multiplier=1, allowed_length=0), tokens) == pytest.approx(expected)


def test_a_window_forgets_the_tokens_before_it():
    tokens = [A, B, C, A, B]
    assert lowered(Dry(multiplier=1), tokens) == {C: 1}
    assert lowered(Dry(multiplier=1, last=4), tokens) == {}  # B C A B: only B is there twice
    assert lowered(Dry(multiplier=1, last=4, allowed_length=1), tokens) == {C: 1}
    context = Context.of([tokens], prompt_length=2)
    drawn_only = Dry(multiplier=1, allowed_length=1, skip_prompt=True)
    assert drawn_only(np.zeros((1, 4)), context).tolist() == [[0, 0, 0, 0]]


def test_every_row_has_its_own_past():
    context = Context.of([[A, B, A], [A, B, C]])
    after = Dry(multiplier=1, allowed_length=1)(np.ones((2, 4)), context)
    assert after.tolist() == [[1, 0, 1, 1], [1, 1, 1, 1]]


@pytest.mark.parametrize("length", range(7))
def test_a_row_of_a_batch_is_lowered_as_it_is_alone(length):
    rng = np.random.default_rng(length)
    for time in (1, 2, 5, 30):
        texts = rng.integers(0, 3, (40, time))
        texts[1::4] = texts[::4]  # texts of one prompt begin alike
        logits, sampler = rng.normal(0, 1, (40, 4)), Dry(multiplier=0.5, allowed_length=length)
        alone = [
            sampler(logits[i : i + 1], Context.of(texts[i : i + 1], vocabulary_size=4))
            for i in range(40)
        ]
        together = sampler(logits, Context.of(texts, vocabulary_size=4))
        assert np.array_equal(together, np.concatenate(alone))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_penalty_too_large_for_its_type_removes_nothing(dtype):
    logits = np.array([[0.0, -INF, 1.0]], dtype=dtype)
    context = Context.of([[A] * 3000])
    after = Dry(multiplier=1e300)(logits, context)  # times 1.75^158, the limit of the power
    assert after.tolist() == [[float(np.finfo(dtype).min), -INF, 1.0]]


def test_without_a_repetition_the_logits_come_back():
    logits = np.zeros((1, 4))
    assert Dry(multiplier=1)(logits, Context.of([[A, B, C]])) is logits


def test_ids_outside_the_vocabulary_are_left_alone():
    assert lowered(Dry(multiplier=1, allowed_length=1), [7, 1, 7, -1, 7], size=3) == {1: 1}


def test_the_first_id_outside_the_vocabulary_is_left_alone_too():
    context = Context.of([[0, 1, 3, 0, 1]])
    assert Dry(multiplier=1, allowed_length=1)(np.zeros((1, 3)), context).tolist() == [[0, 0, 0]]
    assert Dry(multiplier=1, allowed_length=1)(np.zeros((1, 4)), context).tolist() == [
        [0, 0, 0, -1.75]
    ]


# The linear time


def z_by_definition(sequence):
    n = len(sequence)
    return [0][:n] + [
        next((k for k in range(n - i) if sequence[k] != sequence[i + k]), n - i)
        for i in range(1, n)
    ]


@given(st.lists(st.integers(0, 2), max_size=40))
def test_the_z_function_is_what_its_definition_says(sequence):
    assert z_function(sequence) == z_by_definition(sequence)


def matches_by_the_z_function(tokens, breakers, shortest):
    """Return the repetitions as they follow from the Z-function."""
    backwards = tokens[::-1]
    limit = next((i for i, token in enumerate(backwards) if token in breakers), len(tokens))
    longest = {}
    for follower, n in zip(backwards, [*z_function(backwards), 0][1:], strict=True):
        n = min(n, limit)
        if n >= max(shortest, longest.get(follower, 0)) and follower not in breakers:
            longest[follower] = n
    return longest


@given(
    st.lists(st.integers(0, 3), max_size=40),
    st.integers(1, 5),
    st.sets(st.integers(0, 4), max_size=2),
    st.integers(0, 6),
)
def test_repetitions_are_those_of_the_z_function(part, times, breakers, shortest):
    tokens = part * times
    expected = matches_by_the_z_function(tokens, breakers, shortest)
    assert repetitions(tokens, breakers, shortest) == expected


def test_repetitions_where_hashes_collide():
    # Parts of the Thue-Morse sequence have equal hashes modulo 2^64, whatever the multiplier.
    word = [bin(i).count("1") % 2 for i in range(2**13)]
    other = [1 - bit for bit in word]
    for tokens in (word + other + word[::-1] + word, word + other, other + word + other):
        expected = matches_by_the_z_function(tokens, (), 2)
        assert repetitions(tokens, (), 2) == expected


def test_long_repetitions_take_few_steps_of_python():
    # Not by the clock: each step of Python would be a call of these or a line.
    import sys

    for tokens in ([5] * 30_000, [5, 6] * 15_000, [*range(900)] * 33):
        lines = 0

        def count(frame, event, argument):
            nonlocal lines
            lines += event == "line"
            return count

        before = sys.gettrace()
        sys.settrace(count)
        try:
            found = repetitions(tokens, (), 2)
        finally:
            sys.settrace(before)  # the tracer of coverage
        assert max(found.values()) > 29_000 - 900
        assert lines < 5_000


class Counted(int):
    """A token that counts how often tokens are compared."""

    comparisons = 0

    def __eq__(self, other):
        Counted.comparisons += 1
        return int(self) == int(other)

    __hash__ = int.__hash__


def fibonacci_word(n):
    a, b = [0], [0, 1]
    while len(b) < n:
        a, b = b, b + a
    return b[:n]


@pytest.mark.parametrize(
    "sequence",
    [
        [0] * 2000,
        [0] * 1999 + [1],
        [0, 1] * 1000,
        ([0] * 44 + [1]) * 45,
        fibonacci_word(2000),
        np.random.default_rng(1).integers(0, 2, 2000).tolist(),
    ],
    ids=["one token", "one but the last", "two in turn", "runs", "fibonacci", "random"],
)
def test_tokens_are_compared_at_most_twice_as_often_as_there_are_tokens(sequence):
    Counted.comparisons = 0
    z_function([Counted(token) for token in sequence])
    assert len(sequence) - 1 <= Counted.comparisons <= 2 * len(sequence)
