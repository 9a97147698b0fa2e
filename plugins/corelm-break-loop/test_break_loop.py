"""Break a loop: when the words come, in which order, and what follows."""

import itertools
from functools import partial

import numpy as np
import pytest
from corelm_break_loop import BreakLoop, turn_of
from small_models import only_word

import corelm
from corelm import Context, ParameterError
from corelm.errors import UsageError
from corelm.runs import Endings
from corelm.testing import ToyModel, obeys_the_laws

MODEL = ToyModel("abcde")
VOCABULARY = MODEL.vocabulary
possible = partial(only_word, VOCABULARY, prompt="a b a b a b")


@obeys_the_laws(
    BreakLoop(),
    BreakLoop(words=[0]),
    BreakLoop(words=[0, 0, 0], times=2),
    BreakLoop(end=True, times=2, shortest=1, longest=3),
)
def test_law(sampler, law):
    law(sampler)


@obeys_the_laws(BreakLoop(words=["d e"], times=2), vocabulary=VOCABULARY)
def test_law_with_words(sampler, law):
    law(sampler)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", None),  # the loop of the prompt doesn't count
        ("a b", None),
        ("a b a b a", None),
        ("a b a b a b", "d"),
        ("c a b a b a b a", "d"),
        ("a b a b a b d", "e"),
        ("a b a b a b d e", None),
        ("a b a b a b d e a", None),
        ("a b a b a b d c", None),  # written by something else
        ("a b a b a b d e a b a b a b", "d"),  # again
        ("c c c c c", None),
        ("c c c c c c", "d"),
        ("a b c a b c a b c", "d"),
    ],
)
def test_the_words_come_where_the_last_phrase_came_three_times(text, word):
    assert possible(BreakLoop(words=["d e"]), text) == word
    assert possible(BreakLoop(words=["d", VOCABULARY.words.index("e")]), text) == word


@pytest.mark.parametrize(("times", "text"), [(2, "a b a b"), (3, "a b " * 3), (5, "a b " * 5)])
def test_the_number_of_times(times, text):
    sampler = BreakLoop(words=["d"], times=times)
    assert possible(sampler, text) == "d"
    assert possible(sampler, text.removeprefix("a ")) is None


def test_words_that_continue_the_loop_begin_a_new_count():
    sampler = BreakLoop(words=["a"], times=2)
    assert possible(sampler, "a b a b") == "a"
    for free in ("a b a b a", "a b a b a b", "a b a b a b a", "a b a b a b a b"):
        assert possible(sampler, free) is None
    assert possible(sampler, "a b a b a b a b a") == "a"


def test_every_text_of_three_tokens_up_to_nine():
    """By the definition, token by token: the word that ends a loop begins a new count."""
    for length in range(10):
        for text in itertools.product((0, 1, 2), repeat=length):
            since = []
            for token in text:
                broken = token == 2 and since and Endings.in_loop(since, 2)
                since = [] if broken else [*since, token]
            due = 0 if since and Endings.in_loop(since, 2) else None
            assert turn_of(list(text), [2], 2) == due


@pytest.mark.parametrize("words", [[2, 1], [2, 0], [3, 4], [0, 1], [2], [2, 3, 4]])
@pytest.mark.parametrize(
    "following", [{0: 1, 1: 0, 2: 0, 3: 0, 4: 1}, {0: 1, 1: 2, 2: 0, 3: 0, 4: 0}]
)
def test_the_words_never_become_a_loop_of_their_own(following, words):
    """A greedy model in a loop: two words and one free token came for ever."""
    tokens, breaks = [0], []
    while len(breaks) < 8:
        turn = turn_of(tokens, words, 2)
        if turn == 0:
            breaks.append(len(tokens))
        tokens.append(following[tokens[-1]] if turn is None else words[turn])
    free = np.diff(breaks) - len(words)
    assert free.min() >= 4  # the shortest loop of two phrases


