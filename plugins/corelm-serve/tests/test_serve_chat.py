"""`POST /v1/chat/completions`: answers of models that have a chat template."""

import os
import signal
import sys

import numpy as np
import pytest
from serve_client import ToyModel, events_of, sample

from corelm.interop import ChatTemplate
from corelm.interop.chat_template import CALLS
from corelm.runs import NamedModel

TEMPLATE = ChatTemplate(
    "{% for m in messages %}{% if m.role not in ('system', 'user', 'assistant') %}"
    "{{ raise_exception('no such role') }}{% endif %}{{ m.content }} {% endfor %}"
)
MESSAGES = [{"role": "system", "content": "the"}, {"role": "user", "content": "cat"}]


class ChatModel(ToyModel):
    """A toy whose template joins the messages."""

    def __init__(self):
        super().__init__()
        self.vocabulary.render_chat = TEMPLATE.render


MODEL = ChatModel()


@pytest.fixture
def client(open_client):
    return open_client({"chat": MODEL, "toy": ToyModel()})


def ask(client, **body):
    body = {"model": "chat", "messages": MESSAGES, **body}
    return client.post("/v1/chat/completions", json=body)


def test_the_answer_continues_the_rendered_messages(client):
    answer = ask(client, seed=1, n=2, max_tokens=8, sampler="top_p(p=0.9)").json()
    texts = sample(MODEL, "the cat ", sampler="top_p(p=0.9)", seed=1, n=2, length=8)
    assert [choice["message"]["content"] for choice in answer["choices"]] == texts
    assert answer["choices"][0]["message"]["role"] == "assistant"
    assert answer["object"] == "chat.completion"
    assert answer["usage"]["prompt_tokens"] == 2
    assert answer["corelm"]["sampler"] == "top_p(p=0.9)"


def test_a_streamed_answer(client):
    settings = {"seed": 1, "n": 2, "max_tokens": 8, "logprobs": True, "top_logprobs": 2}
    whole = ask(client, **settings).json()
    response = ask(client, **settings, stream=True, stream_options={"include_usage": True})
    events = events_of(response.text)
    assert {event["object"] for event in events} == {"chat.completion.chunk"}
    for choice in whole["choices"]:
        mine = [c for e in events for c in e["choices"] if c["index"] == choice["index"]]
        assert mine[0]["delta"] == {"role": "assistant", "content": ""}
        assert "".join(c["delta"]["content"] for c in mine) == choice["message"]["content"]
        entries = [entry for c in mine[1:] for entry in c["logprobs"]["content"]]
        assert entries == choice["logprobs"]["content"]
        assert mine[-1]["finish_reason"] == choice["finish_reason"]
    assert events[-1]["usage"] == whole["usage"]


def test_logprobs_of_an_answer(client):
    [choice] = ask(client, seed=1, max_tokens=5, logprobs=True, top_logprobs=3).json()["choices"]
    entries = choice["logprobs"]["content"]
    assert "".join(entry["token"] for entry in entries) == choice["message"]["content"]
    assert all(len(entry["top_logprobs"]) == 3 for entry in entries)
    assert len(choice["sampler_logprobs"]["content"]) == len(entries)


def test_a_model_without_a_template_says_so(client):
    response = ask(client, model="toy")
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["param"] == "messages"
    assert "this model has no chat template" in error["message"]


