"""The things that all requests share: the models, their schedulers, limits and figures."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping

from corelm import LanguageModel
from corelm_serve.answers import Call
from corelm_serve.metrics import Metrics
from corelm_serve.models import ServedModel
from corelm_serve.play.classroom import Classroom
from corelm_serve.play.rows import RowCache
from corelm_serve.requests.strategy_cache import StrategyCache
from corelm_serve.scheduling.scheduler import Scheduler
from corelm_serve.settings import Limits


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
        self.rows = {
            (name, unknown): RowCache(model, unknown)
            for name, model in models.items()
            for unknown in (False, True)
        }
        self.metrics = Metrics(self.schedulers)
        self.strategies = StrategyCache()

    def scheduler_of(self, call: Call) -> Scheduler:
        """Return the scheduler of a request."""
        return self.schedulers[call.served.name]

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
