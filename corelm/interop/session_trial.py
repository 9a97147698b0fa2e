"""Try the sessions of an engine's model before anybody uses them."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from corelm import Array, JoinableSession, RewindableSession, Session
from corelm.errors import CorelmError

logger = logging.getLogger("corelm")

SHARE = 0.05
"""The largest error of a logit, as a share of what other words earlier in the text change."""

ROUNDING = 1e-4
"""An error of a logit that is always allowed."""

PROMPT, FORK = 3, [0, 1, 1]


def session_faults(
    start: Callable[[NDArray[np.int64]], Session], vocabulary_size: int
) -> dict[str, float]:
    """Try the operations of a session on texts of five tokens, and return those that fail.

    A session whose engine keeps a state outside the cache continues another row's text after
    `select`, and a cache may refuse to drop tokens. Eight short passes find out.

    Args:
        start: starts a session for (batch, time) ids.
        vocabulary_size: the number of tokens.

    Returns:
        The largest error of a logit by operation, if it is larger than rounding explains; infinite
        if `select` or `rewind` raised an exception. `select` is compared with a new session that
        gets the same tokens in the same passes, `extend` and `rewind` with one pass over the text.

    Example:
        >>> from corelm.testing import ToyModel
        >>> session_faults(ToyModel().start, vocabulary_size=12)
        {}
    """
    # The rows differ in the first two tokens: their logits differ by what a session remembers.
    texts = (vocabulary_size // 3 + np.arange(2 * 5).reshape(2, 5)) % vocabulary_size
    texts[1, 2:] = texts[0, 2:]
    session, fresh = start(texts[::-1, :PROMPT]), start(texts[:, :PROMPT])
    session.next_logits()
    fresh.next_logits()
    faults: dict[str, float] = {}
    try:
        session.select([1, 0])
        third, fourth = texts[:, PROMPT:].T
        faults |= _fault("select", _extended(session, third), _extended(fresh, third))
        session.select(FORK)
        expected = _extended(fresh, fourth)
        faults |= _fault("select", _extended(session, fourth[FORK]), expected[FORK])
    except Exception:  # of any library: they have no common root
        return {"select": np.inf}
    whole = start(texts).next_logits()
    faults |= _fault("extend", expected, whole)
    if isinstance(session, RewindableSession):
        faults |= _rewind_fault(session, texts[FORK], whole[FORK])
    return faults


def row_faults(
    start: Callable[[list[list[int]]], JoinableSession],
    start_equal: Callable[[NDArray[np.int64]], Session],
    vocabulary_size: int,
) -> dict[str, float]:
    """Try a session of rows of different lengths, and return the operations that fail.

    An engine that takes no mask or positions of each row reads padding as text.

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
    ids = (vocabulary_size // 3 + np.arange(15)) % vocabulary_size
    texts = [part.tolist() for part in (ids[:5], ids[5:8], ids[8:12])]
    more = ids[12:]
    alone = [start_equal(np.array([[*text, *more[i : i + 1]]])) for i, text in enumerate(texts)]
    expected = np.concatenate([session.next_logits() for session in alone])
    try:
        session, first, second = (start(part) for part in (texts[:2], texts[:1], texts[1:]))
        session.next_logits()
        faults = _fault("start", _extended(session, more[:2]), expected[:2])
        first.join(second)
        return faults | _fault("join", _extended(first, more), expected)
    except Exception:  # of any library: they have no common root
        return {"start": np.inf}


def check_session(
    start: Callable[[NDArray[np.int64]], Session],
    size: int,
    name: str,
    engine: str = "its engine",
    without_rewind: Callable[[], None] | None = None,
    logger: logging.Logger = logger,
) -> None:
    """Raise if a model's sessions fail; see `session_faults`.

    Args:
        start: starts a session for (batch, time) ids.
        size: the number of tokens.
        name: the model's, for messages.
        engine: the engine's, for messages.
        without_rewind: called if `rewind` fails: from then on, `start` starts sessions that never
            drop tokens from the cache, and they are tried once more.
        logger: gets a warning if the engine itself gives other logits token by token.

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
    except Exception as error:  # of a model's own code
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


def _rewind_fault(
    session: RewindableSession, texts: NDArray[np.int64], expected: Array
) -> dict[str, float]:
    """Return the fault of a session that drops two tokens and continues with the same two."""
    try:
        session.rewind(2)
        session.extend(texts[:, PROMPT:])
        return _fault("rewind", session.next_logits(), expected)
    except Exception:
        return {"rewind": np.inf}


def _extended(session: Session, tokens: NDArray[np.int64]) -> Array:
    session.extend(tokens)
    return session.next_logits()


def _fault(operation: str, found: Array, expected: Array) -> dict[str, float]:
    """Return the largest error under the name of an operation, or nothing if it is small."""
    error = _distance(found, expected)
    allowed = max(SHARE * _distance(expected[0], expected[1]), ROUNDING)
    return {operation: error} if error > allowed else {}


def _distance(one: Array, other: Array) -> float:
    """Return the largest difference; equal infinities do not differ."""
    with np.errstate(invalid="ignore"):
        difference = np.where(one == other, 0, np.abs(one - other))
    return float(np.nan_to_num(difference, nan=np.inf).max())
