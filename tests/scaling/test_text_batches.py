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
        """Two workers, one of which never ends while there is other work."""

        given = 0

        def run(self, units, model):
            slow = next(units)
            while (unit := next(units, None)) is not None:
                self.given += 1
                yield unit, json.dumps(unit.name)
            yield slow, json.dumps(slow.name)
            while (unit := next(units, None)) is not None:
                yield unit, json.dumps(unit.name)

    monkeypatch.setattr(text_batches, "EARLY", 3)
    slow = Slow()
    assert list(in_order(slow.run, (Unit(n) for n in range(20)))) == [f'"{n}"' for n in range(20)]
    assert slow.given == 3
