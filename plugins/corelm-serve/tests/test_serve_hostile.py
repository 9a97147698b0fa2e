"""Requests whose work a stranger decides: bounded, and not in the way of others."""

import json
import threading
import time

import pytest
from corelm_serve.models import Limits
from corelm_serve.requests import trials
from corelm_serve.scheduling.scheduler import Scheduler
from serve_client import ToyModel
from test_serve_scheduler import Listener, job

from corelm.runs import BoundedCalls


@pytest.fixture(autouse=True)
def _small_bounds(monkeypatch):
    calls = BoundedCalls(seconds=0.3, processes=1)
    monkeypatch.setattr(trials, "CALLS", calls)
    yield
    calls.close()


def intersections():
    """Return a schema with 5 times 256 intersections of patterns, in 3,500 characters."""

    def either(i):
        a, b = chr(97 + 2 * i), chr(98 + 2 * i)
        return {"anyOf": [{"properties": {name: {"pattern": "a"}}} for name in (a, b)]}

    return {"properties": {str(k): {"allOf": [either(i) for i in range(8)]} for k in range(5)}}


def test_a_schema_that_takes_long_is_refused_and_stops_nobody(client):
    pytest.importorskip("corelm_grammar", reason="pip install ./plugins/corelm-grammar")
    schema = json.dumps(intersections(), separators=(",", ":"))
    found, texts = [], []

    def ask():
        found.append(client.refused(sampler=f"json_schema(schema={schema!r})", max_tokens=4))

    asking = threading.Thread(target=ask)
    asking.start()
    while asking.is_alive():  # others are answered all the while
        texts.append(client.complete(sampler="top_k(k=3)", seed=1, max_tokens=4))
    asking.join()
    [(status, error)] = found
    assert (status, error["param"], error["code"]) == (400, "sampler", "too_large")
    assert "more than 0.3 seconds of a processor" in error["message"]
    assert len(texts) > 3


def test_a_schema_within_the_bounds_is_tried_once(client, monkeypatch):
    pytest.importorskip("corelm_grammar", reason="pip install ./plugins/corelm-grammar")
    chain = 'json_schema(schema=\'{"type": "boolean"}\')'
    tried, call = [], trials.CALLS.call
    monkeypatch.setattr(trials.CALLS, "call", lambda *a: (tried.append(a), call(*a)))
    for _ in range(2):
        status, error = client.refused(sampler=chain, max_tokens=4)
        assert (status, error["param"]) == (400, None)  # a toy's words are no JSON
    assert len(tried) == 1


@pytest.mark.parametrize("pattern", ["(?R)|x", "(?R)"])
def test_a_pattern_that_calls_itself_is_a_400_that_names_it(client, pattern):
    status, error = client.refused(stop_regex=pattern, max_tokens=4)
    assert (status, error["param"]) == (400, "stop_regex")
    assert pattern in error["message"]


def test_a_pattern_that_is_slow_on_each_token_ends_its_own_request(open_client):
    client = open_client({"toy": ToyModel(["eee"], end=False)})
    status, error = client.refused(stop_regex="(.*e){20}b", max_tokens=4000, prompt="eee")
    assert (status, error["code"]) == (400, "invalid_value")
    assert "takes too long" in error["message"]


def test_a_decoder_whose_client_has_gone_stops_within_a_step():
    pytest.importorskip("corelm_beam", reason="pip install ./plugins/corelm-beam")
    model, steps = ToyModel(end=False), []
    start = model.start

    class Counted:
        """A session that counts its steps."""

        def __init__(self, session):
            self._session = session

        def next_logits(self):
            steps.append(1)
            time.sleep(0.001)
            return self._session.next_logits()

        def extend(self, tokens):
            self._session.extend(tokens)

        def select(self, rows):
            self._session.select(rows)

    model.start = lambda tokens: Counted(start(tokens))
    scheduler, listener = Scheduler(model, Limits()), Listener()
    asked = job(listener, "beam(width=4)", length=4000)  # its first token is known last
    scheduler.submit([asked])
    wait_for(lambda: len(steps) > 3)
    scheduler.cancel([asked])
    before = len(steps)
    wait_for(lambda: not scheduler.running)
    assert len(steps) <= before + 2
    scheduler.close()


def wait_for(condition):
    """Wait until a condition holds."""
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)
