"""Batches of texts as units of work."""

from __future__ import annotations

import json

from corelm.scaling import text_batches
from corelm.scaling.text_batches import in_order


def test_results_that_wait_for_an_earlier_one_stay_few(monkeypatch):
    class Unit:
        def __init__(self, number):
            self.name = str(number)

    class Slow:
        """An executor with two workers, one of which never ends while there is other work."""

        given = 0

        def run(self, units):
            slow = next(units)
            while (unit := next(units, None)) is not None:
                self.given += 1
                yield unit, json.dumps(unit.name)
            yield slow, json.dumps(slow.name)
            while (unit := next(units, None)) is not None:
                yield unit, json.dumps(unit.name)

    monkeypatch.setattr(text_batches, "EARLY", 3)
    executor = Slow()
    assert list(in_order(executor, (Unit(n) for n in range(20)))) == [f'"{n}"' for n in range(20)]
    assert executor.given == 3
