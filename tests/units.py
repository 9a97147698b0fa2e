"""Units of work for the tests of executors; workers import them from here."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import dataclass

import corelm
from corelm.scaling.job import _loaded


@dataclass(frozen=True)
class Double:
    """A unit: twice its number."""

    number: int

    @property
    def name(self) -> str:
        return f"double {self.number}"

    def __call__(self, model: object) -> int:
        return 2 * self.number


@dataclass(frozen=True)
class Suicide:
    """A unit that kills its process."""

    name: str = "suicide"

    def __call__(self, model: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Raise:
    """A unit that raises an error."""

    error: type[BaseException]
    name: str = "raise"

    def __call__(self, model: object) -> None:
        raise self.error("1 of them")


@dataclass(frozen=True)
class CountWords:
    """A unit: the number of words of its model."""

    name: str = "words"

    def __call__(self, model: corelm.LanguageModel) -> int:
        return len(model.vocabulary)


def loaded_models() -> int:
    """The number of models that a worker has loaded."""
    return _loaded.cache_info().currsize


class OddError(BaseException):
    """An error that cannot be pickled, nor is an Exception."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.lock = threading.Lock()
