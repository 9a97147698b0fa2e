"""Run units of work: in this process, or on the workers of a cluster."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from corelm.contracts.language_model import LanguageModel
from corelm.contracts.params import Parameter
from corelm.errors import MissingDependencyError, UsageError
from corelm.native.cpu import cpu_limit

if TYPE_CHECKING:
    from corelm.scaling.dependencies import Dependencies
    from corelm.scaling.job import RunUnits, Unit


class InProcess:
    """Run the units one after the other in this process.

    Args:
        models: the models of the units.
    """

    def __init__(self, *models: LanguageModel) -> None:
        self._models = models

    def run(self, units: Iterator[Unit | None], model: int) -> Iterator[tuple[Unit, str]]:
        """Yield the units in their order."""
        while (unit := next(units, None)) is not None:
            yield unit, json.dumps(unit(self._models[model]))


WORKERS = Parameter.of("workers", int, None, ge=1)
MOST_PER_PROCESSOR = 8
"""The most workers per processor of this machine: each is a process that loads the model."""


@dataclass(frozen=True)
class Executor:
    """The place where units of work are done: a Dask cluster's workers, or else this process.

    Attributes:
        workers: the number of workers of a Dask cluster to start on this machine.
        scheduler: the address of the scheduler of a Dask cluster.
    """

    workers: int | None
    scheduler: str | None

    @classmethod
    def of(cls, workers: int | str | None = None, scheduler: str | None = None) -> Executor:
        """Return the executor of these options, given as numbers or as text.

        Args:
            workers: the number of workers of a cluster to start on this machine.
            scheduler: the address of the scheduler of a Dask cluster.

        Raises:
            UsageError: both are given.
            MissingDependencyError: dask.distributed is not installed.

        Example:
            >>> Executor.of()
            Executor(workers=None, scheduler=None)
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
            try:
                import distributed  # noqa: F401
            except ImportError as error:
                raise MissingDependencyError(
                    f"workers need dask.distributed ({error}); install it with: pip install "
                    "'corelm[dask]'"
                ) from error
        return cls(count, scheduler)

    @contextmanager
    def opened(
        self, models: Sequence[LanguageModel], dependencies: Dependencies
    ) -> Iterator[RunUnits]:
        """Start the workers, and end them afterwards.

        Workers load the models by the names by which they were loaded here, and check that models,
        versions, code and secrets are the same.

        Args:
            models: the models of the units.
            dependencies: what the units are made of, besides the models.

        Yields:
            A function that takes units and the index of their model, and yields each unit with its
            result as JSON when it is finished, in any order. It takes a unit when a worker is free,
            so the units may be endless. They may be None while there is none to do; it then asks
            again after the next result. It raises ExecutorError for a worker that can't be used,
            or a unit whose workers die.

        Raises:
            UsageError: a model without a name, or a sampler that workers can't make.
            ExecutorError: the workers can't be reached.

        Example:
            >>> from dataclasses import dataclass
            >>> from corelm.runs import scaling
            >>> from corelm.testing import ToyModel
            >>> @dataclass(frozen=True)
            ... class Count:
            ...     '''Count the tokens of a text.'''
            ...     name: str
            ...     def __call__(self, model):
            ...         return len(model.vocabulary.encode(self.name))
            >>> units = [Count("the cat"), Count("a dog sat")]
            >>> nothing = scaling.Dependencies([])
            >>> with scaling.Executor.of().opened([ToyModel()], nothing) as run:
            ...     [result for _, result in run(iter(units), 0)]
            ['2', '3']
        """
        workers = self.workers if self.scheduler is None else self.scheduler
        if workers is None:
            yield InProcess(*models).run
            return
        from corelm.scaling.dask_cluster import DaskCluster
        from corelm.scaling.job import jobs_of

        with closing(DaskCluster(jobs_of(models, dependencies), workers)) as cluster:
            yield cluster.run
