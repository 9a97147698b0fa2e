"""A content-addressed cache of finished units of work, shared by all studies.

A unit's result depends only on the unit, the model and the code, so its key is a digest of these.
An interrupted study finds its finished units here, and an edited study finds all units that the
edit doesn't affect.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import sqlite3
import time
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import fields, is_dataclass, replace
from functools import lru_cache
from itertools import chain
from numbers import Integral
from pathlib import Path
from typing import Any, Self

from corelm.runs import Endings, Strategy, machine, scaling
from corelm_report.measure.generated_texts import DrawTexts
from corelm_report.measure.matching import Match
from corelm_report.measure.on_contexts import MeasureOnContexts
from corelm_report.plan.candidates import releases_of
from corelm_report.plan.plan import OWN, RunUnits

FOLDER, NAME = "studies", "units.sqlite"
MOST = 4 * 2**30
"""The most bytes of stored results; beyond it, the oldest eighth is deleted."""
PATIENCE = 60
"""The most seconds to wait while another process writes."""
DAMAGE = (sqlite3.Error, UnicodeDecodeError)
"""Errors of a damaged file: SQLite's message may quote it."""
logger = logging.getLogger("corelm")


class UnitCache:
    """The stored results, as JSON, by key; without a file it stores nothing.

    `hits` and `misses` count each result once: a study that grows reads its own results again.
    `oldest` is the time at which the first of the results that were read or stored was measured.

    Args:
        path: the file, which is created if necessary.
        most: the most bytes of results; beyond it, the oldest are deleted.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with UnitCache(Path(folder) / "units.sqlite") as cache:
        ...         cache.put("a key", "[1, 2]")
        ...         cache.get("a key"), cache.get("another"), cache.hits
        ('[1, 2]', None, 1)
    """

    def __init__(self, path: Path | None = None, most: int = MOST) -> None:
        self.path, self._most = path or machine.home() / FOLDER / NAME, most
        self.hits = self.misses = 0
        self.oldest = math.inf  # seconds since the epoch
        self._counted: set[str] = set()
        self._database: sqlite3.Connection | None = None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._database = _opened(self.path)
        except (OSError, *DAMAGE) as error:
            logger.warning("finished work is not stored: %s: %s", self.path, error)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._database is not None:
            self._database.close()

    def get(self, key: str) -> str | None:
        """Return the result of a key, or None if there is none."""
        result, measured = self._stored(key) or (None, math.inf)
        self.oldest = min(self.oldest, measured)
        if key not in self._counted:
            self._counted.add(key)
            self.hits += result is not None
            self.misses += result is None
        return result

    def time_of(self, key: str) -> float | None:
        """Return when a result was measured, in seconds since the epoch; None if there is none."""
        stored = self._stored(key)
        return None if stored is None else stored[1]

    def _stored(self, key: str) -> tuple[str, float] | None:
        if self._database is None:
            return None
        # A damaged result is measured again.
        with suppress(sqlite3.Error, zlib.error, TypeError, ValueError):
            rows = self._database.execute(
                "SELECT result, measured FROM results WHERE key = ?", (key,)
            )
            for result, measured in rows:
                return zlib.decompress(result).decode(), float(measured)
        return None

    def put(self, key: str, result: str, measured: float | None = None) -> None:
        """Store a result at once, so that it survives if the process is killed.

        Args:
            key: the digest of everything that decides the result.
            result: JSON.
            measured: seconds since the epoch, of a result that was made of earlier ones.
        """
        measured = time.time() if measured is None else measured
        self.oldest = min(self.oldest, measured)
        if self._database is None:
            return
        packed = zlib.compress(result.encode(), level=1)
        try:
            with self._database:
                self._database.execute(
                    "INSERT OR REPLACE INTO results VALUES (?, ?, ?)", (key, packed, measured)
                )
                if _bytes(self._database) > self._most:
                    self._database.execute(
                        "DELETE FROM results WHERE rowid IN (SELECT rowid FROM results ORDER BY "
                        "rowid LIMIT (SELECT count(*) / 8 + 1 FROM results))"
                    )
        except DAMAGE as error:
            logger.warning("finished work is no longer stored: %s: %s", self.path, error)
            self._database.close()
            self._database = None


