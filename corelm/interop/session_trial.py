"""Try the sessions of an engine's model when it is opened, before they are used."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from corelm.abilities import can
from corelm.abilities.sessions import SessionAbilities
from corelm.contracts.language_model import Session
from corelm.errors import CorelmError
from corelm.numerics.arrays import largest_difference
from corelm.numerics.distributions import Array

logger = logging.getLogger("corelm")

SHARE = 0.05
"""The largest error of a logit, as a share of the change that other earlier tokens make."""

ROUNDING = 1e-4
"""An error of a logit that is always allowed."""

PROMPT, FORK = 3, [0, 1, 1]
LENGTHS = (5, 6, 8)
"""The lengths of the rows in `row_faults`, where the last row joins the others."""


def session_faults(
    start: Callable[[NDArray[np.int64]], Session], vocabulary_size: int
) -> dict[str, float]:
    """Try a session's operations on texts of five tokens, and return the operations that fail.

    If the engine keeps a state outside the cache, `select` makes a row continue another row's text;
    and a cache may refuse to drop tokens. The trial takes five short passes, or eight if something
    fails or the session has the logits of its last token only.

    Args:
        start: starts a session for (batch, time) ids.
        vocabulary_size: the number of tokens.

    Returns:
        The largest error of a logit by operation, if it is larger than rounding explains; infinite
        if `select` or `rewind` raised an exception. All are compared with one pass over the text;
        if that differs, `select` is compared with a new session that gets the same tokens in the
        same passes.

    Example:
        >>> from corelm.testing import ToyModel
        >>> session_faults(ToyModel().start, vocabulary_size=12)
        {}
    """
    # The rows differ in the first two tokens only, so only the session's memory makes their logits
    # differ.
    texts = (vocabulary_size // 3 + np.arange(2 * 5).reshape(2, 5)) % vocabulary_size
    texts[1, 2:] = texts[0, 2:]
    session = start(texts[::-1, :PROMPT])
    session.next_logits()
    try:
        session.select([1, 0])
        first = _extended(session, texts[:, PROMPT])
        session.select(FORK)
        moved = first, _extended(session, texts[FORK, PROMPT + 1])
    except Exception:  # an engine's error, of any type
        return {"select": np.inf}
    whole = start(texts)
    expected = whole.last_logits(2) if can(whole, "rewind") else None
    last = whole.next_logits()
    if expected is None or _moves_fault(moved, (expected[:, 0], last)):
        faults = _faults_of_moves(start, texts, moved, last)
    else:
        faults = {}
    if can(session, "rewind"):
        try:
            session.rewind(2)
            session.extend(texts[FORK, PROMPT:])
            faults |= _fault("rewind", session.next_logits(), last[FORK])
        except Exception:
            faults["rewind"] = np.inf
    return faults


def _moves_fault(logits: tuple[Array, Array], expected: tuple[Array, Array]) -> dict[str, float]:
    """Return the error of `select` after two reorderings; empty if there is none."""
    return _fault("select", logits[0], expected[0]) | _fault("select", logits[1], expected[1][FORK])


def _faults_of_moves(
    start: Callable[[NDArray[np.int64]], Session],
    texts: NDArray[np.int64],
    logits: tuple[Array, Array],
    whole: Array,
) -> dict[str, float]:
    """Return the errors of `select` and `extend`; a session without `select` tells them apart."""
    fresh = start(texts[:, :PROMPT])
    fresh.next_logits()
    first, last = (_extended(fresh, column) for column in texts[:, PROMPT:].T)
    return _moves_fault(logits, (first, last)) | _fault("extend", last, whole)


def row_faults(
    start: Callable[[list[list[int]]], SessionAbilities],
    start_equal: Callable[[NDArray[np.int64]], Session],
    vocabulary_size: int,
) -> dict[str, float]:
    """Try a session of rows of different lengths, and return the operations that fail.

    An engine that takes no mask or no positions per row reads padding as text. The trial takes six
    short passes.

    Args:
        start: starts a session for a list of ids for each row.
        start_equal: starts a session for (batch, time) ids.
        vocabulary_size: the number of tokens.

    Returns:
        The largest error of a logit by operation, `start` or `join`, if it is larger than rounding
        explains; infinite if it raised an exception.

    Example:
        >>> from corelm.testing import ToyModel
        >>> row_faults(ToyModel().start, ToyModel().start, vocabulary_size=12)
        {}
    """
    ids = (vocabulary_size // 3 + np.arange(sum(LENGTHS))) % vocabulary_size
    texts = [part.tolist() for part in np.split(ids, np.cumsum(LENGTHS)[:-1])]
    once, twice = _logits_of_rows(start_equal, texts)
    try:
        first = start([text[:-2] for text in texts[:2]])
        first.next_logits()
        faults = _fault("start", _extended(first, np.array([t[-2] for t in texts[:2]])), once[:2])
        first.join(start([text[:-1] for text in texts[2:]]))
        return faults | _fault("join", _extended(first, np.array([t[-1] for t in texts])), twice)
    except Exception:  # an engine's error, of any type
        return {"start": np.inf}


def _logits_of_rows(
    start: Callable[[NDArray[np.int64]], Session], texts: list[list[int]]
) -> tuple[Array, Array]:
    """Return the logits before and after the last token of each text."""
    longest = max(map(len, texts))
    ids = np.array([text + [0] * (longest - len(text)) for text in texts])
    session = start(ids)  # what follows a text changes nothing before it
    if can(session, "rewind"):
        logits, rows = session.last_logits(longest), np.arange(len(texts))
        ends = np.array([len(text) - 1 for text in texts])
        return logits[rows, ends - 1], logits[rows, ends]
    alone = [[start(np.array([text[:n]])).next_logits() for text in texts] for n in (-1, None)]
    return np.concatenate(alone[0]), np.concatenate(alone[1])


def check_session(
    start: Callable[[NDArray[np.int64]], Session],
    size: int,
    name: str,
    engine: str = "its engine",
    without_rewind: Callable[[], None] | None = None,
    logger: logging.Logger = logger,
    start_rows: Callable[[list[list[int]]], SessionAbilities] | None = None,
) -> bool:
    """Raise if a model's sessions fail; return True if those of rows of any lengths work.

    They are tried by `session_faults` and `row_faults`, in some short passes.

    Args:
        start: starts a session for (batch, time) ids.
        size: the number of tokens.
        name: the model's, for messages.
        engine: the engine's, for messages.
        without_rewind: called if `rewind` fails: from then on, `start` starts sessions that never
            drop tokens from the cache, and they are tried once more.
        logger: gets a warning if the engine itself gives other logits token by token.
        start_rows: starts a session for a list of ids for each row; None for a model that can't.

    Raises:
        CorelmError: `select` or `rewind` gives other logits, or the model doesn't run.
    """
    try:
        faults = session_faults(start, size)
        if "rewind" in faults and without_rewind is not None:
            without_rewind()
            faults = session_faults(start, size)
    except CorelmError:
        raise
    except Exception as error:  # an error of the model's own code
        owner = engine + ("'" if engine.endswith("s") else "'s")
        raise CorelmError(f"{name} does not run on {owner} cache: {error}") from error
    if faults.keys() & {"select", "rewind"}:
        raise CorelmError(
            f"{name} keeps a part of its state outside its cache, so corelm cannot reorder its "
            f"texts (a logit is off by {max(faults.values()):.2g})"
        )
    if faults:
        logger.warning(
            "%s gives other logits token by token than in one pass, by up to %.2g, in %s itself",
            name,
            faults["extend"],
            engine,
        )
    return start_rows is not None and not row_faults(start_rows, start, size)


def _extended(session: Session, tokens: NDArray[np.int64]) -> Array:
    session.extend(tokens)
    return session.next_logits()


def _fault(operation: str, logits: Array, expected: Array) -> dict[str, float]:
    """Return the largest error under the operation's name; empty if rounding explains it."""
    error = largest_difference(logits, expected)
    allowed = max(SHARE * largest_difference(expected[0], expected[1]), ROUNDING)
    return {operation: error} if error > allowed else {}