@pytest.mark.skipif(sys.platform == "win32", reason="no process can be stopped there")
def test_a_template_that_gets_no_processor_is_503_and_the_next_one_is_rendered(client, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr("corelm.bounded_calls.PATIENCE", 0.1)
        os.kill(CALLS.call("os:getpid"), signal.SIGSTOP)  # as on a machine that is full
        response = ask(client, max_tokens=3)
    assert (response.status_code, response.headers["retry-after"]) == (503, "2")
    error = response.json()["error"]
    assert (error["code"], error["type"]) == ("busy", "service_unavailable_error")
    assert error["message"] == "the machine is too busy for this now; try again later"
    assert ask(client, max_tokens=3).status_code == 200


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "robot", "content": "the"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "content"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "messages[0].content[0].type",
        ),
        ({"messages": [{"role": "user", "content": "a", "x": 1}]}, "messages[0].x"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"response_format": {"type": "yaml"}}, "response_format.type"),
        ({"response_format": "json"}, "response_format"),
        ({"tool_choice": "any"}, "tool_choice"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"max_tokens": 3, "max_completion_tokens": 3}, "max_tokens"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"logprobs": 3}, "logprobs"),
        ({"echo": True}, "echo"),
        ({"max_completion_tokens": 5000}, "max_tokens"),
    ],
)
def test_a_wrong_request(client, fields, param):
    response = ask(client, **fields)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param


def test_fields_that_change_nothing_are_taken(client):
    assert ask(client, tools=[], response_format={"type": "text"}, user="me").status_code == 200


def test_messages_of_parts(client):
    parts = [{"type": "text", "text": "the "}, {"type": "text", "text": "cat"}]
    one = ask(client, messages=[{"role": "developer", "content": parts}], seed=1).json()
    other = ask(client, messages=[{"role": "user", "content": "the cat"}], seed=1).json()
    assert one["choices"] == other["choices"]


class HalfCharacters:
    """A model that writes the two bytes of é in turn, each a token of its own."""

    context_length = 64

    class Vocabulary:
        padding = unknown = start = None
        ends = ()
        texts = (b"\xc3", b"\xa9", b"a")

        def __len__(self):
            return 3

        def token_bytes(self, token):
            return self.texts[token]

        def encode(self, text):
            return [2] * len(text)

        def decode(self, ids):
            return b"".join(self.texts[i] for i in ids).decode(errors="replace")

        render_chat = staticmethod(lambda messages: "a")

    vocabulary = Vocabulary()

    def next_token_distribution(self, tokens):
        is_first = (tokens[:, -1:] != 0) * 0.8
        return np.hstack([is_first + 0.1, 0.9 - is_first, np.full_like(is_first, 0.0)])


def test_bytes_of_tokens_are_their_own(open_client):
    client = open_client({"halves": NamedModel.of(HalfCharacters()).model})
    settings = {"sampler": "greedy", "max_tokens": 4, "logprobs": True, "top_logprobs": 2}
    [choice] = ask(client, model="halves", **settings).json()["choices"]
    assert choice["message"]["content"] == "éé"
    entries = choice["logprobs"]["content"]
    assert bytes(byte for entry in entries for byte in entry["bytes"]).decode() == "éé"
    tops = [(top["token"], top["bytes"]) for top in entries[0]["top_logprobs"]]
    assert tops == [("bytes:\\xc3", [0xC3]), ("bytes:\\xa9", [0xA9])]
    assert [entry["token"] for entry in entries] == ["bytes:\\xc3", "bytes:\\xa9"] * 2
    halves = client.complete(model="halves", prompt="a", sampler="greedy", max_tokens=4, logprobs=1)
    found = halves["choices"][0]["logprobs"]
    assert found["tokens"] == [entry["token"] for entry in entries]
    assert [*map(max, found["top_logprobs"])] == found["tokens"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/completions", "POST"),
        ("PUT", "/v1/chat/completions", "POST"),
        ("POST", "/v1/models", "GET"),
        ("DELETE", "/v1/models/toy", "GET"),
    ],
)
def test_a_wrong_method_names_the_right_one(client, method, path, allowed):
    response = client.request(method, path)
    assert response.status_code == 405
    assert allowed in response.headers["allow"]
    message = response.json()["error"]["message"]
    assert message == f"this path takes {allowed}, not {method}"


def test_a_wrong_path_names_the_nearest_one(client):
    error = client.get("/v1/model").json()["error"]
    assert "did you mean '/v1/models'" in error["message"]
