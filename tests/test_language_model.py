"""The contract of a language model, and the tokens that are never drawn."""

from __future__ import annotations

import numpy as np
import pytest

from corelm.abilities import FullVocabulary
from corelm.language_model import never_drawn, window_start
from corelm.testing import ToyModel


class Words:
    def __init__(self, padding=0, unknown=1, start=None, ends=(2, 3), words="abcde"):
        self.padding, self.unknown, self.start, self.ends = padding, unknown, start, ends
        self.words = words

    def __len__(self):
        return len(self.words)

    def decode(self, ids):
        return "".join(self.words[i] for i in ids)


@pytest.mark.parametrize(
    ("padding", "unknown", "wanted", "ids"),
    [
        (0, 1, False, [0, 1]),
        (0, 1, True, [0]),
        (7, 3, False, [3, 7]),
        (None, 1, False, [1]),
        (0, None, False, [0]),
        (None, None, False, []),
        (2, 2, False, [2]),
        (None, 1, True, []),
    ],
)
def test_padding_and_the_unknown_word_are_never_drawn(padding, unknown, wanted, ids):
    never = never_drawn(Words(padding, unknown), wanted)
    assert never.tolist() == ids
    assert never.dtype == np.int64


def test_the_toy_model_never_draws_its_first_two():
    assert never_drawn(ToyModel().vocabulary).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        ({}, True),
        ({"ends": [3, 2]}, True),
        ({"ends": (2,)}, False),
        ({"padding": None}, False),
        ({"unknown": 2}, False),
        ({"start": 0}, False),
        ({"words": "abcd"}, False),
        ({"words": "abcdef"}, False),
        ({"words": "abcdx"}, False),
        ({"words": "xbcde"}, False),
    ],
)
def test_vocabularies_are_the_same_if_every_id_is_the_same_token(changed, same):
    assert FullVocabulary(Words()).same_as(Words(**changed)) is same
    assert FullVocabulary(Words(**changed)).same_as(Words()) is same


@pytest.mark.parametrize(
    ("context_length", "starts"),
    [
        # a window of 4 slides by 2, of 5 by 2, of 1 by 1
        (4, [0, 0, 0, 0, 0, 2, 2, 4, 4, 6]),
        (5, [0, 0, 0, 0, 0, 0, 2, 2, 4, 4]),
        (1, [0, 0, 1, 2, 3, 4, 5, 6, 7, 8]),
    ],
)
def test_the_window_slides_by_half_a_context(context_length, starts):
    assert [window_start(n, context_length) for n in range(10)] == starts


@pytest.mark.parametrize("context_length", [1, 2, 3, 7, 100])
def test_the_window_never_exceeds_the_context_and_never_goes_back(context_length):
    lengths = range(1, 5 * context_length + 2)
    starts = [window_start(n, context_length) for n in lengths]
    seen = [n - start for n, start in zip(lengths, starts, strict=True)]
    assert max(seen) <= context_length
    assert min(seen) >= 1
    assert starts == sorted(starts)
