"""The content of a unit of work: everything that its result depends on besides the model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import lru_cache
from numbers import Integral
from typing import Any

from corelm.reports.measure.units import Match, MeasureOnContexts
from corelm.reports.plan.candidates import releases_of
from corelm.scaling.code_digests import code_of
from corelm.scaling.executor import Unit
from corelm.scaling.job import hashes_of_secrets
from corelm.toolkit import Endings, Strategy, parts, strategy

PLACES = {"stage", "entry", "number"}
"""The fields that say where in a report a unit belongs; its result does not depend on them."""


def digest(content: Any) -> str:
    """Return the digest of a value that JSON can hold."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def content(value: Any) -> Any:
    """Return the content of a value of a unit, as JSON can hold it."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Integral):  # of NumPy
        return int(value)
    if isinstance(value, Strategy):
        return _of_strategy(str(value))
    if isinstance(value, Endings):
        return [[name, content(each)] for name, each in value.settings.items()]
    if isinstance(value, (list, tuple, range)):
        return [content(each) for each in value]
    named: list[Any] = [type(value).__qualname__]
    if is_dataclass(value):
        kept = [each.name for each in fields(value) if each.name not in PLACES]
        named += [[name, content(getattr(value, name))] for name in kept]
        return named + ([content(strategy(value.expression))] if isinstance(value, Match) else [])
    return [*named, content(value.__reduce__()[1])]  # what a copy elsewhere would be made from


@lru_cache(maxsize=4096)
def _of_strategy(expression: str) -> list[Any]:
    """Return the expression of a sampler, the versions and digests of its code, its secrets."""
    found = strategy(expression)
    things = [thing for thing in found if thing is not None]
    code = code_of(part for thing in things for part in parts(thing))
    return [expression, releases_of(found), code, hashes_of_secrets(things)]


@dataclass(frozen=True)
class Whole:
    """A unit whose result is stored as a whole."""

    unit: Unit

    def contents(self) -> list[Any]:
        """Return the content of each piece of the result."""
        return [content(self.unit)]

    def rest(self, missing: Sequence[int]) -> Unit:
        """Return the unit that measures the missing pieces."""
        return self.unit

    def split(self, result: str, missing: Sequence[int]) -> dict[int, str]:
        """Return the missing pieces by index, from the result of `rest`."""
        return {0: result}

    def joined(self, pieces: Sequence[str]) -> str:
        """Return the result of the whole unit."""
        return pieces[0]


@dataclass(frozen=True)
class OnContexts:
    """Samplers on the same contexts: a further sampler does not measure the others again.

    The pieces are the model's own record, the temperature curve, and each sampler's.
    """

    unit: MeasureOnContexts

    def contents(self) -> list[Any]:
        """Return the content of each piece of the result."""
        unit, first = self.unit, self.unit.first
        contexts = digest(content(unit.contexts))
        kinds: list[Any] = ["model", ["curve", list(unit.temperatures)]]
        return [[kind, contexts, first] for kind in [*kinds, *map(content, unit.samplers)]]

    def rest(self, missing: Sequence[int]) -> Unit:
        """Return the unit that measures the missing pieces; the model's record comes with it."""
        samplers = tuple(self.unit.samplers[at - 2] for at in missing if at >= 2)
        at = self.unit.temperatures if 1 in missing else ()
        return replace(self.unit, samplers=samplers, temperatures=at)

    def split(self, result: str, missing: Sequence[int]) -> dict[int, str]:
        """Return the missing pieces by index, from the result of `rest`."""
        found = json.loads(result)
        samplers = dict(zip((at for at in missing if at >= 2), found["samplers"], strict=True))
        pieces = {0: found["model"], 1: found["curve"]} | samplers
        return {at: json.dumps(pieces[at]) for at in missing}

    def joined(self, pieces: Sequence[str]) -> str:
        """Return the result of the whole unit."""
        model, curve, *samplers = pieces
        return f'{{"model": {model}, "samplers": [{", ".join(samplers)}], "curve": {curve}}}'


def pieces_of(unit: Unit) -> Whole | OnContexts:
    """Return a unit with the pieces in which its result is stored."""
    return OnContexts(unit) if isinstance(unit, MeasureOnContexts) else Whole(unit)
