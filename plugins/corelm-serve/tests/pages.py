"""Waiting for what the live page shows."""

import time


def until(page, expression, arg=None):
    """Wait until an expression is true; the page forbids Playwright's own way to do it."""
    end = time.monotonic() + 30
    while not page.evaluate(expression, arg):
        assert time.monotonic() < end, f"{expression} did not become true"
        page.wait_for_timeout(20)


def settled(page):
    """Wait until the answers to the last change are shown."""
    until(
        page,
        "![...document.querySelectorAll('.next[aria-busy=true]')].some(e => e.checkVisibility())",
    )
