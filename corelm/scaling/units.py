"""Units of work, and the executors that do them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from corelm.language_model import LanguageModel


class Unit(Protocol):
    """A unit of work: a small value that can be pickled, and that alone determines the result."""

    @property
    def name(self) -> str:
        """The name of the unit, unique in a run."""

    def __call__(self, model: LanguageModel) -> Any:
        """Do the work; return a value that JSON can hold."""


class Executor(Protocol):
    """Does units of work, in this process or in others."""

    def run(self, units: Iterator[Unit | None], model: int = 0) -> Iterator[tuple[Unit, str]]:
        """Yield each unit with its result as JSON when it is finished, in any order.

        A unit is taken when a worker is free for it, so `units` may be endless. It may yield None
        while it has no unit; the executor asks it again after the next result.

        Args:
            units: the units.
            model: the number of their model among the executor's models.

        Raises:
            ExecutorError: a worker that cannot be used, or a unit whose workers die.
        """

    def close(self) -> None:
        """End the workers."""
