"""Time from a slider's movement to the picture on the page of `corelm play`.

    python tests/benchmarks/play.py [--moves 60]

A model without a network stands for any model: while a slider moves, its row is computed already.
Needs Chromium and Playwright. Prints the median and the 95th percentile in ms.
"""

from __future__ import annotations

import argparse
import json
import shutil
import threading
from typing import Any
from urllib.parse import quote

import numpy as np
import uvicorn
from corelm_serve.security import Access
from corelm_serve.server import create_app, listen
from corelm_serve.service import Service
from playwright.sync_api import sync_playwright
from vocabulary import ZipfModel

from corelm.runs import machine

VOCABULARIES = (15_000, 32_000, 50_257, 256_000)
CHAIN = "top_k(k=200) | top_p(p=0.9) | min_p(p=0.01) | temperature(t=0.7)"
MOVE = """async moves => {
  const slider = [...document.querySelectorAll("#cards input[type=range]")].at(-1);
  const last = "#columns td:last-child .figures";
  const entropy = () => document.querySelector(last).dataset.entropy;
  const frame = () => new Promise(requestAnimationFrame);
  const times = [];
  for (let i = 0; i < moves; i++) {
    const before = entropy();
    slider.value = 200 + (i * 7) % 700;
    const start = performance.now();
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    while (entropy() === before) await new Promise(done => setTimeout(done, 0));
    await frame();
    times.push(performance.now() - start);
    await new Promise(done => setTimeout(done, 30));
  }
  return times;
}"""


def times(browser: Any, size: int, moves: int) -> list[float]:
    """Return the time of each movement in ms."""
    service = Service({"zipf": ZipfModel(size)})
    with listen("127.0.0.1", 0) as socket:
        port = socket.getsockname()[1]
        app = create_app(service, Access.to("127.0.0.1", port))
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]}, daemon=True)
        thread.start()
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        state = quote(json.dumps({"prompt": "This movie", "sampler": CHAIN}))
        page.goto(f"http://127.0.0.1:{port}/play#{state}")
        page.wait_for_selector("#columns tbody tr")
        page.evaluate(MOVE, 5)
        found: list[float] = page.evaluate(MOVE, moves)
        page.close()
        server.should_exit = True
        thread.join(30)
    return found


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moves", type=int, default=60)
    arguments = parser.parse_args()
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    print(machine.facts())
    print("vocabulary  median  95 %")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        for size in VOCABULARIES:
            found = times(browser, size, arguments.moves)
            print(f"{size:>10,}  {np.median(found):>6.0f}  {np.percentile(found, 95):>4.0f}")
        browser.close()


if __name__ == "__main__":
    main()
