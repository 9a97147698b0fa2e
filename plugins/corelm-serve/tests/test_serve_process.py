"""A real server in a process of its own: the real openai client, clients that go, signals."""

import json
import os
import signal
import socket
import subprocess
import time
from importlib.util import find_spec

import pytest
from programs import python
from serve_client import complete, events_of, llm_home, sample
from serve_process import SOON, serving

import corelm
from corelm.cli.app import main

httpx = pytest.importorskip("httpx2", reason="pip install httpx2")
pytestmark = pytest.mark.slow
MODEL = corelm.load("imdb")
POSIX = pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")


@pytest.fixture(scope="module")
def server():
    with serving("--model", "imdb", "--model", "again=imdb") as found:
        yield found


@pytest.fixture
def http(server):
    with httpx.Client(base_url=server.url, headers=server.headers, timeout=SOON) as client:
        yield client


@pytest.fixture
def client(server):
    openai = pytest.importorskip("openai", reason="pip install openai")
    with openai.OpenAI(
        base_url=f"{server.url}/v1", api_key=server.token, max_retries=0, timeout=SOON
    ) as client:
        yield client


def running(http):
    """Return the number of rows that the server writes."""
    lines = http.get("/metrics").text.splitlines()
    values = [line.split()[-1] for line in lines if line.startswith("corelm_running_rows{")]
    return sum(map(float, values))


def idle(http):
    """Wait until the server writes nothing."""
    deadline = time.monotonic() + SOON
    while running(http) and time.monotonic() < deadline:
        time.sleep(0.02)
    return running(http) == 0


# ---- the openai client ----


def test_openais_client_completes(client):
    answer = client.completions.create(
        model="imdb", prompt="This movie", seed=1, n=2, max_tokens=10, logprobs=2,
        extra_body={"sampler": "min_p(p=0.05) | temperature(t=0.8)"},
    )  # fmt: skip
    chain = "min_p(p=0.05) | temperature(t=0.8)"
    assert [choice.text for choice in answer.choices] == sample(
        MODEL, "This movie", sampler=chain, seed=1, n=2, length=10
    )
    assert answer.corelm["sampler"] == chain
    assert answer.usage.completion_tokens == 20
    assert len(answer.choices[0].logprobs.token_logprobs) == 10


def test_openais_client_streams(client):
    chunks = client.completions.create(
        model="imdb", prompt="This movie", seed=1, max_tokens=10, stream=True,
        stream_options={"include_usage": True},
    )  # fmt: skip
    found = [*chunks]
    text = "".join(choice.text for chunk in found for choice in chunk.choices)
    [expected] = sample(MODEL, "This movie", sampler="stochastic", seed=1, length=10)
    assert text == expected
    assert found[-1].usage.completion_tokens == 10


def test_openais_client_lists_the_models(client):
    assert [model.id for model in client.models.list()] == ["imdb", "again"]
    assert client.models.retrieve("again").id == "again"


# ---- clients that go ----


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_goes_frees_its_rows(http, server, stream):
    body = {"model": "imdb", "prompt": "This movie", "max_tokens": 4096, "n": 8, "stream": stream}
    content = json.dumps(body).encode()
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        head = (
            f"POST /v1/completions HTTP/1.1\r\nHost: {host}:{port}\r\n"
            f"Authorization: Bearer {server.token}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(content)}\r\n\r\n"
        )
        connection.sendall(head.encode() + content)
        deadline = time.monotonic() + SOON
        while not running(http) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert running(http) == 8
    assert idle(http)


def test_a_client_that_reads_nothing_holds_up_nobody(http, server):
    body = {"model": "imdb", "prompt": "This movie", "max_tokens": 2000, "n": 4, "stream": True}
    with http.stream("POST", "/v1/completions", json=body) as response:
        assert response.status_code == 200
        answer = http.post(
            "/v1/completions", json={"model": "imdb", "prompt": "This", "max_tokens": 5, "seed": 1}
        )
        assert answer.status_code == 200
    assert idle(http)


@POSIX
def test_half_open_connections_hold_up_nobody(http, server):
    host, port = server.url.removeprefix("http://").split(":")
    opened = [socket.create_connection((host, int(port))) for _ in range(100)]
    try:
        for i, connection in enumerate(opened):
            connection.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: "[: i % 40])
        body = {"model": "imdb", "prompt": "This", "max_tokens": 5}
        assert http.post("/v1/completions", json=body).status_code == 200
    finally:
        for connection in opened:
            connection.close()


# ---- other programs ----


LITELLM = """
import json, litellm, sys
asked = json.load(sys.stdin)
print(litellm.text_completion(**asked).choices[0].text)
chunks = litellm.text_completion(**asked, stream=True)
print("".join(chunk.choices[0].text or "" for chunk in chunks))
try:
    litellm.text_completion(**{**asked, "seed": -5})
except litellm.BadRequestError as error:
    print(error)
"""


