"""The processes that train together, by the environment."""

from __future__ import annotations

import socket

import pytest

from corelm.errors import TrainingError, UsageError
from corelm.training.processes import (
    ADDRESSES,
    PROCESS,
    PROCESSES,
    is_first_process,
    job_of_processes,
    wait_for_first,
)


@pytest.mark.parametrize("number", [0, 1])
def test_a_job_is_named_by_three_variables(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    for name in (ADDRESSES, PROCESSES, PROCESS):
        monkeypatch.delenv(name, raising=False)
    assert job_of_processes() is None
    for name, value in (
        (ADDRESSES, "10.0.0.1:12,10.0.0.2:9"),
        (PROCESSES, "2"),
        (PROCESS, str(number)),
    ):
        monkeypatch.setenv(name, value)
    assert job_of_processes() == ("10.0.0.1:12", 2, number)
    assert is_first_process("data") == (number == 0)
    assert is_first_process(None)


@pytest.mark.parametrize(
    "values", [("a:1", "2", None), ("a:1", "2", "2"), (None, "2", "1"), ("a:1", "two", "1")]
)
def test_a_job_that_is_named_in_part_is_refused(
    monkeypatch: pytest.MonkeyPatch, values: tuple[str | None, ...]
) -> None:
    for name, value in zip((ADDRESSES, PROCESSES, PROCESS), values, strict=True):
        monkeypatch.setenv(name, value or "")
    with pytest.raises(UsageError, match=f"set {ADDRESSES} to the address of the first one"):
        job_of_processes()


def test_a_first_process_that_does_not_answer_is_named() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        host, port = server.getsockname()
        with pytest.raises(TrainingError, match=rf"does not answer at {host}:{port}: .*; start it"):
            wait_for_first(f"{host}:{port}", seconds=0)
        server.listen()
        wait_for_first(f"{host}:{port}", seconds=0)
    with pytest.raises(UsageError, match=r"is a host and a port, such as .*, not nowhere"):
        wait_for_first("nowhere")
