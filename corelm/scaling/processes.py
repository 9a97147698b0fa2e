"""The engine `processes`: workers on this machine, each with its own model."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from multiprocessing.connection import wait

from corelm.errors import EngineError
from corelm.native.cpu import cpu_limit
from corelm.scaling.child import Child
from corelm.scaling.engine import Unit
from corelm.scaling.job import Job

LIVES = 3
"""The number of workers that may die in one unit."""
logger = logging.getLogger("corelm")


class Processes:
    """Does units in processes of this machine, which start with the first unit.

    Args:
        jobs: the models that they load.
        workers: the number of processes, which share the threads of this one.
    """

    def __init__(self, jobs: Sequence[Job], workers: int) -> None:
        self._jobs, self._count = jobs, workers
        self._workers: list[Child] = []

    def run(self, units: Iterator[Unit | None], model: int = 0) -> Iterator[tuple[Unit, str]]:
        """Yield units as they are finished; those of a worker that dies are done again."""
        lost: deque[Unit] = deque()
        deaths: Counter[str] = Counter()
        self._workers += [self._started() for _ in range(self._count - len(self._workers))]
        try:
            while True:
                for worker in [each for each in self._workers if each.unit is None]:
                    unit = lost.popleft() if lost else next(units, None)
                    if unit is None:
                        break
                    worker.give(unit, model)
                busy = {each.connection: each for each in self._workers if each.unit}
                if not busy:
                    return
                for connection in wait(list(busy)):
                    worker = busy[connection]  # type: ignore[index]
                    unit, result = worker.take()
                    if result is not None:
                        yield unit, result
                        continue
                    deaths[unit.name] += 1
                    self._replace(worker, unit, deaths[unit.name])
                    lost.append(unit)
        finally:
            # An interrupted unit's result must not be taken for one of the next run.
            for worker in [each for each in self._workers if each.unit]:
                worker.end()
                self._workers.remove(worker)

    def _started(self) -> Child:
        return Child(self._jobs, max(1, cpu_limit() // self._count))

    def _replace(self, worker: Child, unit: Unit, deaths: int) -> None:
        """Start another process instead of one that died.

        Raises:
            EngineError: too many died in this unit.
        """
        self._workers.remove(worker)
        worker.end()
        how = worker.cause_of_death
        if deaths >= LIVES:
            raise EngineError(f"{deaths} workers died in {unit.name!r}, the last one {how}")
        logger.warning("a worker died in %r %s; another one does it again", unit.name, how)
        self._workers.append(self._started())

    def close(self) -> None:
        """End all processes."""
        for worker in self._workers:
            worker.end()
        self._workers.clear()
