"""The installed browser, for tests of pages."""

from __future__ import annotations

import os
import shutil
from typing import Any

import pytest

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
TELEPHONE = {"width": 400, "height": 800}


def chromium() -> str:
    """The installed browser; without one, the tests that need it are skipped or fail."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        reason = "no Chromium was found; Debian has it as the package chromium"
        if os.environ.get("CORELM_REQUIRE_BROWSER"):
            pytest.fail(reason)
        pytest.skip(reason)
    return path


def overflow(tab: Any) -> bool:
    root = "document.documentElement"
    return bool(tab.evaluate(f"{root}.scrollWidth > {root}.clientWidth"))
