"""The fuzzer's targets pass for its corpus, and for a few hundred mutations of it.

`tests/fuzz/run.py` searches for longer, guided by code coverage.
"""

from __future__ import annotations

import random

import outside  # noqa: F401 - more targets
import pytest
import run
from targets import TARGETS, attempt

CHANGES = {"report": 60, "report_page": 1, "archive": 40, "kernels": 1, "model": 60, "grammar": 100}
CHANGES |= {"log": 40, "results": 60, "units": 100, "answer": 150, "study": 150}
"""Changed inputs of the slower targets; the others have more."""
PIECES = [b"{", b"}", b"[", b'"', b"(", b"|", b",", b"=", b"\n", b"\0", b"\\", b"1e999", b"-1"]
PIECES += [b"null", b"nan", b"\xff", b"\xf0\x9f\x98\x80", b"\xed\xa0\x80", b"\x1b[2J", b"9" * 30]


def test_every_target_has_a_corpus():
    assert {path.stem for path in run.CORPUS.glob("*.txt")} == set(TARGETS)


PAGE = pytest.param("report_page", marks=pytest.mark.slow)


@pytest.mark.parametrize("name", [*sorted({*TARGETS} - {"report_page"}), PAGE])
def test_the_target_holds_for_the_corpus(name):
    for data in run.read_corpus(name):
        attempt(name, data)


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_the_target_holds_for_changes_of_the_corpus(name):
    rng, corpus = random.Random(f"corelm {name}"), run.read_corpus(name)
    for _ in range(CHANGES.get(name, 300)):
        attempt(name, changed(rng.choice(corpus), rng))


def changed(data: bytes, rng: random.Random) -> bytes:
    """Change bytes, insert pieces, cut a part out, or repeat one."""
    for _ in range(rng.randint(1, 4)):
        start, end = sorted(rng.choices(range(len(data) + 1), k=2))
        middle = rng.choice([
            b"", rng.choice(PIECES), bytes(rng.choices(range(256), k=rng.randint(1, 3))),
            2 * data[start:end], data[start:end] + rng.choice(PIECES),
        ])  # fmt: skip
        data = data[:start] + middle + data[end:]
    return data
