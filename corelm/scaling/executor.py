"""Executors run units of work: in this process, or on the workers of a cluster."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from corelm.errors import MissingDependencyError, UsageError
from corelm.language_model import LanguageModel
from corelm.native.cpu import cpu_limit
from corelm.params import Parameter
from corelm.scaling.units import Executor, Unit

if TYPE_CHECKING:
    from corelm.scaling.job import Job


class InProcess:
    """An executor that runs the units one after the other in this process.

    Args:
        models: the models of the units.
    """

    def __init__(self, *models: LanguageModel) -> None:
        self._models = models

    def run(self, units: Iterator[Unit | None], model: int = 0) -> Iterator[tuple[Unit, str]]:
        """Yield the units in their order."""
        while (unit := next(units, None)) is not None:
            yield unit, json.dumps(unit(self._models[model]))

    def close(self) -> None:
        """Do nothing, since there are no workers."""


WORKERS = Parameter.of("workers", int, None, ge=1)
MOST_PER_PROCESSOR = 8
"""The most workers per processor of this machine: each is a process that loads the model."""


@dataclass(frozen=True)
class ExecutorChoice:
    """The workers of an executor; without any, the work is done in this process.

    Attributes:
        workers: the number of workers of a Dask cluster to start on this machine.
        scheduler: the address of the scheduler of a Dask cluster.
    """

    workers: int | None
    scheduler: str | None

    @classmethod
    def of(cls, workers: int | str | None = None, scheduler: str | None = None) -> ExecutorChoice:
        """Return the executor with these workers.

        Args:
            workers: the number of workers of a cluster to start on this machine.
            scheduler: the address of the scheduler of a Dask cluster.

        Raises:
            UsageError: both are given.
            MissingDependencyError: dask.distributed is not installed.

        Example:
            >>> ExecutorChoice.of()
            ExecutorChoice(workers=None, scheduler=None)
        """
        if workers is not None and scheduler is not None:
            raise UsageError("a scheduler has its own workers: leave out their number")
        if scheduler is not None and not scheduler.strip():
            raise UsageError("the scheduler needs an address, such as tcp://10.0.0.1:8786")
        count = None if workers is None else WORKERS.convert(workers)
        most = MOST_PER_PROCESSOR * max(cpu_limit(), 8)
        if count is not None and count > most:
            raise UsageError(f"workers must be at most {most} on this machine, not {count}")
        if workers is not None or scheduler is not None:
            _check_installed()
        return cls(count, scheduler)

    @contextmanager
    def opened(
        self, models: Sequence[LanguageModel], jobs: Callable[[], Sequence[Job]]
    ) -> Iterator[Executor]:
        """Yield the executor; end its workers afterwards.

        Args:
            models: the models, for the work in this process.
            jobs: makes the job of each model, for the workers.

        Raises:
            UsageError: a job that workers cannot do.
            ExecutorError: the workers cannot be reached.
        """
        executor = self._executor(models, jobs)
        try:
            yield executor
        finally:
            executor.close()

    def _executor(
        self, models: Sequence[LanguageModel], jobs: Callable[[], Sequence[Job]]
    ) -> Executor:
        workers = self.workers if self.scheduler is None else self.scheduler
        if workers is None:
            return InProcess(*models)
        from corelm.scaling.dask_cluster import DaskCluster

        return DaskCluster(jobs(), workers)


def _check_installed() -> None:
    try:
        import distributed  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            f"workers need dask.distributed ({error}); install it with: pip install 'corelm[dask]'"
        ) from error
