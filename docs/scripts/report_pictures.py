"""Photograph the page of a report on the shipped model, and draw its plots, into docs/images.

    python docs/scripts/report_pictures.py                      measure, then draw
    python docs/scripts/report_pictures.py --from report.json   draw a report measured earlier
    python docs/scripts/report_pictures.py --check              fail if a picture is out of date

Needs Chromium and uses the fonts that it finds. Pixels differ between machines, so each picture
holds the summary of its report, and --check compares that.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo
from playwright.sync_api import Page, sync_playwright

import corelm
from corelm_pages.charts import plots
from corelm_report.document.content import Document

IMAGES = Path(__file__).resolve().parents[1] / "images"
WIDTH = 1280
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
DRAWN = ("surprisal-against-temperature.svg", "surprisal-against-diversity.svg")
SUMMARY = "Description"
"""The field of a PNG that holds the summary."""


def photographs(report: corelm.Report) -> Iterator[tuple[str, bytes]]:
    """Yield the pictures of the page, as PNG by name."""
    browser_path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser_path is None:
        raise SystemExit("Chromium is needed; Debian has it as the package chromium")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        path = Path(folder) / "report.html"
        path.write_text(report.to_html(), encoding="utf-8")
        browser = driver.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        tab = browser.new_page(
            viewport={"width": WIDTH, "height": 900},
            reduced_motion="reduce",
            color_scheme="light",
        )
        tab.goto(path.as_uri())
        yield "report.png", _part(tab, "body > header", ".wide >> nth=0")
        tab.locator(".words").nth(2).locator("> span").nth(3).hover()
        yield "report-texts.png", _part(tab, "#texts", "article >> nth=3")
        tab.mouse.move(0, 0)
        tab.locator("#t").fill("0.7")
        tab.locator("#p").fill("0.97")
        tab.locator("#p").blur()
        yield "report-try-it.png", _part(tab, "#try", "#try")
        browser.close()


def _part(tab: Page, first: str, last: str) -> bytes:
    """Photograph the page from the top of one element to the bottom of another."""
    top, bottom = (tab.locator(element).first.bounding_box() for element in (first, last))
    assert top is not None
    assert bottom is not None
    scrolled = tab.evaluate("window.scrollY")
    start, end = top["y"] + scrolled - 16, bottom["y"] + bottom["height"] + scrolled + 16
    clip = {"x": 0, "y": max(start, 0), "width": WIDTH, "height": end - max(start, 0)}
    return tab.screenshot(full_page=True, clip=clip)  # type: ignore[arg-type]


def with_summary(picture: bytes, summary: str) -> bytes:
    """Add the summary of the report to a PNG."""
    info, written = PngInfo(), io.BytesIO()
    info.add_itxt(SUMMARY, summary)
    Image.open(io.BytesIO(picture)).convert("RGB").save(written, "PNG", optimize=True, pnginfo=info)
    return written.getvalue()


def stale(report: corelm.Report) -> Iterator[str]:
    """Yield the pictures that are missing or hold another summary."""
    for name in ("report.png", "report-texts.png", "report-try-it.png"):
        path = IMAGES / name
        if not path.exists() or Image.open(path).info.get(SUMMARY) != report.summary:
            yield name
    for name in DRAWN:
        if not (IMAGES / name).exists():
            yield name


def measured(arguments: Any) -> corelm.Report:
    """Return the default report on the shipped model, or one from a file."""
    if arguments.earlier is not None:
        return corelm.Report.read(arguments.earlier)
    return corelm.compare("imdb")


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--from", dest="earlier", help="the JSON of a report that was measured")
    parser.add_argument("--check", action="store_true", help="change nothing, fail instead")
    arguments = parser.parse_args()
    report = measured(arguments)
    if arguments.check:
        if old := list(stale(report)):
            print(*old, "are out of date; draw with: python docs/scripts/report_pictures.py")
        return int(bool(old))
    for name, picture in photographs(report):
        (IMAGES / name).write_bytes(with_summary(picture, report.summary))
    drawn = plots(Document.from_dict(report.to_dict()))
    for name in DRAWN:
        (IMAGES / name).write_bytes(drawn[name])
    return 0


if __name__ == "__main__":
    sys.exit(main())