def _bytes(database: sqlite3.Connection) -> int:
    """Return the size of the stored results, as the file keeps the space of deleted ones."""
    pages, free, size = (
        int(database.execute(f"PRAGMA {name}").fetchone()[0])
        for name in ("page_count", "freelist_count", "page_size")
    )
    return (pages - free) * size


def _opened(path: Path) -> sqlite3.Connection:
    """Open the file; replace one that isn't a database, as after a power cut."""
    for last in (False, True):
        database = sqlite3.connect(path, timeout=PATIENCE)
        try:
            # No waiting for the disk, as a lost unit is just measured again.
            database.execute("PRAGMA synchronous = OFF")
            database.execute(
                "CREATE TABLE IF NOT EXISTS results "
                "(key TEXT PRIMARY KEY, result BLOB NOT NULL, measured REAL NOT NULL)"
            )
            return database
        except DAMAGE as error:
            database.close()
            if last or isinstance(error, sqlite3.OperationalError):
                raise
            logger.warning("%s is damaged; it is started again", path)
            path.unlink()
    raise AssertionError("unreachable")


AHEAD = 64
"""The most stored results in memory while others are measured."""
FAILED = '{"error"'
"""The beginning of a result that is not stored: the next run tries again."""


class CachedRun:
    """A function that takes the results of units from a cache, and runs the missing units.

    Args:
        run: runs the missing units.
        cache: the results of earlier runs.
        scopes: for each model, a digest of the model and of all code except the samplers'.
    """

    def __init__(self, run: RunUnits, cache: UnitCache, scopes: Sequence[str]) -> None:
        self._run, self._cache, self._scopes = run, cache, scopes

    def __call__(
        self, units: Iterator[scaling.Unit | None], model: int
    ) -> Iterator[tuple[scaling.Unit, str]]:
        """Yield each unit with its result, stored or measured, in any order."""
        each = (self._looked_up(unit, model) for unit in units if unit is not None)
        # Stored results are yielded at once; the first missing one starts the run, which takes
        # further units from the same generator.
        for pieces in each:
            if pieces.missing:
                yield from self._measured(chain([pieces], each), model)
            else:
                yield pieces.result()

    def _measured(self, each: Iterable[Pieces], model: int) -> Iterator[tuple[scaling.Unit, str]]:
        """Run units until many stored results wait, or to the end."""
        open_: dict[str, Pieces] = {}
        stored: deque[Pieces] = deque()

        def missing() -> Iterator[scaling.Unit]:
            for pieces in each:
                if pieces.missing:
                    rest = pieces.rest()
                    open_[rest.name] = pieces
                    yield rest
                else:
                    stored.append(pieces)
                if len(stored) >= AHEAD:
                    return

        for unit, result in self._run(missing(), model):
            pieces = open_.pop(unit.name)
            for at, piece in pieces.split(result).items():
                pieces.stored[at] = piece
                if not piece.startswith(FAILED):
                    self._cache.put(pieces.keys[at], piece)
            yield pieces.result()
            while stored:
                yield stored.popleft().result()
        yield from (pieces.result() for pieces in stored)

    def _looked_up(self, unit: scaling.Unit, model: int) -> Pieces:
        pieces = PIECES.get(type(unit), Pieces)(unit, self._scopes[model])
        stored = {at: self._cache.get(key) for at, key in enumerate(pieces.keys)}
        pieces.stored = {at: each for at, each in stored.items() if each is not None}
        return pieces


PLACES = {"stage", "entry", "number"}
"""The fields that place a unit in a report, without an effect on its result."""


def digest(content: Any) -> str:
    """Return the digest of a value that JSON can hold."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def content(value: Any) -> Any:
    """Return the content of a unit's value as a JSON value."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Integral):  # a NumPy number
        return int(value)
    if isinstance(value, Strategy):
        return _of_strategy(str(value))
    if isinstance(value, Endings):
        return [[name, content(each)] for name, each in value.settings.items()]
    if isinstance(value, (list, tuple, range)):
        return [content(each) for each in value]
    named: list[Any] = [type(value).__qualname__]
    if is_dataclass(value):
        names = [each.name for each in fields(value) if each.name not in PLACES]
        named += [[name, content(getattr(value, name))] for name in names]
        return named + (
            [content(Strategy.of(value.expression))] if isinstance(value, Match) else []
        )
    return [*named, content(value.__reduce__()[1])]  # the values from which a copy is made


