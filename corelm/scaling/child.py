"""A process that does units, as its parent sees it and as it sees itself."""

from __future__ import annotations

import logging
import multiprocessing
import pickle
import signal
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection

from corelm.errors import EngineError
from corelm.scaling.engine import Unit
from corelm.scaling.job import Job
from corelm.scaling.starting import interrupts_held_back, limited_threads
from corelm.scaling.worker import do, packed
from corelm.toolkit import reason_of

PATIENCE = 5
"""Seconds for a process whose connection has ended to end too, with its own exit code."""
SPAWN = multiprocessing.get_context("spawn")
logger = logging.getLogger("corelm")


class Child:
    """A process, and the unit that it does.

    Args:
        jobs: the models that it loads.
        threads: the number of threads that it computes with.
    """

    def __init__(self, jobs: Sequence[Job], threads: int) -> None:
        self.connection, there = SPAWN.Pipe()
        self.process = SPAWN.Process(target=_serve, args=(there, jobs), daemon=True)
        with limited_threads(threads), interrupts_held_back():
            self.process.start()
        there.close()  # so that the death of the process ends the connection
        self.unit: Unit | None = None

    def give(self, unit: Unit, model: int) -> None:
        """Send a unit, and the number of its model."""
        self.unit = unit
        with suppress(OSError):  # it has died; `take` will find out
            self.connection.send((model, packed(unit)))

    def take(self) -> tuple[Unit, str | None]:
        """Return the unit and its result; None if the process died.

        Raises:
            Exception: that of the unit.
        """
        unit, self.unit = self.unit, None
        assert unit is not None
        try:
            outcome = self.connection.recv()
        except (EOFError, OSError):
            self.process.join(PATIENCE)
            return unit, None
        if isinstance(outcome, BaseException):
            raise outcome
        return unit, str(outcome)

    def end(self) -> None:
        """End the process, even in the middle of a unit."""
        self.connection.close()
        self.process.kill()
        self.process.join()

    @property
    def cause_of_death(self) -> str:
        """The signal or the exit code that the process ended with, as a message has it."""
        code = self.process.exitcode or 0
        if code < 0:
            with suppress(ValueError):
                return f"by {signal.Signals(-code).name}"
        return (
            f"with exit code {code} (a script must call corelm.compare under "
            "`if __name__ == '__main__':`)"
        )


def _serve(connection: Connection, jobs: Sequence[Job]) -> None:
    """Do the units that come through a connection until it is closed."""
    # Ctrl-C reaches all processes of a terminal; the parent decides what becomes of the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The parent has loaded the same plugins, and has said what was wrong with them.
    logger.setLevel(logging.ERROR)
    with suppress(EOFError, OSError):
        while True:
            model, unit = connection.recv()
            connection.send(_outcome(jobs[model], unit))


def _outcome(job: Job, unit: bytes) -> str | BaseException:
    """Return the result of a unit, or its error."""
    try:
        return do(job, unit)
    except BaseException as error:  # a plugin's may be no subclass of Exception
        return _portable(error)


def _portable(error: BaseException) -> BaseException:
    """Return the error if it can be pickled, otherwise one with its message."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return EngineError(reason_of(error))
    return error
