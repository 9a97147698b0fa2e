"""A worker's part, in this process."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from units import CountWords, OddError, Raise

from corelm.errors import ExecutorError
from corelm.scaling.job import Job
from corelm.scaling.worker import _loaded, do, packed
from corelm.testing import ToyModel


@pytest.fixture(autouse=True)
def worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Jobs whose models are toys; what a worker changes in its process is put back."""
    level = logging.getLogger("corelm").level
    monkeypatch.setattr(Job, "load", lambda job: ToyModel(end=job.model == "with an end"))
    _loaded.cache_clear()
    yield
    _loaded.cache_clear()
    logging.getLogger("corelm").setLevel(level)


def job(name: str) -> Job:
    return Job(name, None, None, "the", "0" * 64, ())


def test_a_worker_does_units_with_several_models_and_repeats_no_warning():
    words = packed(CountWords())
    assert [do(job(name), words) for name in ("with an end", "without")] == ["13", "12"]
    assert logging.getLogger("corelm").level == logging.ERROR


@pytest.mark.parametrize(
    ("raised", "expected", "message"),
    [
        (ExecutorError, ExecutorError, "1 of them"),
        (ValueError, ValueError, "1 of them"),
        (OddError, ExecutorError, "OddError: 1 of them"),
        (SystemExit, ExecutorError, "SystemExit: 1 of them"),
    ],
)
def test_an_error_travels_as_it_is_or_as_its_message(raised, expected, message):
    with pytest.raises(expected) as error:
        do(job("with an end"), packed(Raise(raised)))
    assert (type(error.value), str(error.value)) == (expected, message)
