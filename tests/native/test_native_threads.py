"""The pool of threads: it shrinks, survives forks, and never keeps the interpreter waiting."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from compiled_kernels import kernels
from corelm_samplers.top_p import top_p
from native_helpers import planned_run, random_rows, zeros
from programs import python

from corelm import draw
from corelm.native.cpu import cpu_limit

TASKS = Path("/proc/self/task")
WIDTH, TOKENS, LAYERS = 1024, 64, 40


@pytest.fixture(autouse=True)
def cores():
    """As many as before, after each test."""
    yield
    kernels.use_cores(cpu_limit())


def draw_all():
    """One draw from rows that are worth all cores."""
    rows = np.zeros((64, 5000), np.float32)
    tokens = np.empty(64, np.int64)
    kernels.draw(rows, np.full(64, 0.5), tokens, np.empty(64))
    return tokens


def long_run():
    """Arguments of `begin` for a run of about a tenth of a second."""
    embed = ("embed", (), 1, np.ones((1, WIDTH), "f4"), np.zeros((TOKENS, WIDTH), "f4"), None)
    panels = np.zeros((WIDTH // 16, WIDTH, 16), np.float32)
    layers = [("multiply", (1 + i % 2,), 2 - i % 2, panels, None, 0) for i in range(LAYERS)]
    head = (("normalise", (0,), 1, np.ones(WIDTH, "f4"), None, 1e-6),)
    planned = kernels.plan((embed, *layers), (0, WIDTH, WIDTH), head, (WIDTH, WIDTH))
    outputs = np.empty((4, TOKENS, WIDTH), np.float32)
    cache, logits = np.empty((4, 1, 1, 1, TOKENS, 1), "f4"), np.empty((4, 0, WIDTH), "f4")
    return planned, np.zeros((4, TOKENS), int), cache, None, outputs, logits


@pytest.mark.skipif(not TASKS.exists(), reason="the threads of a process are not listed here")
def test_threads_end_when_fewer_cores_are_used():
    code = """
import time
import numpy as np
from pathlib import Path
from corelm.native import kernels

def threads():
    return len(list(Path("/proc/self/task").iterdir()))

def settled(expected):
    for _ in range(1000):
        if threads() == expected:
            break
        time.sleep(0.01)
    return threads()

kernels.use_cores(1)
before = threads()
for cores in (6, 2, 4, 1):
    kernels.use_cores(cores)
    kernels.draw(np.zeros((64, 5000), "f4"), np.zeros(64), np.empty(64, int), np.empty(64))
    print(settled(before + cores - 1) - before)
