"""Waiting for what the live page shows."""

import time


def until(page, expression, arg=None):
    """Wait until an expression is true; the page forbids Playwright's own way to do it."""
    end = time.monotonic() + 300
    while not page.evaluate(expression, arg):
        assert time.monotonic() < end, f"{expression} did not become true"
        page.wait_for_timeout(20)


def pause(page, milliseconds):
    """Wait by the page's own clock, so that its shorter timers end first, however slow it is."""
    page.evaluate("ms => new Promise((done) => { setTimeout(done, ms); })", milliseconds)


def settled(page):
    """Wait until the answers to the last change are shown."""
    until(
        page,
        "![...document.querySelectorAll('.next[aria-busy=true]')].some(e => e.checkVisibility())",
    )
