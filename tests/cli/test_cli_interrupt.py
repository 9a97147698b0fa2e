"""Ctrl-C in a terminal, which reaches the command and all its workers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from waiting import WAITS, lines

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="needs groups of processes"),
]

COMMANDS = {  # with the last message, and the files that keep what is done
    "report": (
        ("report", "waits", "waits | top_k(k=2)", "-n", "130", "--json", "product"),
        "the finished parts are kept; --resume continues the report",
        "home/reports/*.jsonl",
    ),
    "sample": (
        ("sample", "the", "--sampler", "waits", "-n", "2000", "--seed", "1", "--output",
         "product"),
        "the finished texts are kept; --resume continues the file",
        "product.part*",
    ),
}  # fmt: skip
WORKERS = {"in this process": (), "with two workers": ("--workers", "2")}
ENOUGH = {"report": 4, "sample": 64}
"""The lines of the journal, or of the unfinished file, after which the command is interrupted."""


@pytest.fixture
def folder(
    installed_plugin: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The current folder, with the home of corelm in it."""
    installed_plugin("corelm-waits", dict.fromkeys(("waits", "toy"), "corelm_waits"), WAITS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CORELM_HOME", str(tmp_path / "home"))
    return tmp_path


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Wait for a command and for all processes that it started.

    Each of them holds standard error, which ends with the last of them.
    """
    try:
        out, err = process.communicate(timeout=600)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        pytest.fail(f"a process outlives the command: {process.communicate()}")
    return process.returncode, out, err


def start(*words: str, **environment: str) -> subprocess.Popen[str]:
    """Start a command as the leader of a group of processes, as a shell does."""
    return subprocess.Popen(
        [Path(sys.executable).with_name("corelm"), *words, "--model", "toy", "--length", "4"],
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def product(folder: Path) -> bytes:
    """Take the file that a command has written, without what tells one run from another."""
    content = (folder / "product").read_bytes()
    (folder / "product").unlink()
    if content.startswith(b'{"prompt"'):
        return content
    document = json.loads(content)
    for name in ("created", "command"):
        del document["header"][name]
    return json.dumps(document).encode()


def files(folder: Path) -> set[Path]:
    """Return all files below a folder."""
    return {path for path in folder.rglob("*") if path.is_file()}


UNBROKEN: dict[str, bytes] = {}
"""What each command writes if nothing interrupts it."""


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("command", COMMANDS)
def test_ctrl_c_ends_all_processes_and_the_command_continues_to_the_same_bytes(
    folder: Path, command: str, workers: str
) -> None:
    if WORKERS[workers]:
        pytest.importorskip("distributed", reason="pip install distributed")
    words, message, keeping = COMMANDS[command]
    if command not in UNBROKEN:
        assert finish(start(*words))[0] == 0
        UNBROKEN[command] = product(folder)
    enough = ENOUGH[command]
    process = start(*words, *WORKERS[workers], WAIT=str(enough))
    while lines() < enough and process.poll() is None:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    code, out, err = finish(process)
    assert (code, out, err.splitlines()[-1]) == (130, "", message)
    assert "Traceback" not in err
    assert files(folder) == set(folder.glob(keeping))
    assert lines() >= enough

    assert finish(start(*words, *WORKERS[workers], "--resume"))[0] == 0
    assert product(folder) == UNBROKEN[command]
    assert files(folder) == set()
