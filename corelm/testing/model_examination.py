"""The common parts of the laws of models: texts, comparisons, and the error of a broken law."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from corelm.abilities import can
from corelm.abilities.sessions import SessionAbilities
from corelm.contracts.language_model import LanguageModel, Session, never_drawn
from corelm.numerics.arrays import largest_difference
from corelm.numerics.distributions import Array
from corelm.registry.models import lifted
from corelm.testing.law import Law, law_maker

TOLERANCE = 1e-5
"""The largest difference of two logits that count as equal."""
LONG_CONTEXT = 128
"""The longest context that is filled; a longer one would take too long."""

Ids = NDArray[np.int64]
Complaints = Iterator[str]


class Examination:
    """A model, with texts for it and their logits."""

    def __init__(self, model: LanguageModel, tolerance: float) -> None:
        self.model, self._tolerance = lifted(model), tolerance
        self.rng = np.random.default_rng(0)
        vocabulary = self.model.vocabulary
        self._ids = np.setdiff1d(np.arange(len(vocabulary)), never_drawn(vocabulary))
        self.shortest = 1 if vocabulary.start is None else 0

    def texts(self, batch: int, length: int) -> Ids:
        """Return random texts, (batch, length)."""
        return self.rng.choice(self._ids, (batch, length))

    def logits(self, texts: Ids) -> Array:
        """Return the logits after texts, from a new session."""
        return self.model.start(texts).next_logits()

    def ragged(self, *lengths: int) -> list[Ids]:
        """Return random texts of these lengths, each raised to the shortest allowed length."""
        return [self.texts(1, max(length, self.shortest))[0] for length in lengths]

    def start_joinable(self, texts: Sequence[Ids]) -> SessionAbilities | None:
        """Return a session of texts of different lengths; None if the model can't start one."""
        if not can(self.model.start(texts[0][None]), "join"):
            return None
        session = self.model.start([text.tolist() for text in texts])
        assert can(session, "join")
        return session

    def check_each(self, session: Session, texts: Sequence[Ids], when: str) -> Complaints:
        """Complain if a row of a session differs from a new session of its text alone."""
        logits = session.next_logits()
        expected = np.concatenate([self.logits(text[None]) for text in texts])
        yield from self.compare(logits, expected, when)
        if can(session, "rewind"):
            last = session.last_logits(1)[:, 0]
            yield from self.compare(last, expected, f"in last_logits(1) {when}")

    def compare(self, actual: Array, expected: Array, when: str) -> Complaints:
        """Complain if two arrays differ by more than the tolerance."""
        if np.shape(actual) != np.shape(expected):
            yield f"returned the shape {np.shape(actual)} instead of {np.shape(expected)} {when}"
        elif (difference := largest_difference(actual, expected)) > self._tolerance:
            yield f"differs by {difference:.2g} {when}, where {self._tolerance:g} is allowed"

    def check(self, session: Session, texts: Ids, when: str) -> Complaints:
        """Complain if a session differs from a new one with the same texts."""
        yield from self.compare(session.next_logits(), self.logits(texts), when)

    def check_all(self, session: Session, texts: Ids, when: str) -> Complaints:
        """Complain if any output of a session differs from a new session's."""
        yield from self.check(session, texts, when)
        most = min(texts.shape[1] - self.shortest + 1, 3)
        count = int(self.rng.integers(1, most + 1))
        if can(session, "rewind"):
            ends = range(texts.shape[1] - count + 1, texts.shape[1] + 1)
            expected = np.stack([self.logits(texts[:, :end]) for end in ends], axis=1)
            last = session.last_logits(count)
            yield from self.compare(last, expected, f"in last_logits({count}) {when}")
        fresh = self.model.start(texts)
        if can(session, "hidden_states") and can(fresh, "hidden_states"):
            states = session.hidden_states(count), fresh.hidden_states(count)
            yield from self.compare(*states, f"in hidden_states({count}) {when}")
            if (shape := np.shape(states[0])[:2]) != (len(texts), count):
                yield f"returned hidden states of the shape {shape} in hidden_states({count})"


MODEL_LAWS: list[Law] = []
"""The laws of models, the simplest first. Each takes a model, and as `tolerance` the largest
difference of two logits that count as equal: 0 for the same bits."""

law = law_maker(
    MODEL_LAWS,
    lambda model, tolerance=TOLERANCE: [Examination(model, tolerance)],
    lambda model, complaint: f"{type(model).__name__} {complaint}",
)
