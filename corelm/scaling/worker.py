"""Do units in a worker, which loads the model of a job once."""

from __future__ import annotations

import json
import logging
import pickle
import threading
from functools import lru_cache

from corelm import LanguageModel
from corelm.errors import ExecutorError
from corelm.scaling.executor import Unit
from corelm.scaling.job import Job
from corelm.toolkit import reason_of

MODELS = 2
"""The number of models that a worker keeps: that of a report, and that of its scorer."""

_one_at_a_time = threading.Lock()


def packed(unit: Unit) -> bytes:
    """Return a unit as bytes, which a worker reads when it knows that its versions are right."""
    return pickle.dumps(unit)


def do(job: Job, unit: bytes) -> str:
    """Do a packed unit; return its result as JSON.

    Raises:
        ExecutorError: the worker has other versions than the job needs.
        Exception: the unit's own error, or an `ExecutorError` with its message.
    """
    with _one_at_a_time:
        try:
            model = _loaded(job)
            return json.dumps(pickle.loads(unit)(model))
        except BaseException as error:  # a plugin's may be no Exception, which would end the worker
            if _travels(error):
                raise
            reason = reason_of(error)
        raise ExecutorError(reason)  # out here, so that it has no context, which would travel too


@lru_cache(maxsize=MODELS)
def _loaded(job: Job) -> LanguageModel:
    # The command has loaded the same plugins, and has said what was wrong with them.
    logging.getLogger("corelm").setLevel(logging.ERROR)
    return job.load()


def _travels(error: BaseException) -> bool:
    """Return True if an error can be raised in another process."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return False
    return isinstance(error, Exception)
