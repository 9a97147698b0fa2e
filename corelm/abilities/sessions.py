"""The optional methods of sessions, and a wrapper that has those of its session."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from corelm.contracts.context import Context
from corelm.contracts.language_model import Session, has_method
from corelm.numerics.distributions import Array

if TYPE_CHECKING:
    from corelm.contracts.step import Drawn
    from corelm.decoding.draws import DrawPlan


class SessionAbilities(Session, Protocol):
    """The optional methods of a session, beyond the three that it must have.

    Each is an ability by itself, but `rewind` needs `last_logits`, and `draw` needs `expect`.
    A session needs none of them, and no base class.
    """

    def draw(
        self,
        plan: DrawPlan,
        uniforms: NDArray[np.float64],
        context: Callable[[], Context],
        measured: bool = False,
    ) -> Drawn:
        """Draw the next token of each row, without appending it.

        The session may draw the tokens after it at the same time, as `extend` with these tokens
        and the next `draw` would. They have to be the same tokens.

        Args:
            plan: the sampler's stages and the draw.
            uniforms: (tokens, batch) numbers in [0, 1) for the next token, and for those after it
                that the caller is likely to draw with the same plan.
            context: returns the past of each row.
            measured: return the figures of the rows.
        """

    def expect(self, plan: DrawPlan, uniforms: NDArray[np.float64], measured: bool = False) -> None:
        """Say how the tokens after the next call of `extend` are drawn, for rows that changed.

        `draw` does so itself.

        Args:
            plan, uniforms, measured: as for `draw`.
        """

    def last_logits(self, count: int) -> Array:
        """Return (batch, count, vocabulary): the logits after each of the last `count` tokens.

        The last of them equal the result of `next_logits`.
        """

    def rewind(self, count: int) -> None:
        """Drop the last `count` tokens of each row, for decoders that guess ahead.

        The logits of a text do not depend on whether its tokens came one by one or several at a
        time, nor on tokens that were dropped.
        """

    def join(self, other: Session) -> None:
        """Append the rows of another session of the same model, which must not be used afterwards.

        The rows of such a session may differ in length, and the logits of a row do not depend on
        the other rows. The model takes a list of ids for each row in `LanguageModel.start`.

        Raises:
            UsageError: a session of another model, or this session itself.
        """

    def join_many(self, *others: Session) -> None:
        """Append the rows of several sessions, as `join` does for one; no row is copied twice."""

    def fork(self) -> SessionAbilities:
        """Return a copy, so that a prompt that was read once begins several texts.

        A change to one of the two leaves the other as it is. The logits are the same to the last
        bit.
        """

    def hidden_states(self, count: int) -> Array:
        """Return (batch, count, width): the last hidden states at the last `count` tokens."""


OPTIONAL = {name for name in vars(SessionAbilities) if not name.startswith("_")}


class if_wrapped_can:  # noqa: N801
    """Make a method that exists only if the `wrapped` session has it too."""

    def __init__(self, method: Callable[..., Any]) -> None:
        self._method = method
        self.__doc__ = method.__doc__
        self.__name__: str = method.__name__

    def __get__(self, wrapper: Any, owner: type) -> Any:
        if wrapper is None:
            return self._method
        if not has_method(wrapper.wrapped, self.__name__):
            raise AttributeError(f"the session has no method {self.__name__}")
        return partial(self._method, wrapper)


class SessionWrapper:
    """A session that forwards every call to another session, and has the same abilities.

    A subclass overrides the calls that it counts, times or checks. Of the optional methods that it
    defines, it has those that the wrapped session has. Tokens are drawn from its `next_logits`,
    unless it defines `draw`: the wrapped session's would pass by the calls that it overrides.

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
