"""Units of work, and the type of functions that run them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeAlias

from corelm.language_model import LanguageModel


class Unit(Protocol):
    """A unit of work: a small value that can be pickled, and that alone determines the result."""

    @property
    def name(self) -> str:
        """The name of the unit, unique in a run."""

    def __call__(self, model: LanguageModel) -> Any:
        """Do the work; return a value that JSON can hold."""


RunUnits: TypeAlias = Callable[[Iterator[Unit | None], int], Iterator[tuple[Unit, str]]]
"""A function that runs units, as `Executor.opened` describes it."""
