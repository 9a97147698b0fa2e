"""Units of work, and the workers that do them."""

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


class Workers(Protocol):
    """Do units of work, in this process or in others."""

    def run(self, units: Iterator[Unit | None], model: int) -> Iterator[tuple[Unit, str]]:
        """Yield each unit with its result, as `Executor.opened` describes it."""

    def close(self) -> None:
        """End the workers."""
