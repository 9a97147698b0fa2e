"""Properties that are computed once, without a lock."""

from __future__ import annotations

from corelm.caching import cached_property


class Counted:
    def __init__(self):
        self.calls = 0

    @cached_property
    def value(self):
        """The answer."""
        self.calls += 1
        return 42


def test_it_is_computed_once():
    counted = Counted()
    assert (counted.value, counted.value, counted.calls) == (42, 42, 1)


def test_it_can_be_read_from_the_class():
    assert isinstance(Counted.value, cached_property)
    assert Counted.value.__doc__ == "The answer."
