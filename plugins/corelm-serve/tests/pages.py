"""Waiting for what the live page shows."""

import pytest

WAIT = """async (arg) => {
    for (const end = Date.now() + 300_000; Date.now() < end;) {
        const value = EXPRESSION;
        if (typeof value === "function" ? value(arg) : value) return true;
        await new Promise((done) => { setTimeout(done, 10); });
    }
}"""


def until(page, expression, arg=None):
    """Wait until an expression is true; the page forbids Playwright's own way to do it."""
    source = WAIT.replace("EXPRESSION", expression)
    assert page.evaluate(source, arg), f"{expression} did not become true"


def pause(page, milliseconds):
    """Wait by the page's own clock, so that its shorter timers end first, however slow it is."""
    page.evaluate("ms => new Promise((done) => { setTimeout(done, ms); })", milliseconds)


def settled(page):
    """Wait until the answers to the last change are shown."""
    until(
        page,
        "![...document.querySelectorAll('.next[aria-busy=true]')].some(e => e.checkVisibility())",
    )


def position(page, word):
    """Wait until the page is at a word."""
    until(page, f"document.getElementById('position').textContent.endsWith(' {word}')")


def write_to_the_end(page):
    """Draw until the text ends."""
    page.click("#write")
    page.wait_for_selector("#stop", state="hidden")
    settled(page)


def findings(page, **options):
    """Return the rules that a page breaks, each with the first element at fault."""
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="pip install axe-playwright-python"
    )
    found = axe.Axe().run(page, options={"resultTypes": ["violations"], **options})
    return [(each["id"], each["nodes"][0]["html"]) for each in found.response["violations"]]
