"""Servers: the APIs of OpenAI, llama.cpp, KoboldCpp and Ollama.

A request goes to the URL that the user gives and nowhere else: no redirect is followed, and no
proxy of the environment is used.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any, TypeVar
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from corelm.errors import UsageError
from corelm.runs import printable
from corelm_probe.engine import STRIDE, Engine, EngineError, Settings, padded
from corelm_probe.models import CHARACTERS, MODELS

CONNECTIONS, TIMEOUT = 8, 120.0
LARGEST = 1 << 25
"""The largest answer, in bytes."""
LARGEST_LOGPROB = 1e30
"""Nats: no probability has a larger logarithm."""
T = TypeVar("T")
SEEDS = 999_983
"""Seeds are below this prime: KoboldCpp allows six digits."""
PER_REQUEST = 8
"""The texts per request of an API that can have several: llama.cpp allows as many as its slots."""

Body = dict[str, Any]
TEXT = MODELS["flat"]
"""A model for its vocabulary, which is the same in all."""


@dataclass(frozen=True)
class Api:
    """The requests and answers of a kind of server.

    Attributes:
        path: the path of the requests.
        format: the engine's name in `corelm.from_settings`.
        body: makes a request from the model's name, a prompt's ids, the number of texts, a seed and
            their length.
        texts: reads the ids of each text in an answer.
        several: True if a request can have more than one text.
        logprobs: reads the log-probabilities of the first text; None if the API has none.
        ask_logprobs: the keys that request them.
    """

    path: str
    format: str
    body: Callable[[str, Sequence[int], int, int, int], Body]
    texts: Callable[[Any], list[list[int]]]
    several: bool = False
    logprobs: Callable[[Any], list[float]] | None = None
    ask_logprobs: Mapping[str, Any] | None = None


def _openai(served: str, prompt: Sequence[int], n: int, seed: int, length: int) -> Body:
    body = {"prompt": TEXT.decode(list(prompt)), "n": n, "seed": seed, "max_tokens": length}
    return body | ({"model": served} if served else {})


def _llama_cpp(served: str, prompt: Sequence[int], n: int, seed: int, length: int) -> Body:
    return {"prompt": [*prompt], "seed": seed, "n_predict": length, "return_tokens": True}


def _koboldcpp(served: str, prompt: Sequence[int], n: int, seed: int, length: int) -> Body:
    text = TEXT.decode(list(prompt))
    return {"prompt": text, "sampler_seed": seed + 1, "max_length": length, "quiet": True}


def _ollama(served: str, prompt: Sequence[int], n: int, seed: int, length: int) -> Body:
    text, options = TEXT.decode(list(prompt)), {"seed": seed, "num_predict": length}
    return {"model": served, "prompt": text, "raw": True, "stream": False, "options": options}


APIS: Mapping[str, Api] = {
    "openai": Api(
        "/v1/completions",
        "openai",
        _openai,
        lambda answer: [_ids(choice["text"]) for choice in answer["choices"]],
        several=True,
        logprobs=lambda answer: answer["choices"][0]["logprobs"]["token_logprobs"],
        ask_logprobs={"logprobs": 1},
    ),
    "llama.cpp": Api(
        "/completion",
        "llama.cpp",
        _llama_cpp,
        lambda answer: [answer["tokens"]],
        logprobs=lambda answer: [one["logprob"] for one in answer["completion_probabilities"]],
        ask_logprobs={"n_probs": 1},
    ),
    "koboldcpp": Api(
        "/api/v1/generate",
        "koboldcpp",
        _koboldcpp,
        lambda answer: [_ids(result["text"]) for result in answer["results"]],
    ),
    "ollama": Api("/api/generate", "ollama", _ollama, lambda answer: [_ids(answer["response"])]),
}
"""The APIs by name."""


def _ids(text: str) -> list[int]:
    unknown = sorted(set(text) - set(CHARACTERS))
    if unknown:
        raise EngineError(
            f"the server wrote {unknown[0]!r}, which is no token: does it run one of "
            "`corelm probe models`?"
        )
    return TEXT.encode(text)


class HttpEngine(Engine):
    """A server.

    Args:
        url: its address, such as `http://localhost:8080`; the API's path is appended to its own.
        api: one of `APIS`.
        served: the model's name in requests; if empty, OpenAI requests omit it.
        key: sent as a bearer token; empty for servers without keys.
        timeout: the most seconds of an answer, from the request to its last byte.

    Raises:
        UsageError: an unknown API or an invalid URL.
    """

    def __init__(
        self,
        url: str,
        api: str = "openai",
        served: str = "",
        key: str = "",
        timeout: float = TIMEOUT,
    ) -> None:
        if api not in APIS:
            hint = printable.did_you_mean(api, APIS)
            raise UsageError(f"there is no API {api!r}{hint}: {', '.join(APIS)}")
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(f"expected a URL such as http://localhost:8080, not {url!r}")
        self.name = f"{url} ({api})"
        self.format = APIS[api].format
        self.reports_logprobs = APIS[api].logprobs is not None
        self._api, self._served, self._url = APIS[api], served, parts
        self._timeout = timeout
        self._headers = {"Content-Type": "application/json", "Connection": "close"}
        if key:
            self._headers["Authorization"] = f"Bearer {key}"
        self._pool = ThreadPoolExecutor(CONNECTIONS)

    def __enter__(self) -> HttpEngine:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Wait for the requests, and end their threads."""
        self._pool.shutdown()

    def draw(
        self, prompt: Sequence[int], settings: Settings, n: int, seed: int, length: int
    ) -> NDArray[np.int64]:
        """Return texts, (n, length), from concurrent requests with a seed each."""
        size = PER_REQUEST if self._api.several else 1
        drawn: list[list[int]] = []
        number = seed * STRIDE
        while len(drawn) < n:
            missing = n - len(drawn)
            sizes = [min(size, missing - i) for i in range(0, missing, size)]
            # Servers count the seeds of a request's texts up from its seed, so seeds are `size`
            # apart.
            jobs = [(prompt, settings, k, number + i * size, length) for i, k in enumerate(sizes)]
            answers = list(self._pool.map(lambda job: self._texts(*job), jobs))
            drawn += [text for texts in answers for text in texts]
            number += len(jobs) * size
            if size > 1 and len(answers[0]) == 1:
                size = 1  # the server ignores the number of texts
        return padded(drawn[:n], length)

    def draw_batch(
        self, prompts: Sequence[Sequence[int]], settings: Settings, seed: int, length: int
    ) -> NDArray[np.int64]:
        """Return a text after each prompt, from concurrent requests with the same seed."""
        jobs = [(prompt, settings, 1, seed, length) for prompt in prompts]
        return padded([t[0] for t in self._pool.map(lambda job: self._texts(*job), jobs)], length)

    def logprobs(
        self, prompt: Sequence[int], settings: Settings, seed: int, length: int
    ) -> tuple[list[int], list[float]]:
        """Return the ids of a text, and the log-probabilities that the server reports."""
        texts, logprobs = self._api.texts, self._api.logprobs
        if logprobs is None:
            return super().logprobs(prompt, settings, seed, length)
        asked = {**settings, **(self._api.ask_logprobs or {})}
        answer = self._answer(prompt, asked, 1, seed, length)
        text, numbers = self._read(lambda a: (texts(a)[0], logprobs(a)), answer)
        self._check_ids([text])
        # A comparison, as a long integer is no float; nan fails it.
        if not all(type(one) in (int, float) and abs(one) < LARGEST_LOGPROB for one in numbers):
            raise EngineError(f"{self.name} answers with log-probabilities that are no numbers")
        return text, numbers

    def _texts(
        self, prompt: Sequence[int], settings: Settings, n: int, seed: int, length: int
    ) -> list[list[int]]:
        texts: list[list[int]] = self._read(
            self._api.texts, self._answer(prompt, settings, n, seed, length)
        )
        self._check_ids(texts)
        return texts

    def _check_ids(self, texts: Any) -> None:
        if not texts or not all(isinstance(text, list) for text in texts):
            raise EngineError(f"{self.name} answers without a text")
        if not all(type(token) is int and 0 <= token < 2**31 for text in texts for token in text):
            raise EngineError(f"{self.name} answers with ids that are none")

    def _read(self, read: Callable[[Any], T], answer: Any) -> T:
        try:
            return read(answer)
        except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
            raise EngineError(
                f"{self.name} has no {error} in its answer, which this API has; is it another one?"
            ) from error

    def _answer(
        self, prompt: Sequence[int], settings: Settings, n: int, seed: int, length: int
    ) -> Any:
        body = self._api.body(self._served, prompt, n, seed % SEEDS, length)
        own = {key: value for key, value in settings.items() if value is not None}
        if "options" in body:  # Ollama nests its settings under `options`
            body["options"] = {**own.pop("options", {}), **own, **body["options"]}
            own = {}
        return self._post({**own, **body})

    def _post(self, body: Body) -> Any:
        path = self._url.path.rstrip("/") + self._api.path
        data = json.dumps(body).encode()
        make = HTTPSConnection if self._url.scheme == "https" else HTTPConnection
        connection = make(str(self._url.hostname), self._url.port, timeout=self._timeout)
        # A timeout of the socket is for each packet: a server may send one a second for ever.
        is_late = threading.Event()
        watch = threading.Timer(self._timeout, _cut, [connection, is_late])
        watch.start()
        try:
            connection.request("POST", path, data, self._headers)
            response = connection.getresponse()
            content = response.read(LARGEST)
            if is_late.is_set():  # a part of the content
                raise TimeoutError
        except (OSError, HTTPException, ValueError) as error:
            if is_late.is_set():
                raise EngineError(
                    f"{self.name} took longer than {self._timeout:g} s for an answer"
                ) from error
            raise EngineError(f"{self.name} cannot be reached: {error}") from error
        finally:
            watch.cancel()
            connection.close()
        if response.status != 200:
            text = printable.one_line(content[:300].decode("utf-8", "replace"))
            raise EngineError(f"{self.name} answers {response.status}: {text}")
        try:
            return json.loads(content)
        except (ValueError, RecursionError) as error:
            raise EngineError(f"{self.name} answers with something other than JSON") from error


def _cut(connection: HTTPConnection, is_late: threading.Event) -> None:
    """End what waits for a connection's answer."""
    is_late.set()
    if connection.sock is not None:
        with suppress(OSError):
            connection.sock.shutdown(socket.SHUT_RDWR)
