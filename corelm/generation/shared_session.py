"""One session of a model for the rows of several texts, each of which sees only its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from corelm.errors import UsageError
from corelm.language_model import JoinableSession, LanguageModel, Session, Vocabulary
from corelm.numerics.distributions import Array


class SharedSession:
    """The rows of all views in one session, which is extended once for all of them."""

    def __init__(self) -> None:
        self._session: JoinableSession | None = None
        self._logits: Array | None = None

    def compute(self) -> None:
        """Compute the logits of all rows, if there are any, in one call."""
        if self._session is not None and self._logits is None:
            self._logits = self._session.next_logits()

    def logits(self, rows: NDArray[np.int64]) -> Array:
        """Return the logits of some rows, which no other view has: (batch, vocabulary)."""
        self.compute()
        assert self._logits is not None
        first, end = rows[0], rows[-1] + 1
        # A slice of neighbours costs no copy, and a view's rows are neighbours after each step.
        are_neighbours = np.array_equal(rows, np.arange(first, end))
        return self._logits[first:end] if are_neighbours else self._logits[rows]

    def advance(self, views: Sequence[SessionView]) -> None:
        """Keep the rows of these views alone, and append the token of each.

        A view with a session of its own joins the others, if its session can.
        """
        self._logits = None
        inside = [view for view in views if view.own is None]
        if inside and self._session:
            self._session.select(np.concatenate([view.rows for view in inside]))
        else:
            self._session = None
        for view in views:
            if view.own is None:  # most of them; asking for the protocol takes microseconds
                continue
            # Before its token, so that the step of this token is one with that of the others.
            if isinstance(view.own, JoinableSession):
                self._join(view.own)
                inside.append(view)
            else:
                view.own.extend(view.take_tokens())
        if self._session:
            self._session.extend(np.concatenate([view.take_tokens() for view in inside]))
        end = 0
        for view in inside:
            first, end = end, end + len(view.rows)
            view.own, view.rows = None, np.arange(first, end)

    def _join(self, session: JoinableSession) -> None:
        if self._session is None:
            self._session = session
        else:
            self._session.join(session)


class SessionView:
    """A session of some rows of a shared session, which gets one token at a time.

    Args:
        shared: the shared session.
        own: a session of one row, which has read the prompt.

    Attributes:
        own: the session of its own; None when it has joined the shared one.
        rows: (batch,) its rows in the shared session.
    """

    def __init__(self, shared: SharedSession, own: Session) -> None:
        self._shared = shared
        self.own: Session | None = own
        self.rows: NDArray[np.int64] = np.zeros(1, dtype=np.int64)
        self._tokens: NDArray[Any] | None = None

    def next_logits(self) -> Array:
        """Return (batch, vocabulary): the logits of the next token of each row.

        Raises:
            UsageError: the shared session hasn't got the last tokens yet.
        """
        if self._tokens is not None:
            raise UsageError("a shared session has no logits before its next step")
        return self._shared.logits(self.rows) if self.own is None else self.own.next_logits()

    def extend(self, tokens: NDArray[Any]) -> None:
        """Append tokens of shape (batch,), in the next step of the shared session.

        Raises:
            UsageError: other tokens, or a second time in one step.
        """
        if self._tokens is not None or np.shape(tokens) != self.rows.shape:
            raise UsageError("a shared session takes one token of each row in a step")
        self._tokens = tokens

    def select(self, rows: ArrayLike) -> None:
        """Keep these rows in this order; a row named twice is forked.

        Raises:
            UsageError: after tokens were appended in this step.
        """
        if self._tokens is not None:
            raise UsageError("a shared session drops rows before it takes their tokens")
        kept = np.asarray(rows, dtype=np.int64)
        if self.own is not None:
            self.own.select(kept)
        self.rows = self.rows[kept]

    def take_tokens(self) -> NDArray[Any]:
        """Return the tokens to append, and forget them.

        Raises:
            UsageError: there are none.
        """
        tokens, self._tokens = self._tokens, None
        if tokens is None:
            raise UsageError("a shared session needs a token of each row in a step")
        return tokens


class ViewedModel:
    """A model as one text sees it: its session is a view that has read the prompt.

    Args:
        model: the model of the shared session.
        view: the session.
    """

    def __init__(self, model: LanguageModel, view: SessionView) -> None:
        self._model, self._view = model, view
        self.vocabulary: Vocabulary = model.vocabulary
        self.context_length: int = model.context_length

    def next_token_distribution(self, tokens: ArrayLike) -> Array:
        """Return the distribution of the model."""
        return self._model.next_token_distribution(tokens)

    def start(self, tokens: ArrayLike) -> Session:
        """Return the view, whose text begins with these tokens."""
        return self._view
