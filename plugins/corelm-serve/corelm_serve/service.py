"""The things that all requests share: the models, their schedulers, limits and figures."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from corelm import LanguageModel
from corelm.abilities import FullVocabulary
from corelm.runs import printable
from corelm_serve.errors import ApiError
from corelm_serve.play.rows import RowCache
from corelm_serve.scheduling.scheduler import Limits, Scheduler

if TYPE_CHECKING:
    from corelm_serve.play.classroom import Classroom

SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 600)

GAUGES: dict[str, tuple[str, Callable[[Scheduler], float]]] = {
    "waiting_jobs": ("Prompts that wait for a model.", lambda each: each.waiting),
    "running_rows": ("Texts that are being written.", lambda each: each.running),
    "hanging_threads": (
        "Threads that were given up and still run.", lambda each: each.hanging().total()
    ),
    "prefix_hits": (
        "Prompts whose beginning had been read before.", lambda each: each.prefixes.hits
    ),
    "prefix_tokens_saved": (
        "Tokens of prompts that were not read again.", lambda each: each.prefixes.saved
    ),
    "prefix_tokens": ("Tokens of prompts that are kept.", lambda each: each.prefixes.tokens),
}  # fmt: skip
"""The figures of a scheduler, each with its help."""


@dataclass(frozen=True, eq=False)
class ServedModel:
    """A model under the name that requests use."""

    name: str
    model: LanguageModel
    created: int = field(default_factory=lambda: int(time.time()))
    source: str | None = None
    """The model as given with `--model`; None if clients may not see it, since it may be a
    folder."""

    @property
    def context_length(self) -> int | None:
        """The largest number of tokens that the model attends to; None if it doesn't say."""
        length = getattr(self.model, "context_length", None)
        return length if isinstance(length, int) else None

    def ids(self, prompt: str | tuple[int, ...], *, may_be_empty: bool = False) -> list[int]:
        """Return the ids of a prompt.

        Ids stay as they are: an echoed prompt has a log-probability for each that was sent.

        Raises:
            ApiError: an id that the vocabulary doesn't have, or an empty prompt that can't begin
                a text.
        """
        vocabulary = self.model.vocabulary
        if isinstance(prompt, str):
            ids = FullVocabulary(vocabulary).prompt_ids(prompt)
        else:
            ids = list(prompt)
        size = len(vocabulary)
        if wrong := [i for i in ids if i >= size]:
            message = f"there is no token {wrong[0]}; the ids are 0 to {size - 1}"
            raise ApiError(message, param="prompt", code="invalid_value")
        if not ids and vocabulary.start is None and not may_be_empty:
            message = "this model cannot continue an empty text; the prompt needs a token"
            raise ApiError(message, param="prompt", code="invalid_value")
        return ids


def find(models: Mapping[str, ServedModel], name: str | None) -> ServedModel:
    """Return the model of a name; without one, the only model.

    Raises:
        ApiError: no such model. Only the names given when the server started count, never paths.
    """
    if name is None and len(models) == 1:
        return next(iter(models.values()))
    if name is None or name not in models:
        hint = printable.did_you_mean(name or "", models)
        what = (
            "model is missing"
            if name is None
            else f"there is no model {printable.shown(name)}{hint}"
        )
        message = f"{what} (there are: {', '.join(models)})"
        raise ApiError(message, 404 if name else 400, param="model", code="model_not_found")
    return models[name]


class Metrics:
    """The figures of a server.

    Args:
        schedulers: the schedulers of its models, by name.
    """

    def __init__(self, schedulers: Mapping[str, Scheduler]) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "corelm_requests", "Requests by route and status.", ["route", "status"],
            registry=self._registry,
        )  # fmt: skip
        self.tokens = Counter(
            "corelm_tokens", "Tokens by model and kind: prompt or drawn.", ["model", "kind"],
            registry=self._registry,
        )  # fmt: skip
        self.seconds = Histogram(
            "corelm_request_seconds", "Time from a request to its last byte.", ["route"],
            registry=self._registry, buckets=SECONDS,
        )  # fmt: skip
        self.first = Histogram(
            "corelm_first_token_seconds", "Time from a request to its first streamed token.",
            registry=self._registry, buckets=SECONDS,
        )  # fmt: skip
        # Looking labels up takes longer than counting.
        self._requests, self._tokens = cache(self.requests.labels), cache(self.tokens.labels)
        self._seconds = cache(self.seconds.labels)
        for name, (help, figure) in GAUGES.items():
            gauge = Gauge(f"corelm_{name}", help, ["model"], registry=self._registry)
            for model, scheduler in schedulers.items():
                gauge.labels(model).set_function(partial(figure, scheduler))

    def note(self, route: str, status: int, seconds: float) -> None:
        """Count a request of a route, which took some seconds."""
        self._requests(route, str(status)).inc()
        self._seconds(route).observe(seconds)

    def count(self, model: str, prompt: int, drawn: int) -> None:
        """Count the tokens of a request's prompts, and those drawn."""
        self._tokens(model, "prompt").inc(prompt)
        self._tokens(model, "drawn").inc(drawn)

    def text(self) -> bytes:
        """Return the figures."""
        return generate_latest(self._registry)


class Service:
    """The models of a server and the threads that own them.

    Args:
        models: the models, by the names that requests use.
        limits: the bounds.
        log_texts: write the bodies of requests into the log.
        classroom: what the students and the teacher of a class share; None for no class.
        sources: the models as `--model` takes them, which clients may then read.
    """

    def __init__(
        self,
        models: Mapping[str, LanguageModel],
        limits: Limits | None = None,
        log_texts: bool = False,
        sources: Mapping[str, str] | None = None,
        classroom: Classroom | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self.log_texts = log_texts
        self.classroom = classroom
        self.models = {
            name: ServedModel(name, model, source=(sources or {}).get(name))
            for name, model in models.items()
        }
        self.schedulers = {name: Scheduler(model, self.limits) for name, model in models.items()}
        self.metrics = Metrics(self.schedulers)
        self.hanging: dict[int, str] = {}
        """The threads that were given up for the live page, each with the sampler it hangs in."""

    @cached_property
    def rows(self) -> dict[str, RowCache]:
        """The caches of the live page, by a model's name.

        Made in the event loop alone, when a page asks first.
        """
        return {name: RowCache(served.model) for name, served in self.models.items()}

    @property
    def running(self) -> int:
        """The number of rows that are written."""
        return sum(scheduler.running for scheduler in self.schedulers.values())

    def begin_stop(self) -> None:
        """Take no new requests; end running ones after the grace period. Returns at once."""
        threading.Thread(target=self._stop, name="corelm-serve-stop", daemon=True).start()

    def _stop(self) -> None:
        for scheduler in self.schedulers.values():
            scheduler.stop()
        end = time.monotonic() + self.limits.grace
        while self.running and time.monotonic() < end:
            time.sleep(0.05)
        for scheduler in self.schedulers.values():
            scheduler.end()

    def close(self) -> None:
        """End the threads."""
        for scheduler in self.schedulers.values():
            scheduler.close()
