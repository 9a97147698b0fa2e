"""The processes that train together, as the environment names them; read without Keras."""

from __future__ import annotations

import os
import socket
import time

from corelm.errors import TrainingError, UsageError

ADDRESSES = "KERAS_DISTRIBUTION_JOB_ADDRESSES"
PROCESSES = "KERAS_DISTRIBUTION_NUM_PROCESSES"
PROCESS = "KERAS_DISTRIBUTION_PROCESS_ID"

PATIENCE = 300
"""Seconds that a process waits for the others."""


def job_of_processes() -> tuple[str, int, int] | None:
    """Return the first one's address, the number of processes and the number of this one.

    None means that this process trains alone.

    They are Keras's own variables of the environment, which a launcher sets for each process.

    Raises:
        UsageError: some of the three are missing, or are not numbers in range.
    """
    values = [os.environ.get(name) for name in (ADDRESSES, PROCESSES, PROCESS)]
    if not any(values):
        return None
    addresses, processes, process = (value or "" for value in values)
    numbers = processes.isdecimal() and process.isdecimal() and int(process) < int(processes)
    if not (addresses and numbers):
        raise UsageError(
            f"to train with other processes, set {ADDRESSES} to the address of the first one, "
            f"such as 10.0.0.1:1234, {PROCESSES} to how many there are, and {PROCESS} to the "
            "number of this one, from 0"
        )
    return addresses.split(",")[0], int(processes), int(process)


def is_first_process(distribute: str | None) -> bool:
    """Return True if this process writes the files of the run.

    Raises:
        UsageError: as `job_of_processes`.
    """
    job = job_of_processes() if distribute else None
    return job is None or job[2] == 0


def wait_for_first(address: str, seconds: float = PATIENCE) -> None:
    """Wait until the first process listens. JAX would abort the interpreter if it did not.

    Args:
        address: host and port.
        seconds: how long to wait.

    Raises:
        UsageError: an address without a port.
        TrainingError: nobody listens.
    """
    host, _, port = address.rpartition(":")
    if not (host and port.isdecimal() and int(port) < 2**16):
        raise UsageError(f"{ADDRESSES} is a host and a port, such as 10.0.0.1:1234, not {address}")
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise TrainingError(
                    f"the first process of this training does not answer at {address}: {error}; "
                    f"start it, or correct {ADDRESSES}"
                ) from error
        time.sleep(0.2)
