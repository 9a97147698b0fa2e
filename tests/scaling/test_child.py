"""What a worker process does, seen from within: the process here serves its own thread."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from units import CountWords, OddError, Raise

from corelm.errors import EngineError
from corelm.scaling.child import SPAWN, Child, _serve
from corelm.scaling.job import Job
from corelm.scaling.worker import _loaded, packed
from corelm.testing import ToyModel


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a worker changes in its process is put back."""
    handler, level = signal.getsignal(signal.SIGINT), logging.getLogger("corelm").level
    monkeypatch.setattr(Job, "load", lambda job: ToyModel(end=job.model == "with an end"))
    _loaded.cache_clear()
    yield
    _loaded.cache_clear()
    signal.signal(signal.SIGINT, handler)
    logging.getLogger("corelm").setLevel(level)


def job(name: str) -> Job:
    return Job(name, None, None, "the", "0" * 64, ())


def serve(*units: tuple[int, Any]) -> list[Any]:
    """Give units to a worker with two models; return its answers."""
    here, there = SPAWN.Pipe()
    answers: list[Any] = []

    def ask() -> None:
        for model, unit in units:
            here.send((model, packed(unit)))
            answers.append(here.recv())
        here.close()

    asking = threading.Thread(target=ask)
    asking.start()
    _serve(there, [job("with an end"), job("without")])
    asking.join()
    return answers


def test_a_worker_answers_until_the_connection_ends_and_ctrl_c_is_not_its_business(worker):
    assert serve((0, CountWords()), (1, CountWords()), (0, CountWords())) == ["13", "12", "13"]
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    assert logging.getLogger("corelm").level == logging.ERROR


def test_an_error_travels_as_it_is_or_as_its_message(worker):
    own, odd, after = serve((0, Raise(EngineError)), (0, Raise(OddError)), (0, CountWords()))
    assert (type(own), str(own)) == (EngineError, "1 of them")
    assert (type(odd), str(odd)) == (EngineError, "OddError: 1 of them")
    assert after == "13"


def test_a_worker_ends_with_its_parent(worker):
    child = Child([], threads=1)
    try:
        assert child.process.daemon
        assert child.process.is_alive()
    finally:
        child.end()
    assert not child.process.is_alive()


class Ended:
    """A process that has ended."""

    def __init__(self, exitcode: int) -> None:
        self.exitcode = exitcode


@pytest.mark.parametrize(
    ("exitcode", "cause"),
    [
        (-9, "by SIGKILL"),
        (-1000, "with exit code -1000 (a script must call"),
        (1, "with exit code 1 (a script must call corelm.compare under `if __name__ =="),
    ],
)
def test_the_cause_of_a_death_is_a_signal_or_an_exit_code(exitcode, cause):
    child = Child.__new__(Child)
    child.process = Ended(exitcode)
    assert child.cause_of_death.startswith(cause)
