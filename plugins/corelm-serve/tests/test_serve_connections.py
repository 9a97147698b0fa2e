"""Connections that send no request, or too much of one, with both parsers of HTTP."""

import contextlib
import json
import socket
import time

import pytest
from serve_client import SOON, Counted, served, wait_until

LONG = b"X" * 2**17


@pytest.fixture(params=["h11", "httptools"])
def connect(request):
    """Yield a function that opens a connection to a server of a model."""
    if request.param == "httptools":
        pytest.importorskip("httptools", reason="pip install httptools")
    with contextlib.ExitStack() as stack:

        def connected(model=None):
            url = stack.enter_context(served({"toy": model or Counted()}, parser=request.param))
            host, port = url.removeprefix("http://").split(":")
            return again((host, int(port)))

        def again(address):
            return stack.enter_context(socket.create_connection(address, timeout=SOON))

        connected.again = again
        yield connected


def head(connection, line, **headers):
    """Return the head of a request to the server of a connection."""
    lines = [f"{line} HTTP/1.1", f"Host: 127.0.0.1:{connection.getpeername()[1]}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def request(connection, **body):
    """Return a request for a completion."""
    content = json.dumps({"model": "toy", "prompt": "the", **body}).encode()
    kind = {"Content_Type": "application/json", "Content_Length": len(content)}
    return head(connection, "POST /v1/completions", **kind) + content


def rest(connection):
    """Return what comes until the server closes the connection."""
    content = b""
    with contextlib.suppress(ConnectionResetError):
        while more := connection.recv(1000):
            content += more
    return content


@pytest.fixture
def _impatient(monkeypatch):
    monkeypatch.setattr("corelm_serve.server.SILENCE", 0.1)


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize("sent", [b"", b"GET", b"GET / HTTP/1.1\r\nHost: a\r\nX"])
def test_a_connection_without_a_request_is_closed(connect, sent):
    connection = connect()
    with contextlib.suppress(OSError):  # closed already
        connection.sendall(sent)
    assert rest(connection) == b""


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize("more", [b"", b"GE"])
def test_a_connection_is_closed_if_no_further_request_comes_but_not_before_its_answer(
    connect, more
):
    connection = connect(Counted(0.05))
    connection.sendall(request(connection, max_tokens=10))  # takes several times as long
    answer = connection.recv(2**16)
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"}")  # head and body in one write
    with contextlib.suppress(OSError):  # closed already
        connection.sendall(more)
    assert rest(connection) == b""


@pytest.mark.parametrize("missing", [0, 3, 40])
def test_a_client_that_closes_its_own_side_has_gone_and_is_no_failure(connect, caplog, missing):
    with caplog.at_level("INFO"):
        connection = connect()
        sent = request(connection, max_tokens=4000, n=8)
        connection.sendall(sent[: len(sent) - missing])
        connection.shutdown(socket.SHUT_WR)
        assert rest(connection) == b""
        wait_until(lambda: "POST /v1/completions 499" in caplog.text)
    assert "Traceback" not in caplog.text


@pytest.fixture
def _few(monkeypatch):
    monkeypatch.setattr("corelm_serve.server.CONNECTIONS", 4)


def opened(connect, connection, count):
    """Return more connections to the server of a connection, each of which it has answered."""
    more = []
    for _ in range(count):
        more.append(each := connect.again(connection.getpeername()))
        each.sendall(head(connection, "GET /health"))
        assert each.recv(2**16).startswith(b"HTTP/1.1 200")
    return more


@pytest.mark.usefixtures("_few")
def test_idle_connections_give_way_to_new_ones_the_oldest_first(connect):
    connection = connect()
    first, *others = opened(connect, connection, 9)
    assert rest(first) == b""
    for each in others[-3:]:  # the last ones are open
        each.sendall(head(connection, "GET /health"))
        assert each.recv(2**16).startswith(b"HTTP/1.1 200")


@pytest.mark.usefixtures("_few")
def test_where_all_connections_have_a_request_another_one_is_503(connect):
    connection = connect(Counted(0.05))
    busy = opened(connect, connection, 3)
    for each in (connection, *busy):
        each.sendall(request(connection, max_tokens=4000))
    time.sleep(0.5)  # asking for figures would need a connection
    more = connect.again(connection.getpeername())
    answer = rest(more)
    assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"retry-after: 2\r\n" in answer
    error = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
    assert (error["type"], error["code"]) == ("service_unavailable_error", "busy")
    assert error["message"] == "4 requests are being answered already; ask again later"


def test_the_answer_to_a_request_before_garbage_comes(connect):
    connection = connect(Counted(0.02))
    connection.sendall(request(connection, max_tokens=5) + b"\x00garbage\r\n\r\n")
    answer = rest(connection)
    assert answer.startswith(b"HTTP/1.1 200")
    assert b'"completion_tokens":5' in answer


@pytest.mark.parametrize("scheme", ["http", "HTTPS"])
def test_a_target_as_proxies_get_it_is_its_path(connect, scheme):
    connection = connect()
    connection.sendall(head(connection, f"GET {scheme}://a.example:80/v1/models?a=b"))
    assert b'"id":"toy"' in connection.recv(2**16)


def test_garbage_is_400_in_the_documented_form(connect):
    connection = connect()
    connection.sendall(b"\x00garbage\r\n\r\n")
    answer = rest(connection)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "invalid_http"


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
def test_a_head_that_is_too_long_is_refused(connect, sent):
    connection = connect()
    with contextlib.suppress(OSError):  # refused before the end
        connection.sendall(sent)
    rest(connection)  # ends, as the server closes the connection


@pytest.mark.parametrize(
    "lengths", [["Content_Length", "Transfer_Encoding"], ["Transfer_Encoding", "Content_Length"]]
)
def test_a_body_with_two_lengths_is_refused_and_nothing_after_it_is_read(connect, lengths):
    """A proxy in front may read the other one, and take a part of the body for a request."""
    connection, body = connect(), request(connect(), max_tokens=1).partition(b"\r\n\r\n")[2]
    sizes = {"Content_Length": len(body), "Transfer_Encoding": "chunked"}
    begin = head(connection, "POST /v1/completions", Content_Type="application/json",
                 **{name: sizes[name] for name in lengths})  # fmt: skip
    whole = begin + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    connection.sendall(whole + head(connection, "GET /health"))
    answer = rest(connection)
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"connection: close" in answer
    assert answer.count(b"HTTP/1.1") == 1


def test_a_long_body_is_no_long_head(connect):
    connection = connect()
    for _ in range(2):
        connection.sendall(request(connection, max_tokens=1, user=LONG.decode()[:4000], n=1,
                                   prompt="the " * 2**13, seed=1))  # fmt: skip
        sent = b""
        while not sent.endswith(b"}}"):
            sent += (part := connection.recv(2**16))
            assert part
        assert sent.startswith(b"HTTP/1.1 200")