@lru_cache(maxsize=4096)
def _of_strategy(expression: str) -> list[Any]:
    """Return a sampler's expression, its code's versions and digests, its secrets' hashes."""
    strategy = Strategy.of(expression)
    things = [thing for thing in strategy if thing is not None]
    of_sampler = scaling.Dependencies(things, OWN)
    return [expression, releases_of(strategy), of_sampler.code, of_sampler.secrets]


class Pieces:
    """A unit, and the pieces in which its result is stored: here one.

    Attributes:
        unit: the unit.
        keys: the key of each piece.
        stored: the pieces that are known, by index.
    """

    def __init__(self, unit: Any, scope: str) -> None:
        self.unit = unit
        self.keys = [digest([scope, each]) for each in self.contents()]
        self.stored: dict[int, str] = {}

    @property
    def missing(self) -> list[int]:
        """The indices of the other pieces."""
        return [at for at in range(len(self.keys)) if at not in self.stored]

    def contents(self) -> list[Any]:
        """Return the content of each piece of the result."""
        return [content(self.unit)]

    def rest(self) -> scaling.Unit:
        """Return the unit that measures the missing pieces."""
        unit: scaling.Unit = self.unit
        return unit

    def split(self, result: str) -> dict[int, str]:
        """Return the missing pieces by index, from the result of `rest`."""
        return {0: result}

    def joined(self, pieces: Sequence[str]) -> str:
        """Return the result of the whole unit."""
        return pieces[0]

    def result(self) -> tuple[scaling.Unit, str]:
        """Return the unit with its whole result, once no piece is missing."""
        return self.unit, self.joined([self.stored[at] for at in range(len(self.keys))])


class PiecesOnContexts(Pieces):
    """Samplers on contexts, stored in pieces, so that a new sampler reuses the other results.

    The pieces are the model's record, the temperature curve, and each sampler's record.
    """

    def contents(self) -> list[Any]:
        unit, first = self.unit, self.unit.first
        contexts = digest(content(unit.contexts))
        kinds: list[Any] = ["model", ["curve", list(unit.temperatures)]]
        return [[kind, contexts, first] for kind in [*kinds, *map(content, unit.samplers)]]

    def rest(self) -> scaling.Unit:
        # The model's record comes with any of them.
        samplers = tuple(self.unit.samplers[at - 2] for at in self.missing if at >= 2)
        at = self.unit.temperatures if 1 in self.missing else ()
        unit: MeasureOnContexts = replace(self.unit, samplers=samplers, temperatures=at)
        return unit

    def split(self, result: str) -> dict[int, str]:
        unit = json.loads(result)
        samplers = zip((at for at in self.missing if at >= 2), unit["samplers"], strict=True)
        pieces = {0: unit["model"], 1: unit["curve"]} | dict(samplers)
        return {at: json.dumps(pieces[at]) for at in self.missing}

    def joined(self, pieces: Sequence[str]) -> str:
        model, curve, *samplers = pieces
        return f'{{"model": {model}, "samplers": [{", ".join(samplers)}], "curve": {curve}}}'


class PiecesOfTexts(Pieces):
    """Texts of several samplers, of which each share is stored."""

    def contents(self) -> list[Any]:
        # Texts without details are drawn again where a report keeps them.
        return [[content(each), self.unit.detailed_of(each)] for each in self.unit.shares]

    def rest(self) -> scaling.Unit:
        shares = tuple(self.unit.shares[at] for at in self.missing)
        unit: DrawTexts = replace(self.unit, shares=shares)
        return unit

    def split(self, result: str) -> dict[int, str]:
        return dict(zip(self.missing, map(json.dumps, json.loads(result)), strict=True))

    def joined(self, pieces: Sequence[str]) -> str:
        return f"[{', '.join(pieces)}]"


PIECES: dict[type, type[Pieces]] = {
    DrawTexts: PiecesOfTexts,
    MeasureOnContexts: PiecesOnContexts,
}
"""The pieces of each kind of unit; of any other kind, the result is one piece."""
