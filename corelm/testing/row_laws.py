"""The laws of models whose sessions take rows of different lengths and can be joined."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from corelm.errors import UsageError
from corelm.language_model import ForkableSession, RewindableSession, Session
from corelm.testing.model_examination import LONG_CONTEXT, Complaints, Examination, Ids, law
from corelm.testing.toy_model import ToyModel


@law("Read each row from its beginning to its end, and nothing after it; `start_rows` does.")
def takes_rows_of_different_lengths(ask: Examination) -> Complaints:
    """Give each of several texts of different lengths the logits it has alone, if it takes them.

    A model whose sessions can't be joined raises an error for such texts.
    """
    texts = ask.ragged(7, 2, 0, 7, 4)
    session = ask.start_joinable(texts)
    if session is None:
        yield from _refuses(ask, texts)
        return
    yield from ask.check_each(session, texts, "at the beginning of rows of different lengths")
    for rows in ([1, 4, 0, 2, 3], [3, 3, 0], [2, 0, 1], [1, 0], [1]):
        session.select(rows)
        texts = [texts[row] for row in rows]
        yield from ask.check_each(session, texts, f"after select({rows})")
        texts = _with_more(ask, session, texts, 2)
        yield from ask.check_each(session, texts, f"after select({rows}) and two tokens")


@law("Add the rows of the other session with its texts, lengths, keys and values.")
def joins_sessions(ask: Examination) -> Complaints:
    """Add the rows of another session, which continue as their texts do, if it can join.

    A session of another model is refused with a `UsageError`, and so is the session itself.
    """
    texts = ask.ragged(3, 6)
    session = ask.start_joinable(texts)
    if session is None:
        return
    for lengths in ((1, 9, 3), (6,), (0, 0)):  # the second time it has been joined before
        more = ask.ragged(*lengths)
        other = ask.start_joinable(more)
        assert other is not None
        more = _with_more(ask, other, more, 1)
        session.join(other)
        texts = [*texts, *more]
        yield from ask.check_each(session, texts, f"after rows of {lengths} tokens joined")
        texts = _with_more(ask, session, texts, 3)
        yield from ask.check_each(session, texts, "after rows joined and got three tokens")
    yield from _drops_from_all(ask, session, texts)
    for stranger in (session, ToyModel().start([[3]])):
        try:
            session.join(stranger)
        except UsageError:
            continue
        yield "joined a session of another model, or itself, without a UsageError"


@law("Copy the texts, the keys and values, and logits that the caller may overwrite.")
def forks_sessions(ask: Examination) -> Complaints:
    """Copy a session, if it can, so that each of both continues with its own tokens."""
    for texts in (ask.ragged(6), ask.ragged(5, 5), ask.ragged(3, 7)):
        session = ask.start_joinable(texts)
        if not isinstance(session, ForkableSession):
            return
        session.next_logits()
        other = session.fork()
        yield from ask.check_each(other, texts, "of a fork")
        more = _with_more(ask, other, texts, 2)
        own = _with_more(ask, session, texts, 3)
        yield from ask.check_each(other, more, "of a fork after two tokens of its own")
        yield from ask.check_each(session, own, "of a session after its fork got other tokens")


@law("Slide the window of each row by itself, at the length that `window_start` says.")
def slides_each_window_by_itself(ask: Examination) -> Complaints:
    """Continue texts of different lengths beyond the context, each with its own window."""
    context = ask.model.context_length
    if context > LONG_CONTEXT:
        return
    texts = ask.ragged(context - 3, 2, context + context // 2 - 1)
    session = ask.start_joinable(texts)
    if session is None:
        return
    for count in (1, 1, 2, 1, context // 2):  # slides fall on different steps
        texts = _with_more(ask, session, texts, count)
        lengths = [len(text) for text in texts]
        yield from ask.check_each(session, texts, f"at {lengths} tokens of {context}")
    yield from _drops_from_all(ask, session, texts)


def _with_more(ask: Examination, session: Session, texts: Sequence[Ids], count: int) -> list[Ids]:
    """Extend a session, token by token, and return the texts with these tokens."""
    more = ask.texts(len(texts), count)
    for tokens in more.T:
        session.extend(tokens)
    return [np.concatenate(pair) for pair in zip(texts, more, strict=True)]


def _drops_from_all(ask: Examination, session: Session, texts: Sequence[Ids]) -> Complaints:
    """Complain about a session that can rewind and does not drop the last tokens of each row."""
    if isinstance(session, RewindableSession):
        session.rewind(2)
        texts = [text[:-2] for text in texts]
        yield from ask.check_each(session, texts, "after rewind(2) of rows of different lengths")


def _refuses(ask: Examination, texts: Sequence[Ids]) -> Complaints:
    """Complain about a model that takes rows of different lengths but can't join them."""
    try:
        ask.model.start([text.tolist() for text in texts])
    except (UsageError, ValueError, TypeError):  # also NumPy's, for lists of unequal lengths
        return
    yield "took rows of different lengths, but its sessions have no method join"
