"""Many threads share a model; processes start in every way; threads may be busy at the exit."""

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