def repeats(tokens, largest, smallest, count):
    """Return True if vLLM's `repetition_detection` ends a text with these tokens."""
    return any(
        len(tokens) >= size * count
        and all(tokens[-at] == tokens[-at - size] for at in range(1, size * (count - 1) + 1))
        for size in range(smallest or 1, largest + 1)
    )


@pytest.mark.parametrize("sizes", [(1, 0, 3), (2, 2, 2), (3, 1, 2), (4, 3, 2), (4, 0, 3)])
def test_a_text_ends_where_vllm_ends_it(sizes):
    largest, smallest, count = sizes
    sampler = BreakLoop(end=True, times=count, shortest=smallest or 1, longest=largest)
    logits = np.zeros((1, len(VOCABULARY)))
    for length in range(9):
        for text in itertools.product(VOCABULARY.encode("a b"), repeat=length):
            context = Context.of([*text], prompt_length=0, vocabulary=VOCABULARY)
            kept = np.flatnonzero(np.isfinite(sampler(logits, context)[0])).tolist()
            everything = list(range(len(VOCABULARY)))
            assert kept == ([*VOCABULARY.ends] if repeats(text, *sizes) else everything)


def test_an_end_is_the_end_tokens_if_there_are_any():
    chain = BreakLoop(end=True, times=2) | corelm.sampler("greedy")
    [text] = corelm.generate(ToyModel(), "the", sampler=chain, length=60, seed=1)
    assert text.text == " cat sat on the cat sat on the"
    assert text.finish_reason == "end"
    after_words = BreakLoop(words=["and"], end=True, times=2) | corelm.sampler("greedy")
    [after] = corelm.generate(ToyModel(), "the", sampler=after_words, length=60, seed=1)
    assert after.text == f"{text.text} and"
    endless = ToyModel("ab", logits=[0, 0, 1, 0], end=False)
    [text] = corelm.generate(endless, "a", sampler=chain, length=9, seed=1)
    assert len(text.tokens) == 9


def test_each_row_is_its_own():
    a, b, d = VOCABULARY.encode("a b d")
    context = Context.of([[a, b, a, b], [a, b, b, a]], prompt_length=0, vocabulary=VOCABULARY)
    kept = np.isfinite(BreakLoop(words=["d"], times=2)(np.zeros((2, len(VOCABULARY))), context))
    assert kept.sum(axis=1).tolist() == [1, len(VOCABULARY)]
    assert kept[0, d]


def test_a_greedy_loop_ends():
    model, options = ToyModel(), {"length": 60, "seed": 1}
    [loop] = corelm.generate(model, "the", sampler="greedy", **options)
    assert Endings.in_loop(loop.tokens)
    chain = BreakLoop(words=["and dog"], times=2) | corelm.sampler("greedy")
    [broken] = corelm.generate(model, "the", sampler=chain, **options)
    assert " cat sat on the" * 3 in loop.text
    assert " cat sat on the" * 2 + " and dog" in broken.text
    assert " cat sat on the" * 3 not in broken.text


def test_the_words_come_though_an_earlier_stage_removed_them():
    chain = corelm.sampler("top_k(k=1)") | BreakLoop(words=["d"], times=2)
    context = Context.of(VOCABULARY.encode("a b a b"), prompt_length=0, vocabulary=VOCABULARY)
    logits = np.arange(len(VOCABULARY), dtype=float)[None]
    assert np.isfinite(chain(logits, context)).sum() == 1
    assert np.isfinite(chain(logits, context))[0, VOCABULARY.words.index("d")]


def test_inside_a_phase_only():
    sampler = corelm.sampler("phase(start='c', end='e', inside=break_loop(words=['e'], times=2))")
    assert possible(sampler, "a b a b") is None
    assert possible(sampler, "c a b a b") == "e"
    assert possible(sampler, "c a b a b e") is None


def test_values_that_are_refused():
    with pytest.raises(ParameterError, match="times must be at least 2, not 1"):
        BreakLoop(words=["a"], times=1)
    with pytest.raises(UsageError, match="'zebra'"):
        possible(BreakLoop(words=["zebra"]), "a b a b a b")
