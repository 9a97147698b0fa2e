"""Servers in this process and their clients: the one door of the tests to the server's parts."""

import asyncio
import contextlib
import json
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import uvicorn
from corelm_serve.commands import listen
from corelm_serve.scheduling.scheduler import Limits
from corelm_serve.security import Access
from corelm_serve.server import connection_type, create_app
from corelm_serve.service import Service
from starlette.testclient import TestClient

import corelm
from corelm import param
from corelm.abilities import SessionWrapper
from corelm.runs import plugins
from corelm.testing import ToyModel

URL = "http://127.0.0.1:8000"
SOON = 300


class Client(TestClient):
    """A client in this process."""

    def __init__(self, app, service, url=URL):
        super().__init__(app, base_url=url)
        self.service = service
        self._pool, self._begun = ThreadPoolExecutor(64), []

    def complete(self, **body):
        """Return the answer to a completion."""
        response = self.post("/v1/completions", json={"model": "toy", "prompt": "the", **body})
        assert response.status_code == 200, response.text
        return response.json()

    def begin(self, **body):
        """Ask for a completion in a thread; return the future response."""
        body = {"model": "toy", "prompt": "the", **body}
        self._begun.append(self._pool.submit(self.post, "/v1/completions", json=body))
        return self._begun[-1]

    def end(self):
        """End the requests that were begun."""
        self.service.close()
        # Starlette's client takes what was sent in its own thread, which doesn't wake the loop.
        while not all(each.done() for each in self._begun):
            self.portal.call(asyncio.sleep, 0.005)

    def refused(self, path="/v1/completions", **body):
        """Return the status and the error of a request that fails."""
        body = {"model": "toy", "prompt": "the", **body} if path == "/v1/completions" else body
        response = self.post(path, json=body)
        assert response.status_code >= 400, response.text
        return response.status_code, response.json()["error"]

    def stream(self, **body):
        """Return the events of a streamed completion."""
        body = {"model": "toy", "prompt": "the", "stream": True, **body}
        response = self.post("/v1/completions", json=body)
        assert response.status_code == 200, response.text
        assert response.headers["content-type"].startswith("text/event-stream")
        return events_of(response.text)

    def figure(self, name):
        """Return a figure of the model `toy` in `GET /metrics`."""
        return float(
            re.search(rf'corelm_{name}{{model="toy"}} (\S+)', self.get("/metrics").text)[1]
        )

    def wait_for(self, **figures):
        """Wait until figures have these values."""
        wait_until(lambda: all(self.figure(name) == x for name, x in figures.items()))

    def ask(self, **body):
        """Ask for a completion as a client that may go away before its answer."""
        return Asked(self, {"model": "toy", "prompt": "the", **body})


class Asked:
    """A request on its way.

    Attributes:
        sent: the bodies that the server has sent.
    """

    def __init__(self, client, body):
        self.sent, self._gone = [], threading.Event()
        self._parts = iter([{"type": "http.request", "body": json.dumps(body).encode()}])
        scope = {
            "type": "http", "method": "POST", "path": "/v1/completions", "query_string": b"",
            "headers": [(b"host", b"127.0.0.1:8000"), (b"content-type", b"application/json")],
        }  # fmt: skip
        self._ended = client.portal.start_task_soon(client.app, scope, self._receive, self._send)

    def end(self):
        """Wait for the whole answer."""
        self._ended.result(SOON)
        return self

    def leave(self):
        """Go away, and wait until the server has noticed."""
        self._gone.set()
        return self.end()

    async def _receive(self):
        if (part := next(self._parts, None)) is not None:
            return part
        while not self._gone.is_set():
            await asyncio.sleep(0.002)
        return {"type": "http.disconnect"}

    async def _send(self, message):
        if message["type"] == "http.response.body":
            self.sent.append(message["body"])


def wait_until(condition):
    """Wait until a condition holds."""
    end = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


@contextlib.contextmanager
def opened_client(
    models=None, token=None, classroom=None, origins=(), host="127.0.0.1", names=(), **options
):
    """Yield a client of a server.

    Args:
        host: where it would listen.
        names: more names of its machine.
        models: its models by name.
        token: its token, or several with spaces between them.
        classroom: the class of its live page.
        origins: other origins whose pages may ask.
        options: `log_texts`, `sources` and limits.
    """
    register()
    access = Access.to(host, 8000, (token or "").split(), names, origins)
    service = _service(models or {"toy": ToyModel()}, classroom, **options)
    with Client(create_app(service, replace(access, classroom=classroom)), service) as client:
        yield client
        client.end()


def _service(models, classroom, log_texts=False, sources=None, **limits):
    return Service(models, Limits(**limits), log_texts, sources, classroom)


