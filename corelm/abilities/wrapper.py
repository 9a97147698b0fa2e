"""A session that wraps another one, and has exactly its abilities."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from functools import partial
from typing import Any, TypeVar, cast

from numpy.typing import ArrayLike, NDArray

from corelm.language_model import Session, has_method
from corelm.numerics.distributions import Array

M = TypeVar("M", bound=Callable[..., Any])
OPTIONAL = {"last_logits", "rewind", "join", "fork", "hidden_states", "drawn_ahead"}


def if_wrapped_can(method: M) -> M:
    """Make a method that exists only if the `wrapped` session has it too."""
    return cast(M, _PassedOn(method))


class _PassedOn:
    """A descriptor that hides a method unless the wrapped session has it too."""

    def __init__(self, method: Callable[..., Any]) -> None:
        self._method = method
        self.__doc__, self.__name__ = method.__doc__, method.__name__

    def __get__(self, wrapper: Any, owner: type) -> Any:
        if wrapper is None:
            return self._method
        if not has_method(wrapper.wrapped, self.__name__):
            raise AttributeError(f"the session has no method {self.__name__}")
        return partial(self._method, wrapper)


class SessionWrapper:
    """A session that forwards every call to another session, and has the same abilities.

    A subclass overrides the calls that it counts, times or checks. Of the optional methods that it
    defines, it has those that the wrapped session has.

    Args:
        wrapped: the session.

    Attributes:
        wrapped: the session.

    Example:
        >>> import numpy as np
        >>> from corelm.testing import ToyModel
        >>> class Counted(SessionWrapper):
        ...     tokens = 0
        ...     def extend(self, tokens):
        ...         self.tokens += np.size(tokens)
        ...         super().extend(tokens)
        >>> session = Counted(ToyModel().start([[3]]))
        >>> session.extend(np.array([4]))
        >>> session.tokens, session.fork().tokens
        (1, 1)
    """

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        for name in OPTIONAL & vars(cls).keys():
            setattr(cls, name, if_wrapped_can(vars(cls)[name]))

    def __init__(self, wrapped: Session) -> None:
        # Any: the methods below look for the abilities at each access.
        self.wrapped: Any = wrapped

    def next_logits(self) -> Array:
        """Return (batch, vocabulary): the logits of the next token of each row."""
        logits: Array = self.wrapped.next_logits()
        return logits

    def extend(self, tokens: NDArray[Any]) -> None:
        """Append tokens of shape (batch,) or (batch, time) to the rows."""
        self.wrapped.extend(tokens)

    def select(self, rows: ArrayLike) -> None:
        """Keep these rows in this order; a row named twice is forked."""
        self.wrapped.select(rows)

    @if_wrapped_can
    def last_logits(self, count: int) -> Array:
        """Return (batch, count, vocabulary): the logits after each of the last tokens."""
        logits: Array = self.wrapped.last_logits(count)
        return logits

    @if_wrapped_can
    def rewind(self, count: int) -> None:
        """Drop the last `count` tokens of each row."""
        self.wrapped.rewind(count)

    @if_wrapped_can
    def join(self, other: Session) -> None:
        """Append the rows of another session of the same model, wrapped or not.

        Raises:
            UsageError: a session of another model, or this session itself.
        """
        while isinstance(other, SessionWrapper):
            other = other.wrapped
        self.wrapped.join(other)

    @if_wrapped_can
    def fork(self) -> Any:
        """Return a copy of this wrapper around a copy of the session."""
        other = copy(self)
        other.wrapped = self.wrapped.fork()
        return other

    @if_wrapped_can
    def hidden_states(self, count: int) -> Array:
        """Return (batch, count, width): the last hidden states at the last `count` tokens."""
        states: Array = self.wrapped.hidden_states(count)
        return states
