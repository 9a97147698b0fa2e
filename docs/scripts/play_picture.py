"""Photograph the page of `corelm play` on the shipped model, into docs/images/play.png.

Needs Chromium and uses the fonts that it finds.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

IMAGE = Path(__file__).resolve().parents[1] / "images" / "play.png"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
CHAIN = "top_k(k=8) | temperature(t=1.3)"


def main() -> None:
    """Serve the page, draw a text, and write the picture."""
    words = ["play", "This movie is", "--sampler", CHAIN, "--seed", "4", "--no-browser"]
    command = [sys.executable, "-m", "corelm", *words]
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        raise SystemExit("Chromium is needed; Debian has it as the package chromium")
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server,
        sync_playwright() as driver,
    ):
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        tab = browser.new_page(
            viewport={"width": 1280, "height": 860}, reduced_motion="reduce", color_scheme="light"
        )
        tab.goto(address)
        tab.wait_for_selector("#columns tbody tr")
        for drawn in range(2, 30):
            tab.click("#draw")
            tab.get_by_text(f"word {drawn}", exact=True).wait_for()
        tab.mouse.move(0, 0)
        tab.wait_for_timeout(300)
        tab.screenshot(path=IMAGE)
        browser.close()
        server.terminate()


if __name__ == "__main__":
    main()
