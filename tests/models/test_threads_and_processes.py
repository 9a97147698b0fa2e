"""Threads share a model, also at the exit; processes start in every way, and by forks meanwhile."""

from __future__ import annotations

import gc
import multiprocessing
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from programs import python
from small_models import SMALL, small_model

import corelm

TESTS = Path(__file__).parents[1]
SAMPLER = "top_p(p=0.9) | temperature(t=0.7)"


def tokens(model: corelm.LanguageModel, seed: int) -> list[list[int]]:
    texts = corelm.generate(model, "w3 w4", sampler=SAMPLER, length=20, n=2, seed=seed)
    return [list(text.tokens) for text in texts]


def tokens_of_a_new_model(seed: int) -> list[list[int]]:
    return tokens(small_model(SMALL["default"], end=True), seed)


@pytest.mark.slow
def test_24_threads_on_one_model_write_the_texts_that_one_writes():
    model = small_model(SMALL["default"], end=True)
    expected = [tokens(model, seed) for seed in range(48)]
    assert len({str(texts) for texts in expected}) > 40
    with ThreadPoolExecutor(24) as pool:
        assert list(pool.map(lambda seed: tokens(model, seed), range(48))) == expected


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_processes_of_every_kind_write_the_same_texts(method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    with multiprocessing.get_context(method).Pool(1) as pool:
        found = pool.map(tokens_of_a_new_model, range(3))
    assert found == [tokens_of_a_new_model(seed) for seed in range(3)]


EXIT = """
import sys, threading
sys.path.insert(0, {tests!r})
import corelm
from small_models import SMALL, small_model

model = small_model(SMALL["default"])
corelm.generate(model, "w3", sampler="temperature(t=0.7)", length=1)  # the plugins are loaded
drawn = threading.Barrier(4)


def endless(seed):
    stream = corelm.stream(model, "w3", sampler="temperature(t=0.7)", length=10**6, seed=seed)
    for i, step in enumerate(stream):
        if i == 5:
            drawn.wait()


for seed in range(3):
    threading.Thread(target=endless, args=(seed,), daemon=True).start()
text = corelm.stream(model, "w3", sampler="temperature(t=0.7)", length=100, seed=9)
next(text)
drawn.wait()
print("exit")
"""


@pytest.mark.slow
@pytest.mark.parametrize("kernels", ["0", "1"], ids=["NumPy", "kernels"])
def test_a_program_may_end_in_the_middle_of_texts(kernels):
    done = python("-c", EXIT.format(tests=str(TESTS)), env={"CORELM_KERNELS": kernels})
    assert (done.returncode, done.stdout, done.stderr) == (0, "exit\n", "")


def resident() -> int:
    """Return the bytes of this process that are in memory."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_memory_stays_flat():
    model = small_model(SMALL["default"], end=True)
    samplers = (SAMPLER, "mirostat", "min_p(p=0.05) | repetition_penalty(penalty=1.2)")

    def generate(seeds):
        for seed in seeds:
            corelm.generate(model, "w3 w4", sampler=samplers[seed % 3], length=10, seed=seed)

    generate(range(300))
    before = resident()
    generate(range(300, 900))
    assert resident() - before < 2**20  # a kilobyte left by each would be half of it


FORKING = """
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
    program = FORKING.format(tests=str(TESTS), forks=20)
    done = python("-c", program, env={"CORELM_KERNELS": kernels})
    assert done.stderr == ""
    assert done.stdout == "[]\n"
