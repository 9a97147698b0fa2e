"""A client of the server, and samplers that misbehave."""

import contextlib
import json
import threading
import time
from dataclasses import replace

import uvicorn
from corelm_serve.security import Access
from corelm_serve.server import create_app, listen
from corelm_serve.service import Service
from starlette.testclient import TestClient

import corelm
from corelm import param
from corelm.runs import plugins
from corelm.testing import ToyModel

__all__ = ["MODULE", "URL", "Client", "ToyModel", "complete", "events_of", "sample", "served"]

URL = "http://127.0.0.1:8000"


class Client(TestClient):
    """A client in this process."""

    def __init__(self, app, url, service):
        super().__init__(app, base_url=url)
        self.service = service

    def complete(self, **body):
        """Return the answer to a completion."""
        response = self.post("/v1/completions", json={"model": "toy", "prompt": "the", **body})
        assert response.status_code == 200, response.text
        return response.json()

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


@contextlib.contextmanager
def served(models, limits=None, token=None, classroom=None, **access):
    """Yield the address of a server in a thread of this process.

    Args:
        models: its models by name.
        limits: its limits.
        token: its token.
        classroom: the class of its live page.
        access: more arguments of `Access.to`.
    """
    service = Service(models, limits, classroom=classroom)
    with listen("127.0.0.1", 0) as socket:
        port = socket.getsockname()[1]
        rules = Access.to("127.0.0.1", port, token, **access)
        app = create_app(service, replace(rules, classroom=classroom))
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{port}"
        server.should_exit = True
        thread.join(30)


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
