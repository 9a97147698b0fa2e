"""Teacher forcing of texts of different lengths, each with the logits that it has alone."""

from __future__ import annotations

import numpy as np
import pytest
from small_models import SMALL, only_forward, small_model

from corelm.contracts.language_model import never_drawn
from corelm.generation.teacher_forcing import LOGITS_BYTES
from corelm.runs import ForcedTokens
from corelm.testing import ToyModel

BOUND = "corelm.generation.teacher_forcing.LOGITS_BYTES"
LENGTHS = (3, 19, 1, 8, 19, 2, 5)
PROMPTS = (1, 2, 1, 7, 12, 2, 4)


class Counted:
    """A model that counts the sessions that it starts, and whether their rows can be joined."""

    def __init__(self, model, joinable=True):
        self.model, self.started, self.joinable = model, [], joinable
        self.vocabulary, self.context_length = model.vocabulary, model.context_length

    def start(self, tokens):
        self.started.append([len(row) for row in tokens])
        return (self.model if self.joinable else only_forward(self.model)).start(tokens)


def some_texts(size, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(2, size, length).tolist() for length in LENGTHS]


def alone(model, text, place, prompt):
    logits = model.start([text[: prompt + place]]).next_logits()[0].copy()
    logits[never_drawn(model.vocabulary)] = -np.inf
    return logits


@pytest.mark.parametrize("most", [1, 1_000, LOGITS_BYTES], ids=["one", "few", "all"])
@pytest.mark.parametrize("joinable", [True, False])
@pytest.mark.parametrize("kind", ["default", "rnn", "gpt2"])
def test_each_token_has_the_logits_of_its_text_alone(kind, joinable, most, monkeypatch):
    """Bit for bit, with prompts of different lengths, and where the window of 8 slides."""
    monkeypatch.setattr(BOUND, most)
    model = Counted(small_model(SMALL[kind], end=True), joinable)
    texts, seen = some_texts(30), set()
    for some in ForcedTokens.of(model, texts, PROMPTS):
        rows = zip(some.texts.tolist(), some.tokens.tolist(), some.logits, strict=True)
        for text, token, logits in rows:
            assert token == texts[text][PROMPTS[text] + some.place]
            expected = alone(model.model, texts[text], some.place, PROMPTS[text])
            assert np.array_equal(logits, expected)
            seen.add((text, some.place))
    pairs = enumerate(zip(LENGTHS, PROMPTS, strict=True))
    assert seen == {(i, place) for i, (n, first) in pairs for place in range(n - first)}


def test_prompts_of_different_lengths_are_one_batch_if_sessions_can_be_joined():
    model = small_model(SMALL["default"], end=True)
    joined, apart = Counted(model), Counted(model, joinable=False)
    for each in (joined, apart):
        for _ in ForcedTokens.of(each, some_texts(30), PROMPTS):
            pass
    assert [sorted(rows) for rows in joined.started[1:]] == [[1, 2, 4, 7, 12]]
    assert [set(rows) for rows in apart.started[1:]] == [{1}, {2}, {4}, {7}, {12}]


def test_texts_without_a_token_behind_their_prompt_are_left_out():
    model = ToyModel()
    assert list(ForcedTokens.of(model, [], [])) == []
    assert list(ForcedTokens.of(model, [[11, 4]], [2])) == []
