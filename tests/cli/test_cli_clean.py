"""`corelm clean`: what interrupted commands have left."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

Run = Callable[..., Any]
DAY = 86_400

FILES = {
    "reports/0123456789abcdef.jsonl": "interrupted report",
    "models/mine.checkpoint": "interrupted training",
    "models/.mine.0123abcd.new/config.json": "unfinished file",
    "models/.mine.checkpoint.0123abcd.new": "unfinished file",
    "data/aclImdb_v1.tar.gz.part": "interrupted download",
    "data/aclImdb.part/train/pos/0_9.txt": "interrupted download",
}
KEPT = ("models/mine/config.json", "models/.mine.old/config.json", "data/aclImdb/imdb.vocab")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with everything that a command may leave, 40 days old."""
    monkeypatch.setenv("CORELM_HOME", str(tmp_path))
    for name in (*FILES, *KEPT):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x" * 1500)
    for path in tmp_path.rglob("*"):
        set_age(path, 40)
    return tmp_path


def set_age(path: Path, days: float) -> None:
    then = time.time() - days * DAY
    os.utime(path, (then, then))


def files(home: Path) -> set[str]:
    return {str(p.relative_to(home)) for p in home.rglob("*") if p.is_file()}


@pytest.mark.packages
def test_what_was_left_is_listed_and_removed_on_request(run: Run, home: Path) -> None:
    listed = run("clean")
    assert listed.code == 0
    rows = [line.split("  ")[0] for line in listed.out.splitlines()[1:]]
    assert sorted(rows) == sorted(FILES.values())
    assert "interrupted report    1.5 kB  40  " in listed.out
    assert listed.err.startswith("nothing was removed; to remove 6 leftovers, 9 kB, ")
    assert files(home) == {*FILES, *KEPT}
    removed = run("clean", "--yes")
    assert removed.err.startswith("removed 6 leftovers, ")
    assert files(home) == set(KEPT)
    assert run("clean").err == f"nothing to remove in {home}\n"


@pytest.mark.packages
def test_what_is_young_or_in_use_stays(run: Run, home: Path) -> None:
    set_age(home / "models" / "mine.checkpoint", 29)
    set_age(home / "models" / ".mine.checkpoint.0123abcd.new", 0)
    with FileLock(home / "reports" / "0123456789abcdef.lock"):
        assert run("clean", "--yes").err.startswith("removed 3 leftovers, ")
        left = files(home) - set(KEPT) - {"reports/0123456789abcdef.lock"}
        assert left == {
            "models/mine.checkpoint",
            "models/.mine.checkpoint.0123abcd.new",
            "reports/0123456789abcdef.jsonl",
        }
    assert run("clean", "--yes", "--days", "0").err.startswith("removed 2 leftovers, ")
    assert files(home) - set(KEPT) == {"models/.mine.checkpoint.0123abcd.new"}


def test_a_home_that_is_not_there_has_nothing(run: Run, home: Path) -> None:
    os.environ["CORELM_HOME"] = str(home / "nowhere")
    assert run("clean").code == 0
    assert not (home / "nowhere").exists()


@pytest.mark.parametrize("days", ["-1", "nan", "soon"])
def test_wrong_ages_are_refused(run: Run, home: Path, days: str) -> None:
    result = run("clean", "--days", days)
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("error: days must be ")
