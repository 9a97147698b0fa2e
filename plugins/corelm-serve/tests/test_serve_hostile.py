"""Requests whose work a stranger decides: bounded, and not in the way of others."""

import json
import threading

import pytest
from serve_client import ToyModel

from corelm.runs import BoundedCalls


@pytest.fixture(autouse=True)
def _small_bounds(monkeypatch):
    calls = BoundedCalls(seconds=0.3, processes=1)
    monkeypatch.setattr("corelm_serve.requests.trials.CALLS", calls)
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
