"""An executor that measures only what the cache does not have."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain

from corelm.scaling.executor import Executor, Unit
from corelm.studies.contents import OnContexts, Whole, digest, pieces_of
from corelm.studies.unit_cache import UnitCache

AHEAD = 64
"""Stored results in memory at most, while others are measured."""
FAILED = '{"error"'
"""The beginning of a result that is not stored: the next run tries again."""


@dataclass
class _Work:
    """A unit, the keys of its pieces, and the pieces that are known."""

    pieces: Whole | OnContexts
    keys: Sequence[str]
    known: dict[int, str] = field(default_factory=dict)

    @property
    def unit(self) -> Unit:
        return self.pieces.unit

    @property
    def missing(self) -> list[int]:
        return [at for at in range(len(self.keys)) if at not in self.known]

    def result(self) -> tuple[Unit, str]:
        return self.unit, self.pieces.joined([self.known[at] for at in range(len(self.keys))])


class CachingExecutor:
    """Takes results from a cache, and gives what is missing to another executor.

    Args:
        executor: measures what is missing.
        cache: the results of earlier runs.
        scopes: for each model of the executor, a digest of the model and of the code that is not
            the samplers'.
    """

    def __init__(self, executor: Executor, cache: UnitCache, scopes: Sequence[str]) -> None:
        self._executor, self._cache, self._scopes = executor, cache, scopes

    def run(self, units: Iterator[Unit | None], model: int = 0) -> Iterator[tuple[Unit, str]]:
        """Yield each unit with its result, stored or measured, in any order."""
        works = (self._work(unit, model) for unit in units if unit is not None)
        for work in works:
            if work.missing:
                yield from self._measured(chain([work], works), model)
            else:
                yield work.result()

    def _measured(self, works: Iterable[_Work], model: int) -> Iterator[tuple[Unit, str]]:
        """Measure units until many stored ones wait, or to the end."""
        open_: dict[str, _Work] = {}
        stored: deque[_Work] = deque()

        def missing() -> Iterator[Unit]:
            for work in works:
                if work.missing:
                    open_[work.unit.name] = work
                    yield work.pieces.rest(work.missing)
                else:
                    stored.append(work)
                if len(stored) >= AHEAD:
                    return

        for unit, result in self._executor.run(missing(), model):
            yield self._finished(open_.pop(unit.name), result)
            while stored:
                yield stored.popleft().result()
        yield from (work.result() for work in stored)

    def _work(self, unit: Unit, model: int) -> _Work:
        pieces = pieces_of(unit)
        keys = [digest([self._scopes[model], each]) for each in pieces.contents()]
        work = _Work(pieces, keys)
        for at, key in enumerate(keys):
            found = self._cache.get(key)
            if found is not None:
                work.known[at] = found
        return work

    def _finished(self, work: _Work, result: str) -> tuple[Unit, str]:
        for at, piece in work.pieces.split(result, work.missing).items():
            work.known[at] = piece
            if not piece.startswith(FAILED):
                self._cache.put(work.keys[at], piece)
        return work.result()

    def close(self) -> None:
        """End the workers."""
        self._executor.close()
