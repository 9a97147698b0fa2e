"""Work that is spread over cores is the same work."""

from __future__ import annotations

import threading

import pytest

from corelm import threads
from corelm.threads import spread


def at(part: slice) -> range:
    return range(part.start, part.stop)


@pytest.mark.parametrize("cores", [1, 2, 5])
@pytest.mark.parametrize("count", [0, 1, 2, 7, 64])
@pytest.mark.parametrize("least", [1, 3, 100])
def test_each_thing_is_done_once_and_in_order(monkeypatch, cores, count, least):
    monkeypatch.setattr(threads, "CORES", cores)
    parts = spread(at, count, least)
    assert [i for part in parts for i in part] == [*range(count)]
    assert len(parts) <= cores
    assert len(parts) == 1 or min(map(len, parts)) >= least


def test_parts_run_at_the_same_time(monkeypatch):
    monkeypatch.setattr(threads, "CORES", 2)
    together = threading.Barrier(2, timeout=30)  # breaks where one part waits for the other
    spread(lambda part: together.wait(), 2)


def test_what_goes_wrong_in_a_part_comes_back(monkeypatch):
    monkeypatch.setattr(threads, "CORES", 2)

    def work(part: slice) -> None:
        if part.start:
            raise ZeroDivisionError("the second part")

    with pytest.raises(ZeroDivisionError, match="the second part"):
        spread(work, 2)
