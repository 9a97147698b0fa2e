"""Files that cannot be written whole: the message names the file, and nothing is left in halves."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from programs import python

resource = pytest.importorskip("resource")

SAMPLE = ("sample", "--model", "toy", "-n", "2000", "--seed", "1")
REPORT = ("report", "--model", "toy", "greedy", "-n", "2", "--length", "3")


def limited(size: int, *words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run corelm in a process in which no file may grow beyond a size, as on a full disk.

    Without -B, Python would keep the beginnings of compiled modules, and later imports would fail.
    """

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return python("-B", "-m", "corelm", *words, cwd=folder, preexec_fn=limit)


@pytest.mark.packages
@pytest.mark.parametrize(
    ("words", "file"),
    [
        ((*SAMPLE, "--output", "texts.jsonl"), "texts.jsonl.part"),
        ((*REPORT, "--json", "r.json"), "r.json"),
        pytest.param((*REPORT, "--plots", "plots"), "plots/", marks=pytest.mark.slow),
        (("plugins", "new", "top_z"), "corelm-top-z"),
    ],
)
def test_the_file_is_named(toy: None, tmp_path: Path, words: tuple[str, ...], file: str) -> None:
    done = limited(1_000, *words, folder=tmp_path)
    assert done.returncode == 1
    [message] = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert file in message
    assert message.endswith(": File too large")
    names = {path.name for path in tmp_path.iterdir()}
    assert names <= {"texts.jsonl.part", "texts.jsonl.part.json", "plots"}


@pytest.mark.slow
def test_texts_of_a_disk_that_was_full_are_continued(toy: None, tmp_path: Path) -> None:
    words = (*SAMPLE, "--output", "texts.jsonl")
    assert "--resume continues the file" in limited(40_000, *words, folder=tmp_path).stderr
    assert limited(10**9, *words, "--resume", folder=tmp_path).returncode == 0
    whole = limited(10**9, *SAMPLE, "--output", "whole.jsonl", folder=tmp_path)
    assert whole.returncode == 0
    assert (tmp_path / "texts.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