@contextlib.contextmanager
def served(
    models=None, token=None, classroom=None, origins=(), parser="httptools", buffer=None, **options
):
    """Yield the address of a server in a thread of this process; arguments as above.

    Args:
        parser: of HTTP.
        buffer: bytes that wait for a client in the kernel.
    """
    register()
    service = _service(models or {"toy": ToyModel()}, classroom, **options)
    with listen("127.0.0.1", 0) as listening:
        if buffer is not None:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
        port = listening.getsockname()[1]
        rules = Access.to("127.0.0.1", port, (token or "").split(), origins=origins)
        app = create_app(service, replace(rules, classroom=classroom))
        http = connection_type(fast=parser != "h11")
        config = uvicorn.Config(
            app, http=http, log_config=None, ws="none", timeout_graceful_shutdown=2
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{port}"
        server.should_exit = True
        thread.join(SOON)


class Counted(ToyModel):
    """A model that never ends a text and counts its work; each step takes some seconds.

    Attributes:
        starts: the number of sessions that were started.
        reads: the tokens of a prompt that each call has read.
        steps: the number of steps.
        fails: raise at the next step.
    """

    context_length = 10_000

    def __init__(self, seconds=0.0):
        super().__init__(end=False)
        self.seconds, self.starts, self.reads, self.steps = seconds, 0, [], 0
        self.fails = False

    def start(self, tokens):
        self.starts += 1
        self.reads.append(np.shape(tokens)[1])
        return CountedSession(super().start(tokens), self)


class CountedSession(SessionWrapper):
    """A session of `Counted`."""

    def __init__(self, wrapped, model):
        super().__init__(wrapped)
        self.model = model

    def next_logits(self):
        self.model.steps += 1
        time.sleep(self.model.seconds)
        return super().next_logits()

    def extend(self, tokens):
        if self.model.fails:
            raise RuntimeError("out of memory")
        if np.ndim(tokens) == 2:
            self.model.reads.append(np.shape(tokens)[1])
        super().extend(tokens)


def events_of(text):
    """Return the documents of server-sent events; the last one is [DONE]."""
    lines = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def complete(events, index=0):
    """Return the whole text of a choice in events."""
    choices = [choice for event in events for choice in event.get("choices", ())]
    return "".join(choice["text"] for choice in choices if choice["index"] == index)


def sample(model, prompt, **options):
    """Return the texts that `corelm sample` writes."""
    return [text.text for text in corelm.generate(model, prompt, **options)]


def play(client, asked, **body):
    """Return the answer to a request of the live page about a place in a text."""
    response = client.post(f"/api/{asked}", json={"prompt": "the", "seed": 3, **body})
    assert response.status_code == 200, response.text
    return response.json()


def next_word(client, **body):
    """Return the live page's answer about the next word."""
    return play(client, "next", **body)


class Raises(corelm.Sampler):
    """A sampler that raises at a step."""

    at: int = param(0, "the step")

    def __call__(self, logits, context):
        if context.position >= self.at:
            raise RuntimeError("a fault of the plugin")
        return logits


class Spoils(corelm.Sampler):
    """A sampler that returns no distribution."""

    def __call__(self, logits, context):
        return logits * float("nan")


class Hangs(corelm.Sampler):
    """A sampler that takes its time."""

    seconds: float = param(3600.0, "how long")

    def __call__(self, logits, context):
        time.sleep(self.seconds)
        return logits


class Opens(corelm.Sampler):
    """A sampler that opens a file."""

    path: str = param("", "the file", local=True)

    def __post_init__(self):
        super().__post_init__()
        if self.path:
            open(self.path).close()

    def __call__(self, logits, context):
        return logits


class Likeliest(corelm.Decoder):
    """Take the likeliest token that is left at each step."""

    at: int = param(-1, "the step at which it raises")

    def __call__(self, task):
        decoding = task.start()
        for position in range(task.length):
            if position == self.at:
                raise RuntimeError("a fault of the decoder")
            step = decoding.step(decoding.next().logits.argmax(axis=-1))
            is_last = position + 1 == task.length or decoding.is_end(step.tokens).all()
            if not is_last:
                decoding.advance()
            yield step
            if is_last:
                return


class MODULE:
    """A plugin with these samplers, and a decoder."""

    @staticmethod
    @corelm.hookimpl
    def corelm_samplers():
        return {"raises": Raises, "hangs": Hangs, "opens": Opens, "spoils": Spoils}

    @staticmethod
    @corelm.hookimpl
    def corelm_decoders():
        return {"likeliest": Likeliest}


def register():
    """Register the samplers, once."""
    if "raises" not in {offer.name for offer in plugins.registry().offers("corelm_samplers")}:
        plugins.registry().register(MODULE)


def llm_home(folder, address, token, model, more=""):
    """Make a home where the program llm calls a served model `served`; return its environment."""
    (folder / "extra-openai-models.yaml").write_text(
        f"- model_id: served\n  model_name: {model}\n  api_base: {address}/v1\n"
        f"  api_key_name: corelm\n{more}"
    )
    (folder / "keys.json").write_text(json.dumps({"corelm": token}))
    return {"LLM_USER_PATH": str(folder), "LLM_LOAD_PLUGINS": ""}
