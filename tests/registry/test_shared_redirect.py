"""Threads that redirect standard output at once leave it as it was."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest
from programs import python

from corelm.registry.loading import SharedRedirect, plugin_errors

PROGRAM = """
import os, sys, threading, time
from corelm.registry.loading import plugin_errors, stdout_to_stderr


def load(start, end):
    time.sleep(start)
    with plugin_errors(), stdout_to_stderr():
        print("from a plugin")
        os.write(1, b"from its C code\\n")
        time.sleep(end - start)


# The second thread enters while the first is in, and leaves after it.
threads = [threading.Thread(target=load, args=times) for times in ((0, 0.2), (0.1, 0.4))]
for thread in threads:
    thread.start()
{while_in}
for thread in threads:
    thread.join()
print("from Python")
sys.stdout.flush()
os.write(1, b"from the descriptor\\n")
"""

FORK = """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)  # since 3.12, of a fork with threads
time.sleep(0.25)  # the second thread is in
child = os.fork()
if child == 0:
    print("from the child", flush=True)
    os._exit(0)
os.waitpid(child, 0)
"""

ENDING = "from Python\nfrom the descriptor\n"


@pytest.mark.parametrize(
    ("while_in", "written"),
    [
        ("", ENDING),
        pytest.param(
            FORK,
            f"from the child\n{ENDING}",
            marks=pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
        ),
    ],
    ids=["threads", "fork"],
)
def test_standard_output_comes_back(while_in: str, written: str) -> None:
    program = PROGRAM.format(while_in=while_in)
    done = python("-c", program)
    assert done.stdout == written
    assert sorted(done.stderr.splitlines()) == ["from a plugin"] * 2 + ["from its C code"] * 2


def test_it_redirects_once_for_blocks_within_blocks() -> None:
    events: list[str] = []

    def redirect() -> object:
        events.append("redirect")
        return lambda: events.append("undo")

    shared = SharedRedirect(redirect)  # type: ignore[arg-type]
    with shared.entered(), shared.entered():
        assert events == ["redirect"]
    with pytest.raises(ZeroDivisionError), shared.entered():
        raise ZeroDivisionError
    assert events == ["redirect", "undo"] * 2


PRINTING = """
import threading
from corelm.registry.loading import plugin_errors

def write():
    while True:
        print("printed")

threading.Thread(target=write, daemon=True).start()
for _ in range(2000):
    with plugin_errors():
        print("in a plugin")
import os
os._exit(0)
"""


def test_a_thread_may_print_while_output_is_redirected_and_restored() -> None:
    done = subprocess.run([sys.executable, "-c", PRINTING], capture_output=True)
    assert done.returncode == 0
    assert b"in a plugin" in done.stderr


def test_what_other_threads_print_meanwhile_is_not_redirected(
    capsys: pytest.CaptureFixture[str],
) -> None:
    entered, printed = threading.Event(), threading.Event()

    def run_a_plugin() -> None:
        with plugin_errors():
            print("from a plugin")
            entered.set()
            printed.wait(600)

    thread = threading.Thread(target=run_a_plugin)
    thread.start()
    entered.wait(600)
    print("from the program")
    printed.set()
    thread.join()
    assert capsys.readouterr() == ("from the program\n", "from a plugin\n")