"""
    done = python("-c", code, check=True)
    assert done.stdout.split() == ["5", "1", "3", "0"]


def test_a_run_that_was_not_started_is_dropped_at_once():
    kernels.use_cores(1)  # there is no worker that could start it
    arguments = long_run()
    start = time.thread_time()  # which other processes do not lengthen
    kernels.run(*arguments)
    ran = time.thread_time() - start
    run = kernels.begin(*arguments)
    start = time.thread_time()
    del run
    assert time.thread_time() - start < ran / 4


def test_other_threads_go_on_while_a_started_run_is_dropped():
    kernels.use_cores(2)
    ticks = []
    done = threading.Event()

    def tick():
        while not done.wait(0.001):
            ticks.append(time.perf_counter())

    def ticks_inside():
        run = kernels.begin(*long_run())
        time.sleep(0.02)  # a worker has it
        start = time.perf_counter()
        del run
        end = time.perf_counter()
        return end - start < 0.01 or sum(start < t < end for t in ticks) >= 2

    ticker = threading.Thread(target=tick)
    ticker.start()
    try:
        # On a busy machine the other thread may get no processor in time, but not ten times.
        assert any(ticks_inside() for _ in range(10))
    finally:
        done.set()
        ticker.join()


@pytest.mark.long
@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_processes_may_be_forked_while_other_threads_work():
    kernels.use_cores(3)
    expected = draw_all().tolist()
    stop = threading.Event()

    def work():
        while not stop.is_set():
            draw_all()

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    try:
        for _ in range(20):  # for each width of vectors
            run = kernels.begin(*SHORT_RUN)
            child = os.fork()
            if not child:
                signal.alarm(300)  # instead of hanging for ever
                kernels.wait(run)
                os._exit(draw_all().tolist() != expected)
            kernels.wait(run)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        stop.set()
        for worker in workers:
            worker.join()


def short_run():
    """Arguments of `begin` for the shortest run."""
    embed = ("embed", (), 1, np.ones((1, 4), "f4"), np.zeros((2, 4), "f4"), None)
    head = (("normalise", (0,), 1, np.ones(4, "f4"), None, 1e-6),)
    planned = kernels.plan((embed,), (0, 4), head, (4, 4))
    cache, outputs = np.empty((1, 1, 1, 1, 2, 1), "f4"), np.empty((1, 2, 4), "f4")
    return planned, np.zeros((1, 2), int), cache, None, outputs, np.empty((1, 1, 4), "f4")


SHORT_RUN = short_run() if kernels else ()


@pytest.mark.slow
def test_a_run_in_the_background_gives_the_same():
    expected, plain = planned_run(), planned_run()
    kernels.run(*expected)
    for _ in range(200):
        arguments = planned_run()
        run = kernels.begin(*arguments)
        kernels.draw(random_rows(8, 15000), np.full(8, 0.5), np.empty(8, int), np.empty(8))
        kernels.wait(run)
        for array, same in zip(arguments[2:], expected[2:], strict=True):
            assert array is same is None or np.array_equal(array, same)
    with pytest.raises(ValueError, match="already"):
        kernels.wait(run)
    with pytest.raises(ValueError, match="outputs: axis 0 has length 1, expected 5"):
        kernels.begin(*plain[:4], zeros(1, 2, 3), plain[5])


def test_several_runs_at_once_some_of_them_dropped():
    expected = planned_run()
    kernels.run(*expected)
    for cores in (1, 2, 5):
        kernels.use_cores(cores)
        try:
            started = [planned_run() for _ in range(6)]
            runs = [kernels.begin(*arguments) for arguments in started]
            del runs[0], runs[3], started[0], started[3]
            with ThreadPoolExecutor(4) as pool:
                list(pool.map(kernels.wait, runs))
        finally:
            kernels.use_cores(cpu_limit())
        for arguments in started:
            assert np.array_equal(arguments[-1], expected[-1])


@pytest.mark.parametrize("cores", [1, 2, 5])
def test_any_number_of_cores_gives_the_same(cores):
    logits, uniforms = random_rows(64, 5000), np.random.default_rng(3).random(64)
    expected = [draw(logits[i : i + 1], uniforms[i : i + 1])[0][0] for i in range(64)]
    kernels.use_cores(cores)
    try:
        for _ in range(20):
            assert draw(logits, uniforms)[0].tolist() == expected
    finally:
        kernels.use_cores(cpu_limit())


def test_several_threads_can_use_the_kernels_at_once():
    logits, uniforms = random_rows(64, 5000), np.random.default_rng(4).random(64)
    expected = draw(logits, uniforms)[0].tolist()
    with ThreadPoolExecutor(4) as pool:
        result = list(pool.map(lambda _: draw(logits, uniforms)[0].tolist(), range(40)))
    assert result == [expected] * 40


@pytest.mark.skipif(sys.platform == "win32", reason="needs a signal")
def test_ctrl_c_while_a_kernel_runs_is_raised_when_it_is_done():
    expected, arguments = draw_all().tolist(), long_run()
    timer = threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()

    def keep_running():
        while timer.is_alive() or not timer.finished.is_set():
            kernels.run(*arguments)

    with pytest.raises(KeyboardInterrupt):
        keep_running()
    timer.join()
    assert draw_all().tolist() == expected


def unaligned(array):
    """A copy at an odd address."""
    memory = np.zeros(array.nbytes + 1, np.uint8)
    memory[1:] = np.frombuffer(array.tobytes(), np.uint8)
    copy = memory[1:].view(array.dtype).reshape(array.shape)
    assert not copy.flags.aligned
    return copy


def test_unaligned_arrays_are_refused_by_the_kernels_and_accepted_in_python():
    rows = np.random.default_rng(0).standard_normal((3, 300), dtype=np.float32)
    with pytest.raises(ValueError, match="logits: expected an aligned array"):
        kernels.top_p(unaligned(rows), 0.9, np.empty_like(rows))
    assert np.array_equal(top_p(unaligned(rows), 0.9), top_p(rows, 0.9))


@pytest.mark.parametrize("change", [unaligned, lambda x: np.repeat(x, 2, axis=1)[:, ::2]])
def test_other_memory_layouts_give_the_same(change):
    rows = np.random.default_rng(0).standard_normal((3, 300), dtype=np.float32)
    other = change(rows)
    other.flags.writeable = False
    assert np.array_equal(top_p(other, 0.9), top_p(rows, 0.9))
