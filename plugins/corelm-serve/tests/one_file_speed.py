"""Time the page of one file in Chromium.

    python plugins/corelm-serve/tests/one_file_speed.py [MODEL]...

The table has the size of the file, the time until its worker has started, and the words or tokens a
second of texts of 100 after the first, with and without the processor's fused operations.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[3] / "tests"))

from browsers import ARGUMENTS, chromium
from corelm_serve.play.one_file import CODES
from playwright.sync_api import sync_playwright
from test_play_one_file import ASK, page_of

BODY = {"prompt": "This movie", "sampler": "top_p(p=0.9)", "tokens": [], "length": 100}
START, *TEXTS = ["/api/samplers", {}], *(["/api/write", BODY | {"seed": seed}] for seed in range(6))


def seconds(tab, code, *requests):
    """Return the best of three times, in each of which a worker starts and answers requests."""
    times = []
    for _ in range(3):
        before = time.perf_counter()
        answers = tab.evaluate(ASK.replace("CODES", json.dumps([code])), requests)
        times.append(time.perf_counter() - before)
        assert "error" not in answers[-1], answers[-1]
    return min(times), sum(len(answer.get("words", [])) for answer in answers[2:])


def main(names):
    """Print the table."""
    print("| model | MB | code | start, s | words a second |\n|---|---:|---|---:|---:|")
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        for name in names:
            path, tab = page_of(name, Path(folder)), browser.new_page()
            tab.goto(path.as_uri())
            for code in CODES:
                start, _ = seconds(tab, code, START)
                first, _ = seconds(tab, code, START, TEXTS[0])
                whole, words = seconds(tab, code, START, *TEXTS)
                size, speed = path.stat().st_size / 1e6, words / (whole - first)
                print(f"| {name} | {size:.1f} | {code} | {start:.2f} | {speed:.0f} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or ["gpt2", "imdb"])
