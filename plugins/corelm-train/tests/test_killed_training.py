"""A training that is killed and resumed ends with the weights of an uninterrupted one."""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from long_programs import long_program

from corelm.cli.app import main

pytestmark = pytest.mark.slow

pytest.importorskip("tensorflow", reason="pip install tensorflow")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a signal")
def test_a_training_killed_in_its_second_checkpoint_resumes_to_the_same_weights(
    tmp_path: Path,
) -> None:
    """`tests/long/kill_training.py` kills fifty times, in all moments and presets."""
    program = long_program("kill_training")
    models = [tmp_path / name / "model" for name in ("whole", "broken")]
    commands = []
    for model in models:
        model.parent.mkdir()
        texts = program.write_texts(model.parent)
        commands.append(program.command(texts, model, "rnn", "float32"))
    whole, broken = commands
    resumed: list[Sequence[str]] = []
    assert main(whole) == 0
    died = program.kill_and_resume(
        broken, models[1], [b"c"], random.Random(1), run=lambda words: resumed.append(words)
    )
    assert len(died) == 1
    assert "--resume" in resumed[0]
    assert main(resumed[0]) == 0
    files = [(model / "model.safetensors").read_bytes() for model in models]
    assert files[0] == files[1]
    assert program.leftovers(models[1]) == []
