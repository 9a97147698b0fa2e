"""Texts that a pattern or a loop ends."""

from __future__ import annotations

import numpy as np
import pytest

import corelm
from corelm.errors import UsageError
from corelm.testing import ToyModel

MODEL = ToyModel()
CYCLE = " cat sat on the"


def generate(sampler="greedy", **options):
    return corelm.generate(MODEL, "the", sampler=sampler, seed=1, **options)


def streamed(sampler="greedy", **options):
    return list(corelm.stream(MODEL, "the", sampler=sampler, seed=1, **options))


@pytest.mark.parametrize(
    ("endings", "expected", "reason", "tokens"),
    [
        ({"stop_regex": "o."}, " cat sat ", "stop", 3),
        ({"stop_regex": r"s\w+ on"}, " cat ", "stop", 3),
        ({"stop_regex": ["dog", "s.t"]}, " cat ", "stop", 2),
        ({"stop_regex": "(?<=sat)"}, " cat sat", "stop", 2),
        ({"stop_regex": "t.*m"}, CYCLE * 2, "length", 8),
        ({"stop_regex": "on", "stop": " sat"}, " cat", "stop", 2),
        ({"stop_loop": 2}, CYCLE * 2, "loop", 8),
        ({"stop_loop": 3}, CYCLE * 2, "length", 8),
        ({"stop_loop": 2, "stop": "cat on"}, CYCLE * 2, "loop", 8),
    ],
)
def test_where_a_text_ends_and_why(endings, expected, reason, tokens):
    [text] = generate(length=8, **endings)
    assert (text.text, text.finish_reason, len(text.tokens)) == (expected, reason, tokens)
    steps = streamed(length=8, **endings)
    assert "".join(step.text for step in steps) == expected
    assert (steps[-1].finish_reason, len(steps)) == (reason, tokens)


def test_a_text_ends_before_the_first_of_two_stop_strings_in_one_token():
    model = ToyModel(["yes", "one. two. three"], logits=np.eye(4)[[2, 2, 3, 3]], end=False)
    [text] = corelm.generate(model, "", sampler="greedy", stop=".", seed=1)
    assert (text.text, text.finish_reason) == ("yes one", "stop")


def test_a_stream_holds_back_what_a_pattern_may_take_away():
    steps = streamed(length=5, stop_regex=["cat sat in", "t o+n z"])
    assert [step.text for step in steps] == [" ", "", "cat sa", "t on the", " cat"]


@pytest.mark.parametrize(
    "endings",
    [{"stop_regex": r"\b(\w)\w+ \1"}, {"stop_loop": 2}, {"stop_regex": "a. .a", "stop": "ran"}],
)
def test_a_stream_is_the_text_of_any_batch(endings):
    texts = generate("stochastic", n=30, length=12, **endings)
    assert len({text.finish_reason for text in texts}) >= 2
    for text in texts:
        steps = streamed("stochastic", sample=text.sample, length=12, **endings)
        assert "".join(step.text for step in steps) == text.text
        assert steps[-1].finish_reason == text.finish_reason


def test_the_prompt_is_no_part_of_a_loop_or_a_match():
    [text] = corelm.generate(
        MODEL, "the cat sat on the", sampler="greedy", length=4, stop_loop=2, stop_regex="the c"
    )
    assert (text.text, text.finish_reason) == (CYCLE, "length")


@pytest.mark.parametrize("repeats", [1, 0, -3, 2.0, "3", True])
def test_any_other_number_of_repeats_is_refused(repeats):
    with pytest.raises(UsageError, match="stop_loop must be a whole number, at least 2, not"):
        generate(stop_loop=repeats)


def test_a_search_that_takes_too_long_keeps_the_text(monkeypatch):
    monkeypatch.setattr("corelm.generation.endings.TIMEOUT", 0.05)
    model = ToyModel(["yes", "a" * 40 + "b"], logits=np.eye(4)[[2, 2, 3, 3]], end=False)
    with pytest.raises(UsageError, match="takes too long on a text of 45 characters") as caught:
        corelm.generate(model, "", sampler="greedy", stop_regex="(a|aa)+$", seed=1)
    [text] = caught.value.generations
    assert (text.text, text.tokens, text.finish_reason) == ("yes", [2], "error")


@pytest.mark.parametrize("value", [b"a", [b"a"], 5, None, [None], {3: 4}])
@pytest.mark.parametrize(
    ("option", "thing"), [("stop", "a stop string"), ("stop_regex", "a pattern")]
)
def test_what_is_no_text_ends_none(option, thing, value):
    with pytest.raises(UsageError, match=f"^{thing} is a text, not "):
        corelm.generate(ToyModel(), "the", sampler="greedy", length=2, **{option: value})
