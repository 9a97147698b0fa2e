"""A training that is killed and resumed ends with the weights of an uninterrupted one."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from corelm.cli.app import main

pytestmark = pytest.mark.slow

pytest.importorskip("tensorflow", reason="pip install tensorflow")

KILLED = """
import os, signal, sys
from corelm.cli.app import main

replace, checkpoints = os.replace, []

def replace_or_die(source, target):
    checkpoints.extend([target] * str(target).endswith(".checkpoint"))
    if len(checkpoints) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)

os.replace = replace_or_die
main(sys.argv[1:])
"""
"""A command that dies before its second checkpoint takes the place of its first."""


def command(folder: Path) -> list[str]:
    """Return the words of `corelm train` for a small run of a folder's texts."""
    rng, words = random.Random(1), ["the", "cat", "sat", "on", "a", "mat"]
    folder.mkdir()
    (folder / "texts.txt").write_text(
        "\n\n".join(" ".join(rng.choices(words, k=20)) for _ in "x" * 40)
    )
    return [
        *("train", "--data", str(folder / "texts.txt"), "--out", str(folder / "model")),
        *("--preset", "rnn", "--precision", "float32", "--epochs", "3", "--context-length", "8"),
        *("--vocabulary-size", "20", "--batch", "8", "--checkpoint-steps", "2"),
        *("--temperatures", "1", "--length", "3", "--prompt", "the cat"),
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a signal")
def test_a_training_killed_in_its_second_checkpoint_resumes_to_the_same_weights(
    tmp_path: Path,
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert main(command(whole)) == 0
    words = command(broken)
    killed = subprocess.run([sys.executable, "-c", KILLED, *words], capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert (broken / "model.checkpoint").exists()
    assert main([*words, "--resume"]) == 0
    files = [(folder / "model" / "model.safetensors").read_bytes() for folder in (whole, broken)]
    assert files[0] == files[1]
    names = {path.name for path in broken.iterdir()}
    assert names == {"model", ".model.lock", "texts.txt"}  # what the killed one left is gone
