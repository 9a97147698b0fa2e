"""The installed browser, for tests of pages."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

# Each new window would start two processes for the menus of its address bar, for 0.4 s.
# The others are those of Playwright that matter here, as this replaces its list.
DISABLED = (
    "WebUIOmniboxPopup,WebUIOmniboxAimPopup,WebUIOmniboxFullPopup,"
    "AvoidUnnecessaryBeforeUnloadCheckSync,DestroyProfileOnBrowserClose,HttpsUpgrades,"
    "LensOverlay,MediaRouter,PaintHolding,OptimizationHints,NetworkTimeServiceQuerying,"
    "AimEnabled,PreconnectToSearch"
)
ARGUMENTS = [
    "--no-sandbox",
    f"--disable-features={DISABLED}",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
TELEPHONE = {"width": 400, "height": 800}
PATIENCE = 300_000
"""Milliseconds until a page counts as hung, which takes a busy machine long."""


def chromium() -> str:
    """The installed browser; without one, the tests that need it are skipped or fail."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        reason = "no Chromium was found; Debian has it as the package chromium"
        if os.environ.get("CORELM_REQUIRE_BROWSER"):
            pytest.fail(reason)
        pytest.skip(reason)
    return path


# Of a module, not of the session: no other playwright can start while this one runs.
@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    path = chromium()
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=ARGUMENTS, timeout=PATIENCE)
        yield browser
        browser.close()


def overflow(tab: Any) -> bool:
    root = "document.documentElement"
    return bool(tab.evaluate(f"{root}.scrollWidth > {root}.clientWidth"))
