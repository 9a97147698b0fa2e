"""Servers on the loopback interface, each with one of the APIs, and an engine of exact draws."""

from __future__ import annotations

import json
import socket
import threading
import time
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from corelm_probe import MODELS, EngineError, probe
from corelm_probe.engines import open_engine
from corelm_probe.engines.http import HttpEngine
from planted import drawn

import corelm
from corelm.errors import UsageError

SLOPE = MODELS["slope"]
CHAIN = "top_k(k=20) | temperature(t=0.8)"


def openai(body):
    texts = draw(body, body["prompt"], body["seed"], body["max_tokens"], body["n"])
    logprobs = {"token_logprobs": [-1.0] * body["max_tokens"]}
    return {"choices": [{"text": SLOPE.decode(t), "logprobs": logprobs} for t in texts]}


def llama_cpp(body):
    [text] = draw(body, SLOPE.decode(body["prompt"]), body["seed"], body["n_predict"])
    return {"tokens": text, "completion_probabilities": [{"logprob": -1.0}] * len(text)}


def koboldcpp(body):
    [text] = draw(body, body["prompt"], body["sampler_seed"], body["max_length"])
    return {"results": [{"text": SLOPE.decode(text)}]}


def ollama(body):
    options = body["options"]
    assert not body["stream"]
    assert body["raw"]
    [text] = draw(options, body["prompt"], options["seed"], options["num_predict"])
    return {"response": SLOPE.decode(text)}


PATHS = {
    "/v1/completions": openai,
    "/completion": llama_cpp,
    "/api/v1/generate": koboldcpp,
    "/api/generate": ollama,
}


def draw(settings, prompt, seed, length, n=1):
    """Return texts from the distribution of a request's settings, as lists of ids."""
    engine = settings.pop("format")
    chain = corelm.sampler(CHAIN) if engine == "openai" else None
    if chain is None:
        own = {"options": settings} if engine == "ollama" else settings
        chain = corelm.from_settings(own, engine).sampler
    return drawn(chain, SLOPE, SLOPE.encode(prompt), n, seed, length).tolist()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.startswith("/moved"):
            self.answer(307, b"", Location="/v1/completions")
        elif self.path.startswith("/like"):
            self.answer(200, b'{"text": "AB"}')
        elif self.path not in PATHS:
            self.answer(404, b"not here")
        else:
            names = dict(zip(PATHS, ("openai", "llama.cpp", "koboldcpp", "ollama"), strict=True))
            body.get("options", body)["format"] = names[self.path]
            self.answer(200, json.dumps(PATHS[self.path](body)).encode())

    def answer(self, status, content, **headers):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def url():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.slow
@pytest.mark.parametrize("api", ["openai", "llama.cpp", "koboldcpp", "ollama"])
def test_each_api_sends_the_settings_and_reads_the_texts(url, api):
    with HttpEngine(url, api, served="slope") as engine:
        if api == "openai":
            engine.format, settings = None, {"sampler": CHAIN}
        else:
            settings = corelm.to_settings(CHAIN, api)
        verdict = probe(engine, settings, SLOPE, draws=1000)
        assert verdict.consistent, verdict.fit
        assert str(verdict.fit.chain) == CHAIN
        batch = engine.draw_batch([[1], [2]], settings, 3, 4)
        assert batch.shape == (2, 4)
        assert np.array_equal(batch[:1], engine.draw_batch([[1]], settings, 3, 4))


def test_a_request_has_several_texts_where_the_api_has_a_number(url):
    with HttpEngine(url, "openai") as engine:
        found = engine.draw([1], {}, 120, 1, 20)
        tokens, logprobs = engine.logprobs([1], {}, 1, 3)
    assert len(np.unique(found, axis=0)) > 100
    assert (len(tokens), logprobs) == (3, [-1.0] * 3)


