"""Do units in a worker, which loads the model of a job once."""

from __future__ import annotations

import json
import pickle
import threading
from functools import lru_cache

from corelm import LanguageModel
from corelm.scaling.engine import Unit
from corelm.scaling.job import Job

MODELS = 2
"""The number of models that a worker keeps: that of a report, and that of its scorer."""

_one_at_a_time = threading.Lock()


def packed(unit: Unit) -> bytes:
    """Return a unit as bytes, which a worker reads when it knows that its versions are right."""
    return pickle.dumps(unit)


def do(job: Job, unit: bytes) -> str:
    """Do a packed unit; return its result as JSON.

    Raises:
        EngineError: the worker has other versions than the job needs.
    """
    with _one_at_a_time:
        model = _loaded(job)
        return json.dumps(pickle.loads(unit)(model))


@lru_cache(maxsize=MODELS)
def _loaded(job: Job) -> LanguageModel:
    return job.load()
