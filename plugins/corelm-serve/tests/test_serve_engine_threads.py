"""An engine's model is loaded and called on one thread, for all requests."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from corelm_serve import engine_thread
from corelm_serve.commands import loaded
from corelm_serve.engine_thread import EngineThread, OneThreadModel
from serve_client import ToyModel, next_word, sample

import corelm
from corelm.abilities import can
from corelm.runs import plugins
from corelm.testing import obeys_the_laws

CALLS = ("start", "next_token_distribution")
SESSION_CALLS = ("next_logits", "extend", "select", "last_logits", "rewind", "join", "fork")


class Engine(ToyModel):
    """A model that notes the thread of each call, as an engine with OpenMP would."""

    manifest = {"figures": {}}

    def __init__(self, *options, **more):
        self.threads = set()
        self._note()
        super().__init__()

    def _note(self):
        self.threads.add(threading.current_thread())

    def start(self, tokens):
        self._note()
        session = super().start(tokens)
        return _noting(session, self._note)


def _noting(session, note):
    """Return a session whose calls are noted."""
    for name in SESSION_CALLS:
        if (method := getattr(session, name, None)) is not None:
            setattr(session, name, _with_note(method, note, name))
    return session


def _with_note(method, note, name):
    def call(*values):
        note()
        found = method(*values)
        return _noting(found, note) if name == "fork" else found

    return call


class NotedEngines:
    """Offers the engine as `noted:NAME`."""

    @staticmethod
    @corelm.hookimpl
    def corelm_models():
        return {"noted": Engine}


@pytest.fixture
def model():
    if "noted" not in {offer.name for offer in plugins.registry().offers("corelm_models")}:
        plugins.registry().register(NotedEngines)
    return loaded(["noted"], None, None)["noted"]


def test_loading_and_every_call_are_on_one_thread(open_client, model):
    pytest.importorskip("corelm_beam", reason="pip install ./plugins/corelm-beam")
    client = open_client({"toy": model})
    bodies = [
        {"seed": 1, "max_tokens": 8},
        {"seed": 2, "max_tokens": 8, "n": 3, "prompt": "the cat sat"},
        {"max_tokens": 4, "decoder": "beam(width=3)"},
        {"echo": True, "logprobs": 2, "max_tokens": 2, "prompt": "the cat"},
    ]
    with ThreadPoolExecutor(len(bodies)) as pool:
        answers = [*pool.map(lambda body: client.complete(**body), bodies)]
    next_word(client, sampler="top_k(k=3)")
    [thread] = model.threads  # the model was loaded on it, too
    assert thread is not threading.main_thread()
    assert thread.name.startswith("corelm-serve-engine")
    assert [answers[0]["choices"][0]["text"]] == sample(
        ToyModel(), "the", sampler="stochastic", seed=1, length=8
    )


def test_two_engines_have_a_thread_each(model):
    other = loaded(["other=noted"], None, None)["other"]
    assert model.threads.isdisjoint(other.threads)


def test_models_of_corelms_own_are_not_wrapped():
    assert type(loaded(["imdb"], None, None)["imdb"]) is type(corelm.load("imdb"))


def test_an_engine_keeps_its_abilities_and_attributes(model):
    ours, own = model.start([[3, 4]]), ToyModel().start([[3, 4]])
    for ability in ("rewind", "join", "fork", "hidden_states"):
        assert can(ours, ability) == can(own, ability)
    assert model.manifest == {"figures": {}}
    with pytest.raises(AttributeError):
        _ = model.nothing


def test_an_error_of_an_engine_is_raised_where_it_was_called():
    class Broken(ToyModel):
        def start(self, tokens):
            raise corelm.CorelmError("out of memory")

    with pytest.raises(corelm.CorelmError, match="out of memory"):
        OneThreadModel(Broken(), EngineThread()).start([[3]])


HANGS = """
import sys, threading, time
from corelm_serve.engine_thread import EngineThread
calls = EngineThread()
threading.Thread(target=calls.call, args=(time.sleep, 600), daemon=True).start()
"""


def test_a_call_that_hangs_does_not_hold_up_the_end_of_the_process():
    subprocess.run([sys.executable, "-c", HANGS], timeout=600, check=True)


def test_an_exception_that_ends_programs_does_not_end_the_thread():
    calls = EngineThread()
    with pytest.raises(KeyboardInterrupt):
        calls.call(_interrupt)
    assert calls.call(abs, -1) == 1


def _interrupt():
    raise KeyboardInterrupt


@obeys_the_laws(OneThreadModel(ToyModel(), EngineThread()))
def test_law(model, law):
    law(model)


def test_a_step_is_one_call_of_the_thread(monkeypatch):
    begun, thread = [], EngineThread()
    begin = thread.begin
    monkeypatch.setattr(thread, "begin", lambda *work: begun.append(work) or begin(*work))
    ours, own = OneThreadModel(ToyModel(), thread).start([[3], [4]]), ToyModel().start([[3], [4]])
    begun.clear()
    for session in (ours, own):
        session.extend([5, 6])
    assert np.array_equal(ours.next_logits(), own.next_logits())
    assert len(begun) == 1


class Awaits(ToyModel):
    """A model whose steps begin when they are told to."""

    def __init__(self):
        super().__init__()
        self.begun, self.told = threading.Event(), threading.Event()

    def start(self, tokens):
        session = super().start(tokens)
        next_logits = session.next_logits

        def awaiting():
            self.begun.set()
            assert self.told.wait(600)
            return next_logits()

        session.next_logits = awaiting
        return session


def test_a_step_has_begun_when_its_caller_works_on_and_may_take_longer(monkeypatch):
    model = Awaits()
    session = OneThreadModel(model, EngineThread()).start([[3], [4]])
    monkeypatch.setattr(engine_thread, "BEGIN", 60.0)
    model.told.set()
    session.extend([5, 6])
    assert model.begun.is_set()
    session.next_logits()
    model.told.clear()
    model.begun.clear()
    monkeypatch.setattr(engine_thread, "BEGIN", 0.0)
    session.extend([7, 8])  # returns, though its step waits
    assert model.begun.wait(600)
    model.told.set()
    assert session.next_logits().shape == (2, len(model.vocabulary))