@pytest.mark.parametrize(
    ("address", "api", "error"),
    [
        ("{}/moved", "openai", "answers 307"),  # a redirect is not followed
        ("{}/elsewhere", "ollama", "answers 404: not here"),
        ("http://127.0.0.1:9", "openai", "cannot be reached"),
        ("{}/like", "ollama", "has no 'response' in its answer"),
    ],
)
def test_what_is_no_answer_is_an_error(url, address, api, error):
    with (
        HttpEngine(address.format(url), api) as engine,
        pytest.raises(EngineError, match=error),
    ):
        engine.draw([1], {}, 1, 1, 1)


@contextmanager
def raw_server(answer):
    """Serve bytes as they are: those of `answer`, an iterable, at each connection."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        ended = threading.Event()

        def serve():
            while not ended.is_set():
                with suppress(OSError), listening.accept()[0] as connection:
                    connection.recv(65536)
                    for part in answer():
                        if ended.is_set():
                            return
                        connection.sendall(part)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            ended.set()
            with suppress(OSError):  # the thread waits for a connection
                socket.create_connection(listening.getsockname()).close()
            thread.join()


def document(value):
    content = value if isinstance(value, bytes) else json.dumps(value).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(content), content)


def drip():
    yield b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n"
    while True:
        time.sleep(0.02)
        yield b" "


def continues():
    while True:
        time.sleep(0.001)
        yield b"HTTP/1.1 100 Continue\r\n\r\n"


HOSTILE = {
    "a byte at a time": (drip, "took longer than 0.5 s"),
    "100 for ever": (continues, "took longer than 0.5 s|cannot be reached"),
    "no choice": ({"choices": []}, "answers without a text"),
    "a list": ([1], "has no"),
    "null": (None, "has no"),
    "a number": ({"choices": 7}, "has no"),
    "a text that is none": ({"choices": [{"text": 7}]}, "has no"),
    "another alphabet": ({"choices": [{"text": "\u00e9"}]}, "which is no token"),
    "deep JSON": (b"[" * 100_000, "something other than JSON"),
    "no JSON": (b"\xff\xfe", "something other than JSON"),
    "no HTTP": (lambda: [b"SSH-2.0-OpenSSH\r\n"], "cannot be reached"),
    "a huge header": (lambda: [b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200_000], "cannot be reached"),
    "a length that is none": (
        lambda: [b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n[]"],
        "has no|cannot be reached|took longer",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_server_is_an_error_and_has_an_end(name):
    answer, message = HOSTILE[name]
    parts = answer if callable(answer) else lambda: [document(answer)]
    patience = 0.5 if "took longer" in message else 300
    with (
        raw_server(parts) as url,
        HttpEngine(url, timeout=patience) as engine,
        pytest.raises(EngineError, match=message),
    ):
        engine.draw([1], {}, 2, 1, 1)


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "-1" + "0" * 400, "true", "null", '"-1"'])
def test_log_probabilities_that_are_none_are_an_error(number):
    start, end = '{"choices": [{"text": "A", "logprobs": {"token_logprobs": [', "]}}]}"
    answer = start + number + end
    with (
        raw_server(lambda: [document(answer.encode())]) as url,
        HttpEngine(url, timeout=5) as engine,
        pytest.raises(EngineError, match="log-probabilities that are no numbers"),
    ):
        engine.logprobs([1], {}, 1, 1)


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        ("ftp://x", {}, "is no engine"),
        ("http://x", {"api": "ollma"}, "did you mean"),
        ("http:///x", {}, "expected a URL"),
        ("llama_cpp:/nowhere.gguf", {}, "does not exist"),
    ],
)
def test_a_target_that_is_none_is_refused(target, options, message):
    with pytest.raises(UsageError, match=message):
        open_engine(target, **options)


def test_seeds_of_requests_are_further_apart_than_their_texts(monkeypatch):
    """vLLM and llama.cpp draw text i of a request with its seed plus i."""
    seeds = []

    def answer(self, prompt, settings, n, seed, length):
        seeds.extend(range(seed, seed + n))
        return {"choices": [{"text": "A"}] * n}

    monkeypatch.setattr(HttpEngine, "_answer", answer)
    with HttpEngine("http://x") as engine:
        engine.draw([1], {}, 100, 1, 1)
        engine.draw([1], {}, 100, 2, 1)
    assert len(seeds) == len(set(seeds)) == 200
