"""Choose an engine by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from corelm import LanguageModel
from corelm.errors import UsageError
from corelm.native.cpu import cpu_limit
from corelm.scaling import ENGINES
from corelm.scaling.engine import Engine, Serial
from corelm.scaling.job import Job
from corelm.toolkit import Parameter, Rule, did_you_mean, shown

WORKERS = Parameter("workers", int, None, Rule(ge=1))


@dataclass(frozen=True)
class EngineChoice:
    """An engine by name, with its settings; `choose` checks them.

    Attributes:
        name: one of `ENGINES`.
        workers: the number of processes.
        scheduler: the address of a Dask scheduler; None for a cluster on this machine.
    """

    name: str
    workers: int
    scheduler: str | None

    @contextmanager
    def opened(
        self, models: Sequence[LanguageModel], jobs: Callable[[], Sequence[Job]]
    ) -> Iterator[Engine]:
        """Yield the engine; end its workers afterwards.

        Args:
            models: the models, for an engine in this process.
            jobs: makes the job of each for the others.

        Raises:
            UsageError: a job that workers cannot do.
            EngineError, MissingDependencyError: the engine cannot start.
        """
        engine = Serial(*models) if self.name == "serial" else self._with_workers(jobs())
        try:
            yield engine
        finally:
            engine.close()

    def _with_workers(self, jobs: Sequence[Job]) -> Engine:
        if self.name == "processes":
            from corelm.scaling.processes import Processes

            return Processes(jobs, self.workers)
        from corelm.scaling.dask_cluster import Dask

        return Dask(jobs, self.scheduler, self.workers)


def choose(
    engine: str = "serial", workers: int | str | None = None, scheduler: str | None = None
) -> EngineChoice:
    """Return the engine of a name.

    Args:
        engine: `serial`, `processes` or `dask`.
        workers: the number of processes; the number of processors when left out.
        scheduler: the address of a Dask scheduler.

    Raises:
        UsageError: no such engine, or a setting that it does not have.

    Example:
        >>> choose("processes", workers=2)
        EngineChoice(name='processes', workers=2, scheduler=None)
    """
    if engine not in ENGINES:
        raise UsageError(
            f"there is no engine {shown(engine)}{did_you_mean(str(engine), ENGINES)} "
            f"(there are: {', '.join(ENGINES)})"
        )
    if scheduler is not None and engine != "dask":
        raise UsageError(f"a scheduler is for the engine dask, not for {engine}")
    if workers is not None and engine == "serial":
        raise UsageError("the engine serial has no workers; choose processes or dask")
    if workers is not None and scheduler is not None:
        raise UsageError("a scheduler has its own workers: leave out their number")
    count = cpu_limit() if workers is None else WORKERS.convert(workers)
    return EngineChoice(engine, count, scheduler)
