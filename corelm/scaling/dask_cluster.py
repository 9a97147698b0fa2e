"""The engine `dask`: workers of a Dask cluster, which may come and go."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from typing import Any

from corelm.errors import EngineError, MissingDependencyError
from corelm.native.cpu import VARIABLE, cpu_limit
from corelm.scaling.engine import Unit
from corelm.scaling.job import Job
from corelm.scaling.starting import interrupts_held_back
from corelm.scaling.worker import do, packed

PATIENCE = 30
"""Seconds to wait for the scheduler, and for its first worker."""
AHEAD = 2
"""Units on the cluster for each thread of its workers: the next one waits where it is done."""
logger = logging.getLogger("corelm")


class Dask:
    """Does units on a Dask cluster.

    Args:
        jobs: the models that its workers load.
        scheduler: the address of the scheduler, such as `tcp://10.0.0.1:8786`; None for a cluster
            on this machine alone.
        workers: the number of workers of a cluster on this machine.

    Raises:
        MissingDependencyError: dask.distributed is not installed.
        EngineError: no scheduler at the address, or no worker.
    """

    def __init__(self, jobs: Sequence[Job], scheduler: str | None, workers: int) -> None:
        try:
            import distributed
        except ImportError as error:
            raise MissingDependencyError(
                f"the engine dask needs dask.distributed ({error}); install it with: "
                "pip install 'corelm[dask]'"
            ) from error
        self._jobs = jobs
        with interrupts_held_back():
            self._cluster = None if scheduler else _local_cluster(workers)
            address = scheduler or self._cluster
            try:
                self._client = distributed.Client(address, timeout=PATIENCE, set_as_default=False)
            except (OSError, ValueError, TimeoutError) as error:
                raise EngineError(f"no Dask scheduler answers at {scheduler}: {error}") from error
        self._wait_for_workers()
        count, address = len(self._client.nthreads()), self._client.scheduler.address
        logger.info("%d Dask workers at %s", count, address)

    def _wait_for_workers(self) -> None:
        try:
            self._client.wait_for_workers(1, timeout=PATIENCE)
        except TimeoutError as error:
            self.close()
            raise EngineError(
                f"the Dask scheduler has had no worker for {PATIENCE} seconds; start one with: "
                "dask worker ADDRESS --nthreads 1"
            ) from error

    def run(self, units: Iterator[Unit | None], model: int = 0) -> Iterator[tuple[Unit, str]]:
        """Yield units as they are finished; those of a worker that dies are done by another."""
        from distributed import as_completed

        pending: dict[Any, Unit] = {}
        finished = as_completed(loop=self._client.loop)
        slots = _Slots(self._client)
        try:
            while True:
                while len(pending) < AHEAD * slots.count():
                    unit = next(units, None)
                    if unit is None:
                        break
                    future = self._client.submit(do, self._jobs[model], packed(unit), pure=False)
                    pending[future] = unit
                    finished.add(future)
                if not pending:
                    return
                future = next(finished)
                unit = pending.pop(future)
                yield unit, _result(future, unit)
        finally:
            self._client.cancel(list(pending))

    def close(self) -> None:
        """Leave the cluster; end one that was started here."""
        self._client.close()
        if self._cluster is not None:
            self._cluster.close()


class _Slots:
    """The number of units that a cluster does at once, asked for at most once a second."""

    def __init__(self, client: Any) -> None:
        self._client, self._count, self._asked = client, 1, -1.0

    def count(self) -> int:
        """Return the number; at least 1, as workers may come back."""
        if time.monotonic() - self._asked > 1:
            self._count = max(1, sum(self._client.nthreads().values()))
            self._asked = time.monotonic()
        return self._count


def _result(future: Any, unit: Unit) -> str:
    from distributed import CancelledError, KilledWorker

    try:
        return str(future.result())
    except KilledWorker as error:
        raise EngineError(f"several workers died in {unit.name!r}: {error}") from error
    except CancelledError as error:
        raise EngineError(f"the Dask scheduler is gone, with {unit.name!r}: {error}") from error
    except ImportError as error:
        raise EngineError(
            f"a worker cannot import corelm ({error}); install the same version there"
        ) from error


def _local_cluster(workers: int) -> Any:
    """Start a cluster on the loopback address; its workers share the threads of this process."""
    from distributed import LocalCluster

    return LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        # Without a dashboard too the scheduler serves pages on health, by default on a fixed port,
        # about which a second cluster would warn.
        dashboard_address="127.0.0.1:0",
        scheduler_kwargs={"dashboard": False},
        silence_logs=logging.CRITICAL,
        env={VARIABLE: str(max(1, cpu_limit() // workers))},
    )
