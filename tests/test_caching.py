"""Properties that are computed once, without a lock."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event

from corelm.lazy import cached_property


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


def test_one_thread_does_not_wait_for_another():
    """A lock of the class would keep the second value waiting until the first is computed."""
    first_began, second_is_done = Event(), Event()

    class Slow:
        def __init__(self, wait):
            self.wait = wait

        @cached_property
        def value(self):
            if self.wait:
                first_began.set()
                assert second_is_done.wait(600)
            return self.wait

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(lambda: Slow(True).value)
        assert first_began.wait(600)
        assert Slow(False).value is False
        second_is_done.set()
        assert first.result(60) is True


def test_the_class_has_the_property_with_its_text():
    """The reference page reads the docstring there."""
    assert isinstance(Counted.value, cached_property)
    assert Counted.value.__doc__ == "The answer."
    assert vars(Counted())["calls"] == 0
