"""Clients that read slowly, stop reading or leave, while others work."""

import asyncio
import contextlib
import json
import socket
import threading
import time
from types import SimpleNamespace

import pytest
import uvicorn
from corelm_serve import responses
from corelm_serve import server as protocol
from corelm_serve.models import Limits
from corelm_serve.responses import (
    SLICE,
    ClientGoneError,
    Inbox,
    SlicedResponse,
    Turns,
    Wakeups,
    encode,
    slices,
)
from corelm_serve.scheduling.jobs import Piece
from corelm_serve.security import Access
from corelm_serve.server import create_app, listen, slow_connection_type
from corelm_serve.service import Service
from serve_client import ToyModel
from serve_process import SOON

LARGE = {"model": "toy", "prompt": "the", "max_tokens": 4000, "n": 12, "logprobs": 20, "seed": 1}
"""A request whose answer has a million numbers."""


@pytest.fixture
def running():
    """Yield a service whose model never ends a text, and its server's address and connections."""
    service = Service({"toy": ToyModel(end=False)}, Limits(grace=0))
    with listen("127.0.0.1", 0) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        address = listening.getsockname()
        app = create_app(service, Access.to("127.0.0.1", address[1]))
        config = uvicorn.Config(
            app,
            http=slow_connection_type(),
            ws="none",
            log_config=None,
            timeout_graceful_shutdown=2,
        )
        found = uvicorn.Server(config)
        thread = threading.Thread(target=found.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        yield service, address, found.server_state.connections
        found.should_exit = True
        thread.join(SOON)


def wait_until(condition):
    """Wait until a condition holds."""
    end = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def ask(address, **body):
    """Send a request for a completion; return the connection."""
    connection = socket.create_connection(address, timeout=SOON)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    content = json.dumps({**LARGE, **body}).encode()
    connection.sendall(
        b"POST /v1/completions HTTP/1.1\r\nContent-Type: application/json\r\n"
        + f"Host: 127.0.0.1:{address[1]}\r\nContent-Length: {len(content)}\r\n\r\n".encode()
        + content
    )
    return connection


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_reads_nothing_is_dropped_and_its_texts_with_it(running, monkeypatch, stream):
    monkeypatch.setattr(protocol, "UNREAD", 0.2)
    service, address, connections = running
    with ask(address, stream=stream, max_tokens=4000 if stream else 30) as connection:
        wait_until(lambda: connections)
        wait_until(lambda: not connections)
        wait_until(lambda: service.running == 0)
        with contextlib.suppress(ConnectionResetError):
            found = b""
            while more := connection.recv(2**16):
                found += more
            assert not found.endswith(b"0\r\n\r\n")


def test_a_client_that_leaves_ends_its_texts(running):
    service, address, _ = running
    connection = ask(address, stream=True)
    wait_until(lambda: service.running > 0)
    connection.close()
    wait_until(lambda: service.running == 0)


def piece(numbers):
    tables = [SimpleNamespace(ids=range(numbers))]
    return Piece(0, " cat", [1.0], [], tables, None)


def test_a_backlog_ends_in_an_error():
    async def main():
        inbox, job = Inbox(Wakeups()), SimpleNamespace(cancelled=False)
        found = []
        while not job.cancelled:
            inbox.tell(job, piece(21))
        while not found or isinstance(found[-1][1], Piece):
            found += await inbox.take()
        return found, job

    found, job = asyncio.run(main())
    assert job.cancelled
    assert sum(responses.size_of(event) for _, event in found) <= responses.BACKLOG
    assert found[-1][1].code == "slow_reader"


def test_a_client_that_reads_in_time_gets_everything():
    async def main():
        inbox, job, count = Inbox(Wakeups()), SimpleNamespace(cancelled=False), 0
        for _ in range(20 * responses.BACKLOG // 21):
            inbox.tell(job, piece(21))
            count += len(await inbox.take())
        return job.cancelled, count

    assert asyncio.run(main()) == (False, 20 * responses.BACKLOG // 21)


def test_what_waits_is_written_in_turns():
    async def main():
        inbox, job = Inbox(Wakeups()), SimpleNamespace(cancelled=False)
        for _ in range(100):
            inbox.tell(job, piece(21))
        return await inbox.take()

    found = asyncio.run(main())
    assert responses.AT_ONCE <= sum(event.size for _, event in found) < responses.AT_ONCE + 23


@pytest.mark.parametrize("stream", [True, False])
def test_every_write_is_small(open_client, monkeypatch, stream):
    client, sizes = open_client({"toy": ToyModel(end=False)}), []
    written = responses._body

    async def noted(send, content, more=True):
        sizes.append(len(content))
        await written(send, content, more)

    monkeypatch.setattr(responses, "_body", noted)
    body = {**LARGE, "max_tokens": 20, "n": 4, "echo": True, "prompt": "the cat " * 100}
    content = client.post("/v1/completions", json={**body, "stream": stream}).content
    assert sum(sizes) == len(content) > 10 * SLICE
    assert max(sizes) < 4 * SLICE  # a chunk with 64 echoed tokens is the largest


def test_slices_are_the_document():
    rows = [{"a": i, "b": [i / 7, None]} for i in range(5_000)]
    document = {"x": "\u00e9", "rows": rows, "many": [*range(10_000)], "none": [], "empty": {}}
    found = [*slices({**document, "rows": iter(rows), "none": iter([])})]
    assert b"".join(found).decode() == encode(document)
    assert max(map(len, found)) < 2 * SLICE
    with pytest.raises(ValueError, match="Out of range float"):
        [*slices({"x": iter([float("nan")])})]


def test_a_client_that_leaves_ends_a_sliced_answer():
    written = []

    async def send(message):
        written.append(message)

    async def receive():
        return {"type": "http.disconnect"}

    async def main():
        with pytest.raises(ClientGoneError):
            await SlicedResponse({"x": iter(range(10**9))}, Turns())({}, receive, send)

    asyncio.run(main())
    assert len(written) <= 3
