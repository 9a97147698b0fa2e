"""Workers of a Dask cluster, which may come and go."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import resource_tracker
from queue import Empty, SimpleQueue
from typing import Any

import dask.config
import distributed
from distributed.client import ClosedClientError
from distributed.gc import disable_gc_diagnosis

from corelm.errors import ExecutorError
from corelm.native.cpu import VARIABLE, cpu_limit
from corelm.scaling.job import Job, Unit, do, packed

PATIENCE = 30
"""Seconds to wait for the scheduler, and for its first worker."""
AHEAD = 2
"""Units on the cluster per worker thread, so that the next unit already waits at its worker."""
SPAWNED_WITH = "distributed.nanny.pre-spawn-environ"
"""The setting with the workers' environment variables. Dask's default sets MALLOC_TRIM_THRESHOLD_,
which makes each large array a system call: a fifth of the time of `corelm sample`."""
QUIET = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "5s",
}
"""Settings that stop the timers that wake each process up to 100 times a second: a unit then takes
11 % less."""
CLIENT_LOGGER = logging.getLogger("distributed.client")
logger = logging.getLogger("corelm")


class DaskCluster:
    """Run units on a Dask cluster.

    Args:
        jobs: the models that its workers load.
        workers: the number of workers to start on this machine, or the address of the scheduler of
            a cluster, such as `tcp://10.0.0.1:8786`.

    Raises:
        ExecutorError: no scheduler at the address, or no worker.
    """

    def __init__(self, jobs: Sequence[Job], workers: int | str) -> None:
        self._jobs = jobs
        with _interrupts_held_back():
            self._cluster = _local_cluster(workers) if isinstance(workers, int) else None
            address = self._cluster or workers
            try:
                self._client = distributed.Client(address, timeout=PATIENCE, set_as_default=False)
            except (OSError, ValueError, TimeoutError) as error:
                raise ExecutorError(f"no Dask scheduler answers at {workers}: {error}") from error
        disable_gc_diagnosis(force=True)  # Ctrl-C while its callback runs would be ignored
        self._log_level = CLIENT_LOGGER.level
        CLIENT_LOGGER.setLevel(logging.CRITICAL)  # a lost scheduler becomes an ExecutorError
        self._address = self._client.scheduler.address
        self._slots, self._asked = 0, 0.0
        try:
            self._client.wait_for_workers(1, timeout=PATIENCE)
        except TimeoutError as error:
            self.close()
            raise ExecutorError(_no_worker()) from error
        logger.info("%d Dask workers at %s", len(self._client.nthreads()), self._address)

    def run(self, units: Iterator[Unit | None], model: int) -> Iterator[tuple[Unit, str]]:
        """Yield units as they are finished; if a worker dies, other workers run its units."""
        pending: dict[Any, Unit] = {}
        finished: SimpleQueue[Any] = SimpleQueue()
        try:
            while True:
                while len(pending) < AHEAD * self._count_slots():
                    unit = next(units, None)
                    if unit is None:
                        break
                    with self._scheduler_needed():
                        job = self._jobs[model]
                        future = self._client.submit(do, job, packed(unit), pure=False)
                    pending[future] = unit
                    future.add_done_callback(finished.put)
                if not pending:
                    return
                future = self._attended(partial(finished.get, timeout=1))
                unit = pending.pop(future)
                yield unit, self._result(future, unit)
        finally:
            with suppress(OSError):  # the scheduler is gone
                self._client.cancel(list(pending))

    def _attended(self, attempt: Callable[[], Any]) -> Any:
        """Repeat an attempt until it succeeds, as long as the cluster has workers.

        Args:
            attempt: takes at most a second, then raises Empty or TimeoutError.

        Raises:
            ExecutorError: for PATIENCE seconds there was no worker.
        """
        seen = time.monotonic()
        while True:
            with self._scheduler_needed(), suppress(Empty, TimeoutError):
                return attempt()
            with self._scheduler_needed():
                working = self._client.nthreads()
            if working:
                seen = time.monotonic()
            elif time.monotonic() - seen > PATIENCE:
                raise ExecutorError(f"{_no_worker()}; then continue with --resume")

    def _count_slots(self) -> int:
        """Return the number of units that the cluster runs at once, at least 1 for lost workers."""
        if time.monotonic() - self._asked > 1:  # a cached count: a request takes a millisecond
            with self._scheduler_needed():
                self._slots = max(1, sum(self._client.nthreads().values()))
            self._asked = time.monotonic()
        return self._slots

    def _result(self, future: Any, unit: Unit) -> str:
        if future.status != "error":
            # If a worker dies, its finished results are lost, and are computed again.
            return str(self._attended(partial(future.result, timeout=1)))
        error = future.exception()
        if isinstance(error, distributed.KilledWorker):
            raise ExecutorError(
                f"{error.allowed_failures + 1} workers died in {unit.name!r}, the last one at "
                f"{error.last_worker.address}"
            ) from error
        if isinstance(error, ImportError):
            raise ExecutorError(
                f"a worker cannot import corelm ({error}); install the same version there"
            ) from error
        raise error

    @contextmanager
    def _scheduler_needed(self) -> Iterator[None]:
        try:
            yield
        except (OSError, distributed.CancelledError, ClosedClientError) as error:
            raise ExecutorError(
                f"the Dask scheduler at {self._address} is gone: start it again, and the command "
                "with --resume"
            ) from error

    def close(self) -> None:
        """Leave the cluster; end one that was started here."""
        self._client.close()
        CLIENT_LOGGER.setLevel(self._log_level)
        if self._cluster is not None:
            self._cluster.close()


def _no_worker() -> str:
    """Return the message for a cluster without workers, with the way out."""
    return (
        f"the Dask scheduler has had no worker for {PATIENCE} seconds; start one with: "
        "dask worker ADDRESS --nthreads 1"
    )


def _local_cluster(workers: int) -> distributed.LocalCluster:
    """Start a cluster on the loopback address; its workers share the threads of this process."""
    threads = str(max(1, cpu_limit() // workers))
    libraries = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    environment = dict(os.environ)
    try:
        with dask.config.set({**QUIET, SPAWNED_WITH: dict.fromkeys(libraries, threads)}):
            return distributed.LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                # Even without a dashboard, the scheduler serves health pages, by default on a fixed
                # port: a second cluster would warn that it is in use.
                dashboard_address="127.0.0.1:0",
                scheduler_kwargs={"dashboard": False},
                silence_logs=logging.CRITICAL,
                memory_limit=None,
                env={VARIABLE: threads},
            )
    except RuntimeError as error:
        raise ExecutorError(
            "the workers do not start; a script must call corelm.compare under "
            "`if __name__ == '__main__':`"
        ) from error
    finally:  # a nanny sets its workers' variables in this process too
        os.environ.clear()
        os.environ.update(environment)


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Hold Ctrl-C back; processes and threads that start here never see it."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # once started, it unblocks interrupts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
