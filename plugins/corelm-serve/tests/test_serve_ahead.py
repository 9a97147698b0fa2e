"""Tokens that an engine draws ahead on its own thread, several in one call."""

import threading
import time

import numpy as np
import pytest
from corelm_serve.engine_thread import EngineThread, OneThreadModel
from serve_client import ToyModel

import corelm
from corelm import native
from corelm.abilities import can
from corelm.errors import UsageError
from corelm.interop.testing import check_draws_ahead

pytestmark = pytest.mark.skipif(not native.kernels, reason="there are no kernels here")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Return a model whose sessions draw ahead."""
    from corelm.interop.testing import tiny_gpt2

    return corelm.load(tiny_gpt2(tmp_path_factory.mktemp("model") / "tiny"))


@pytest.fixture
def ours(model):
    """Return the model on a thread of its own."""
    return OneThreadModel(model, EngineThread())


@pytest.fixture
def begun(monkeypatch):
    """Return a list that gets the work of each call of a thread."""
    calls, begin = [], EngineThread.begin

    def noted(self, work, *values):
        calls.append(getattr(work, "__name__", ""))
        return begin(self, work, *values)

    monkeypatch.setattr(EngineThread, "begin", noted)
    return calls


@pytest.mark.parametrize("chain", ["stochastic", "top_k(k=5)", "repetition_penalty(penalty=1.3)"])
@pytest.mark.parametrize("n", [1, 3])
def test_texts_are_those_without_the_thread(model, ours, chain, n, begun):
    arguments = {"sampler": chain, "n": n, "seed": 4, "length": 90}
    texts = corelm.generate(ours, "This movie", **arguments)
    assert ("_draw_block" in begun) == ("penalty" not in chain)
    assert texts == corelm.generate(model, "This movie", **arguments)


def test_texts_do_not_depend_on_what_is_drawn_ahead(ours):
    assert check_draws_ahead(ours, [[7], [7, 8, 9], [10, 11], [12]], length=30) == 7


def decoding_of(model, length=40):
    """Return the state of two texts, whose next tokens are drawn ahead once they are appended."""
    prompt, stream = np.array([7, 8]), corelm.RandomStream(1, range(2))
    task = corelm.DecodingTask(model, prompt, corelm.sampler("stochastic"), stream, length)
    decoding = task.start()
    decoding.draw()
    return decoding


@pytest.mark.parametrize("others", [0, 1])
def test_a_block_begins_at_once_unless_others_wait(ours, others, begun):
    decoding, thread, goes_on = decoding_of(ours), ours._thread, threading.Event()
    thread.begin(goes_on.wait, 60)
    decoding.advance()
    waiting = [thread.begin(abs, -1) for _ in range(others)]
    goes_on.set()
    decoding.draw()
    [each.result() for each in waiting]
    thread.call(abs, -1)
    assert begun.count("_draw_block") == 1


def test_two_blocks_are_drawn_before_the_first_is_taken(ours, begun):
    decoding = decoding_of(ours)
    decoding.advance()
    # Other work that waits would keep the thread from beginning the block.
    deadline = time.monotonic() + 60
    while "_draw_block" not in begun and time.monotonic() < deadline:
        time.sleep(0.001)
    for _ in range(3):
        ours._thread.call(abs, -1)
    assert begun.count("_draw_block") == 1
    decoding.draw()
    for _ in range(3):
        ours._thread.call(abs, -1)
    assert begun.count("_draw_block") <= 3


def test_an_error_is_raised_by_the_next_call(ours):
    decoding = decoding_of(ours)
    decoding.session.extend(np.array([5, -6]))
    with pytest.raises(UsageError, match="no token -6"):
        decoding.draw()
    assert decoding.session.next_logits().shape[0] == 2


def test_a_session_draws_ahead_only_if_the_engines_does():
    session = OneThreadModel(ToyModel(), EngineThread()).start([[3]])
    assert not can(session, "draw")
