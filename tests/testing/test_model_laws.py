"""The laws of language models: corelm's own obey them, and broken ones are found out."""

from __future__ import annotations

import numpy as np
import pytest

import corelm
from corelm.interop.testing import tiny_gpt2
from corelm.testing import LAWS, ToyModel, obeys_the_laws


@obeys_the_laws(ToyModel(), ToyModel(end=False), corelm.load("imdb"), tolerance=0)
def test_corelms_models_obey_the_laws_bit_for_bit(model, law):
    law(model)


@pytest.mark.parametrize("law", LAWS["model"])
def test_a_network_with_byte_pairs_obeys_the_laws_bit_for_bit(law, tmp_path):
    law(corelm.load(tiny_gpt2(tmp_path / "tiny")), tolerance=0)


def test_a_fault_in_what_is_drawn_ahead_is_named():
    """A session that keeps what it drew for other rows; the toy model's sessions draw nothing."""
    model = corelm.load("imdb")
    start = model.start

    def start_forgetful(tokens):
        session = start(tokens)
        draw, drawn = session.draw, []

        def draw_once(*arguments):
            drawn.append(draw(*arguments)._replace(ready=None))
            return drawn[0] if len(drawn[0].tokens) == len(drawn[-1].tokens) else drawn[-1]

        session.draw = draw_once
        return session

    model.start = start_forgetful
    [law] = [law for law in LAWS["model"] if law.__name__ == "draws_as_in_single_steps"]
    with pytest.raises(AssertionError, match="drew other tokens: tokens differ after"):
        law(model)


class Model(ToyModel):
    """A toy model of 12 tokens of context, with sessions of another class."""

    context_length = 12

    def __init__(self, session, vocabulary=None):
        super().__init__()
        self.vocabulary = vocabulary or self.vocabulary
        self._session = session

    def start(self, tokens):
        session = super().start(tokens)
        session.__class__ = self._session
        return session


SESSION = type(ToyModel().start([[3]]))


class NotANumber(SESSION):
    def next_logits(self):
        return super().next_logits() * np.nan


class Shared(SESSION):
    memory = None

    def next_logits(self):
        if self.memory is None:
            self.memory = super().next_logits()
        return self.memory

    def extend(self, tokens):
        super().extend(tokens)
        self.memory = None


class KeepsTheOrder(SESSION):
    def select(self, rows):
        super().select(sorted(rows))


class NeverForgets(SESSION):
    def rewind(self, count):
        pass


class ForgetsForks(SESSION):
    def select(self, rows):
        super().select(rows)
        if len(set(rows)) < len(rows):
            self._tokens[-1] = self._tokens[-1] * 0


class NormalisesTheBatch(SESSION):
    def next_logits(self):
        logits = super().next_logits()
        return logits - logits.mean()


class StopsAtTheContext(SESSION):
    def extend(self, tokens):
        super().extend(tokens)
        if len(self._tokens) > 13:
            self._tokens[-1] = self._tokens[12]


class PadsOnTheRight(SESSION):
    """Its shorter rows end with padding, as if that were their last token."""

    def next_logits(self):
        time = max(self._lengths)
        return np.array(self._after[[self.at(row, time) for row in range(len(self._lengths))]])

    def at(self, row, time):
        return 0 if self._lengths[row] < time else self._tokens[-1][row]


class JoinsInFront(SESSION):
    def join(self, other):
        super().join(other)
        self.select(np.roll(np.arange(len(self._lengths)), len(other._lengths)))


class JoinsAnything(SESSION):
    def join(self, other):
        other._after = self._after
        super().join(other)


class ForgetsLengths(SESSION):
    def rewind(self, count):
        super().rewind(count if min(self._lengths) == max(self._lengths) else count - 1)


class SlidesTogether(SESSION):
    """The window of all rows slides where that of the longest does."""

    def extend(self, tokens):
        super().extend(tokens)
        if max(self._lengths) > 12 > min(self._lengths):
            self._tokens[-1] = self._tokens[-1] * 0


class EqualRows(SESSION):
    """It can't be joined, but its model does not refuse rows of different lengths."""

    join = None


@pytest.mark.parametrize(
    ("session", "law", "complaint"),
    [
        (NotANumber, "returns_logits", "returned NaN"),
        (Shared, "returns_logits", "after the caller overwrote the logits of 3"),
        (KeepsTheOrder, "selects_rows", r"after select\(\[2, 0, 1\]\)"),
        (ForgetsForks, "selects_rows", r"after select\(\[1, 1, 0, 2\]\)"),
        (NeverForgets, "forgets_what_it_rewinds", r"after rewind\(1\)"),
        (NeverForgets, "follows_any_operations", r"after .*rewind"),
        (NormalisesTheBatch, "treats_texts_alone", "between a text alone and in a batch"),
        (StopsAtTheContext, "slides_its_window", "at 13 tokens of 12"),
        (PadsOnTheRight, "takes_rows_of_different_lengths", "at the beginning of rows"),
        (KeepsTheOrder, "takes_rows_of_different_lengths", r"after select\(\[1, 4, 0, 2, 3\]\)"),
        (EqualRows, "takes_rows_of_different_lengths", "its sessions have no method join"),
        (JoinsInFront, "joins_sessions", r"after rows of \(1, 9, 3\) tokens joined"),
        (JoinsAnything, "joins_sessions", "joined a session of another model"),
        (ForgetsLengths, "joins_sessions", r"after rewind\(2\) of rows of different lengths"),
        (SlidesTogether, "slides_each_window_by_itself", r"at \[.*\] tokens of 12"),
    ],
)
def test_a_broken_session_is_found_out(session, law, complaint):
    by_name = {law.__name__: law for law in LAWS["model"]}
    with pytest.raises(AssertionError, match=f"^Model .*{complaint}"):
        by_name[law](Model(session), tolerance=1e-5)


class ViewOfOneRow(SESSION):
    """A session that returns a part of its model's table where there is one row."""

    def next_logits(self):
        if len(self._tokens[-1]) == 1:
            first = int(self._tokens[-1][0])
            return self._after[first : first + 1]
        return super().next_logits()


def test_a_view_of_the_models_own_table_is_found_out():
    model = Model(ViewOfOneRow)
    model._after = np.array(model._after)  # in memory of its own, as a plugin's table is
    with pytest.raises(AssertionError, match="after the caller overwrote the logits of 1 row"):
        corelm.testing.model_laws.returns_logits(model)
