"""The stages of a report: units of work that an executor does and a journal remembers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from corelm.reports.measure.journal import Journal
from corelm.scaling.executor import Executor, Unit

Progress = Callable[[str, int, int], None]
"""Called with a stage, the number of its units that are finished, and the number of all."""
AnyUnit = TypeVar("AnyUnit", bound=Unit)


class Stages:
    """Do the units of a report that are not finished.

    Args:
        executor: does the units of work.
        journal: the units that are finished.
        progress: called at every unit.
    """

    def __init__(self, executor: Executor, journal: Journal, progress: Progress) -> None:
        self._executor, self._journal, self.progress = executor, journal, progress

    def results(
        self,
        stage: str,
        units: Iterable[AnyUnit],
        total: int,
        model: int = 0,
    ) -> Iterator[tuple[AnyUnit, Any]]:
        """Yield units with their results, in their order; those in the journal are not done again.

        Units are taken one by one, so a unit may be left out because of the results before it.

        Args:
            stage: the name of the stage.
            units: the units.
            total: their number.
            model: the number of their model among those of the executor.
        """
        order: deque[AnyUnit] = deque()
        results: dict[str, Any] = {}
        journal, done = self._journal, 0

        def missing() -> Iterator[AnyUnit]:
            nonlocal done
            for unit in units:
                order.append(unit)
                if unit.name not in journal:
                    yield unit
                else:
                    done += 1

        def in_order() -> Iterator[tuple[AnyUnit, Any]]:
            while order and ((name := order[0].name) in results or name in journal):
                yield order.popleft(), results.pop(name) if name in results else journal.take(name)

        self.progress(stage, 0, total)
        for unit, result in self._executor.run(missing(), model):
            results[unit.name] = journal.keep(unit.name, result)
            done += 1
            self.progress(stage, done, total)
            yield from in_order()
        self.progress(stage, total, total)
        yield from in_order()

    def result(self, unit: Unit) -> Any:
        """The result of a unit that is a stage of its own."""
        return next(self.results(unit.name, [unit], 1))[1]