def test_litellm_completes(server):
    if find_spec("litellm") is None:
        pytest.skip("pip install litellm")
    asked = {
        "model": "text-completion-openai/imdb", "prompt": "This movie", "seed": 1, "max_tokens": 12,
        "api_base": f"{server.url}/v1", "api_key": server.token,
        "extra_body": {"sampler": "min_p(p=0.05)"},
    }  # fmt: skip
    # In a process, since it leaves warnings and open sockets behind; costs not from the network.
    local = {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    done = python("-c", LITELLM, env=local, input=json.dumps(asked), check=True)
    whole, streamed, *error = [line for line in done.stdout.splitlines() if line.strip()]
    assert [whole] == sample(MODEL, "This movie", sampler="min_p(p=0.05)", seed=1, length=12)
    assert streamed == whole
    assert "seed must be a whole number" in "".join(error)


def test_llm_completes(server, tmp_path):
    pytest.importorskip("llm", reason="pip install llm")
    home = llm_home(tmp_path, server.url, server.token, "imdb", "  completion: true\n")
    words = ["-m", "served", "-o", "seed", "1", "-o", "max_tokens", "10"]
    found = python("-m", "llm", *words, "This movie", env=home, stdin=subprocess.DEVNULL)
    [expected] = sample(MODEL, "This movie", sampler="stochastic", seed=1, length=10)
    assert found.stdout.removesuffix("\n") == expected, found.stderr


# ---- the end ----


@POSIX
@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_running_requests_end(sig):
    with serving("--model", "imdb", "--grace", "20") as server:
        with httpx.Client(base_url=server.url, headers=server.headers, timeout=SOON) as http:
            body = {"model": "imdb", "prompt": "This movie", "max_tokens": 300, "seed": 1}
            with http.stream("POST", "/v1/completions", json={**body, "stream": True}) as response:
                lines = response.iter_bytes()
                first = next(lines)
                server.process.send_signal(sig)
                text = (first + b"".join(lines)).decode()
        [expected] = sample(MODEL, "This movie", sampler="stochastic", seed=1, length=300)
        assert complete(events_of(text)) == expected
        _, errors = server.process.communicate(timeout=SOON)
        assert "Traceback" not in errors


@POSIX
def test_after_the_grace_period_requests_end_with_an_error():
    with (
        serving("--model", "imdb", "--grace", "0.5") as server,
        httpx.Client(base_url=server.url, headers=server.headers, timeout=SOON) as http,
    ):
        body = {"model": "imdb", "prompt": "This", "max_tokens": 4096, "n": 2, "stream": True}
        body["sampler"] = "min_length(n=4096)"
        with http.stream("POST", "/v1/completions", json=body) as response:
            lines = response.iter_bytes()
            first = next(lines)
            server.process.send_signal(signal.SIGTERM)
            events = events_of((first + b"".join(lines)).decode())
        assert events[-1]["error"]["code"] == "stopping"
        server.process.communicate(timeout=SOON)


# ---- the command ----


@POSIX
def test_a_unix_socket_replaces_the_one_that_an_ended_server_left(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)  # a path of a socket has at most 108 bytes
    for _ in range(2):
        with (
            serving("--model", "imdb", "--uds", "s", CORELM_SERVE_TOKEN="one\ntwo\n") as server,
            httpx.Client(transport=httpx.HTTPTransport(uds="s"), timeout=SOON) as http,
        ):
            assert (server.url, server.token) == ("unix:s", "one")
            headers = {"Authorization": "Bearer two", "X-Forwarded-Proto": "https"}
            listed = http.get("http://localhost/v1/models", headers=headers)
            assert listed.json()["data"][0]["id"] == "imdb"
            cookie = http.get("http://localhost/?token=two", headers=headers).headers["set-cookie"]
            assert cookie.endswith("Secure")
            assert http.get("http://evil.com/health").status_code == 421
            assert main(["serve", "--uds", "s"]) == 2
            assert "cannot listen at s: Address already in use" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert main(["serve", "--uds", "file"]) == 2
    assert (tmp_path / "file").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--no-token", "--host", "0.0.0.0"], "--no-token is for a loopback address"),
        (["imdb"], "Got unexpected extra argument(s) (imdb); a model is named with --model imdb; "),
        (["--model", "imbd", "--port", "0"], "there is no model 'imbd'"),
        (["--model", "imdb", "--model", "imdb", "--port", "0"], "two models are called imdb"),
        (["--host", "203.0.113.1"], "cannot listen on 203.0.113.1:8000"),
        (["--grace", "inf"], "--grace must be at most 86,400 seconds, not inf"),
        (["--model", "=imdb"], "--model =imdb has an empty side"),
        (["--model", "imdb="], "--model imdb= has an empty side"),
    ],
)
def test_a_command_that_cannot_serve(arguments, message, capsys):
    assert main(["serve", *arguments]) in (1, 2)
    found = capsys.readouterr()
    assert message in found.err
    assert found.out == ""


def test_a_token_that_no_header_can_hold_is_refused(monkeypatch, capsys):
    monkeypatch.setenv("CORELM_SERVE_TOKEN", "one\nse cret")
    assert main(["serve", "--port", "0"]) == 2
    assert "visible ASCII characters" in capsys.readouterr().err


def test_the_url_has_any_token_as_one_value():
    with serving("--model", "imdb", CORELM_SERVE_TOKEN="a&#b=c;d") as server:
        page = httpx.get(f"{server.url}/?token={server.token}")
        assert page.status_code == 303
        assert httpx.get(f"{server.url}/v1/models", cookies=page.cookies).status_code == 200
        assert httpx.get(f"{server.url}/v1/models").status_code == 401
        headers = {"Authorization": "Bearer a&#b=c;d"}
        assert httpx.get(f"{server.url}/v1/models", headers=headers).status_code == 200
