"""Connections that send no request, in a server of this process."""

import asyncio
import contextlib
import gc
import json
import socket
import threading
from types import SimpleNamespace

import pytest
import uvicorn
from corelm_serve import server
from corelm_serve.security import Access
from corelm_serve.server import connection_type, listen, slow_connection_type
from corelm_serve.service import Service
from serve_client import ToyModel, served
from serve_process import SOON

REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


class Running:
    """A server that answers each request when it is told to."""

    def __init__(self, http):
        config = uvicorn.Config(
            self.answer, http=http, ws="none", lifespan="off", interface="asgi3",
            timeout_keep_alive=3600, log_config=None,
        )  # fmt: skip
        self.server, self.asked = uvicorn.Server(config), threading.Event()
        self.told = asyncio.Event()

    async def answer(self, scope, receive, send):
        self.asked.set()
        await self.told.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"here"})

    def do(self, work):
        """Do some work in the event loop, and wait for it."""
        [connection] = self.server.server_state.connections
        done = threading.Event()
        connection.loop.call_soon_threadsafe(lambda: (work(connection), done.set()))
        assert done.wait(SOON)


@pytest.fixture(params=["h11", "httptools"])
def http(request):
    """Return the class of connections with a parser."""
    if request.param == "h11":
        return slow_connection_type()
    pytest.importorskip("httptools", reason="pip install httptools")
    return connection_type()


@pytest.fixture
def opened(http):
    """Return a function that opens a connection to a server."""
    with contextlib.ExitStack() as stack:

        def connected():
            running, listening = Running(http), stack.enter_context(listen("127.0.0.1", 0))
            thread = threading.Thread(target=running.server.run, args=([listening],))
            thread.start()
            stack.callback(thread.join)
            stack.callback(setattr, running.server, "should_exit", True)
            address = listening.getsockname()
            return running, stack.enter_context(socket.create_connection(address, timeout=SOON))

        yield connected


def rest(connection):
    """Return what comes until the server closes the connection."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while more := connection.recv(1000):
            found += more
    return found


@pytest.mark.parametrize("sent", [b"", b"GET", b"GET / HTTP/1.1\r\nHost: a\r\nX"])
def test_a_connection_without_a_request_is_closed(opened, monkeypatch, sent):
    monkeypatch.setattr(server, "SILENCE", 0.05)
    _, connection = opened()
    with contextlib.suppress(OSError):  # closed already
        connection.sendall(sent)
    assert rest(connection) == b""


@pytest.mark.parametrize("missing", [0, 3, 40])
def test_a_client_that_closes_its_own_side_has_gone_and_is_no_failure(caplog, missing):
    body = json.dumps({"model": "toy", "prompt": "the", "max_tokens": 4000, "n": 8}).encode()
    with caplog.at_level("INFO"), served({"toy": ToyModel(end=False)}) as url:
        host, port = url.removeprefix("http://").split(":")
        head = f"POST /v1/completions HTTP/1.1\r\nHost: {host}:{port}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        with socket.create_connection((host, int(port)), timeout=SOON) as connection:
            connection.sendall(head.encode() + body[: len(body) - missing])
            connection.shutdown(socket.SHUT_WR)
            assert rest(connection) == b""
    assert "Traceback" not in caplog.text
    assert "POST /v1/completions 499" in caplog.text


@pytest.mark.parametrize("more", [b"", b"GE"])
def test_a_connection_whose_next_request_never_ends_is_closed(opened, more):
    running, connection = opened()
    connection.sendall(REQUEST)
    assert running.asked.wait(SOON)
    for _ in range(3):  # as long as it works on a request, it waits
        running.do(lambda found: found._look())
    running.do(lambda _: running.told.set())
    found = b""
    while not found.endswith(b"\r\n0\r\n\r\n"):
        found += (part := connection.recv(1000))
        assert part
    connection.sendall(more)
    for _ in range(2):
        running.do(lambda found: found._look())
    assert rest(connection) == b""


LONG = b"X" * 2**17


def test_an_answer_is_one_write_and_a_client_that_reads_slowly_is_seen_at_once(opened):
    running, connection = opened()
    written = []

    def note(found):
        write = found.transport._transport.write
        found.transport._transport = SimpleNamespace(
            write=lambda data: (written.append(data), write(data)),
            is_closing=lambda: False, close=lambda: None, resume_reading=lambda: None,
        )  # fmt: skip

    connection.sendall(REQUEST)
    assert running.asked.wait(SOON)
    running.do(note)
    running.do(lambda _: running.told.set())
    found = b""
    while not found.endswith(b"\r\n0\r\n\r\n"):
        found += (part := connection.recv(1000))
        assert part
    assert written == [found]
    running.do(lambda each: (each.transport.write(b"a"), each.transport.write(LONG)))
    assert written[1:] == [b"a" + LONG]


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /" + LONG,
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + LONG,
        b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 2**15,
        b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nHost: a\r\n\r\n0\r\n"
        + b"X: y\r\n" * 2**15,
    ],
    ids=["path", "header", "headers", "trailers"],
)
def test_a_head_that_is_too_long_is_refused(opened, sent):
    running, connection = opened()
    running.told.set()
    with contextlib.suppress(OSError):  # refused before the end
        connection.sendall(sent)
    rest(connection)  # ends, as the server closes the connection


def test_a_long_body_is_no_long_head(opened):
    running, connection = opened()
    running.told.set()
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(LONG)
    for _ in range(2):
        connection.sendall(head + LONG)
        found = b""
        while not found.endswith(b"\r\n0\r\n\r\n"):
            found += (part := connection.recv(1000))
            assert part


def test_what_is_loaded_is_not_looked_through_for_garbage(monkeypatch):
    monkeypatch.setattr(server.Server, "run", lambda *args, **kwargs: None)
    monkeypatch.setattr("sys.setswitchinterval", lambda seconds: None)
    service = Service({"toy": ToyModel()})
    gc.unfreeze()
    with listen("127.0.0.1", 0) as listening:
        server.serve(service, Access.to("127.0.0.1", 80), listening)
    assert gc.get_freeze_count() > 10_000
    gc.unfreeze()
    service.close()
