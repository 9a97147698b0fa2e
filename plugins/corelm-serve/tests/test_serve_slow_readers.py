"""Clients that read slowly, stop reading or leave, while others work."""

import contextlib
import json
import socket
import time

import pytest
from serve_client import SOON, Counted, ToyModel, served, wait_until

LARGE = {"model": "toy", "prompt": "the", "max_tokens": 4000, "n": 12, "logprobs": 20, "seed": 1}
"""A request whose answer has a million numbers."""
SLICE = 2**13
"""Bytes that are written at once, about."""


@contextlib.contextmanager
def asked(url, buffer=2**20, **body):
    """Send a request for a completion; yield the connection, whose kernel buffers some bytes."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=SOON) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        content = json.dumps({**LARGE, **body}).encode()
        connection.sendall(
            b"POST /v1/completions HTTP/1.1\r\nContent-Type: application/json\r\n"
            + f"Host: {host}:{port}\r\nContent-Length: {len(content)}\r\n\r\n".encode()
            + content
        )
        yield connection


def rest(connection, end=b""):
    """Return what comes until the server closes the connection, or until an end."""
    content = bytearray()
    with contextlib.suppress(ConnectionResetError):
        while more := connection.recv(2**16):
            content += more
            if end and content.endswith(end):
                break
    return bytes(content)


def has_stopped(model):
    """Return a condition that holds when a model has worked, and has not for a second."""
    steps, since = 0, time.monotonic()

    def stopped():
        nonlocal steps, since
        if steps != model.steps:
            steps, since = model.steps, time.monotonic()
        return steps > 0 and time.monotonic() - since > 1

    return stopped


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_reads_nothing_is_dropped_and_its_texts_with_it(monkeypatch, caplog, stream):
    monkeypatch.setattr("corelm_serve.server.UNREAD", 0.2)
    caplog.set_level("INFO")
    model = Counted()
    with (
        served({"toy": model}, parser="h11", buffer=4096) as url,
        asked(url, 4096, stream=stream, max_tokens=4000 if stream else 30) as connection,
    ):
        wait_until(lambda: "a client was dropped: it read nothing" in caplog.text)
        assert not rest(connection).endswith(b"0\r\n\r\n")
        wait_until(has_stopped(model))


def test_a_client_that_reads_late_gets_everything():
    with served(parser="h11", buffer=4096) as url, asked(url, 4096, max_tokens=10) as connection:
        time.sleep(0.5)
        assert rest(connection, b"0\r\n\r\n").endswith(b"}\r\n0\r\n\r\n")


def test_a_client_that_leaves_ends_its_texts():
    model = Counted(0.001)
    with served({"toy": model}) as url:
        with asked(url, stream=True):
            wait_until(lambda: model.steps > 3)
        wait_until(has_stopped(model))
        assert model.steps < 4000


def test_a_backlog_ends_in_an_error():
    model = Counted()
    with (
        served({"toy": model}, buffer=2**16) as url,
        asked(url, 2**16, stream=True) as connection,
    ):
        wait_until(has_stopped(model))  # long before the end, as nobody reads
        assert model.steps < 4000
        content = rest(connection, b"0\r\n\r\n")
    assert b'"code":"slow_reader"' in content


@pytest.mark.parametrize("stream", [True, False])
def test_every_write_is_small(open_client, stream):
    client = open_client({"toy": ToyModel(end=False)})
    body = LARGE | {"max_tokens": 60, "n": 4, "echo": True, "prompt": "the cat " * 100}
    sent = client.ask(**body, stream=stream).end().sent
    assert len(b"".join(sent)) > 10 * SLICE
    assert max(map(len, sent)) < 4 * SLICE  # a chunk with 64 echoed tokens is the largest
    asked = client.ask(**body, stream=stream)
    wait_until(lambda: asked.sent)
    assert len(asked.leave().sent) < len(sent)


def test_a_long_answer_lets_others_be_answered_in_the_middle(open_client):
    client = open_client({"toy": ToyModel(end=False)})
    answers = [client.ask(**LARGE | {"max_tokens": 200}) for _ in range(3)]
    wait_until(lambda: all(each.sent for each in answers))
    client.get("/health")
    assert min(len(each.sent) for each in answers) < max(len(each.end().sent) for each in answers)
    client.complete(max_tokens=1)


def test_events_come_while_others_read_long_answers(open_client):
    client = open_client({"toy": ToyModel(end=False)})
    long = client.ask(**LARGE | {"max_tokens": 200})
    wait_until(lambda: long.sent)
    before = len(long.sent)
    texts = [event["choices"][0]["text"] for event in client.stream(max_tokens=4, seed=1)]
    assert before <= len(long.sent) < len(long.end().sent)
    assert len("".join(texts).split()) == 4
