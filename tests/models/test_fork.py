"""A process may fork while other threads generate; its child can generate too."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from programs import python

FORKS = 20

PROGRAM = """
import os, sys, threading, time, warnings
sys.path.insert(0, {tests!r})
import corelm
from small_models import SMALL, small_model

warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of every such fork
model = small_model(SMALL["default"], end=True)
stop = threading.Event()


def generate(seed):
    sampler = "top_p(p=0.9) | temperature(t=0.7)"
    return corelm.generate(model, "w3 w4", sampler=sampler, length=20, n=2, seed=seed)


def keep_generating(seed):
    while not stop.is_set():
        # A new model each time: first uses are where locks are taken.
        small_model(SMALL["default"], end=True)
        generate(seed)


expected = [text.tokens for text in generate(1)]
threads = [threading.Thread(target=keep_generating, args=(i,)) for i in range(3)]
for thread in threads:
    thread.start()
failures = []
for i in range({forks}):
    time.sleep(0.005)
    child = os.fork()
    if child == 0:
        os._exit(0 if [text.tokens for text in generate(1)] == expected else 3)
    deadline = time.monotonic() + 300
    while (found := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < deadline:
        time.sleep(0.002)
    if found == (0, 0):
        os.kill(child, 9)
        os.waitpid(child, 0)
        failures.append((i, "hung"))
    elif found[1]:
        failures.append((i, found[1]))
stop.set()
for thread in threads:
    thread.join()
print(failures)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("kernels", ["0", "1"], ids=["NumPy", "kernels"])
def test_children_forked_while_threads_generate_do_not_hang(kernels):
    program = PROGRAM.format(tests=str(Path(__file__).parents[1]), forks=FORKS)
    done = python("-c", program, env={"CORELM_KERNELS": kernels})
    assert done.stderr == ""
    assert done.stdout == "[]\n"
