"""A plugin that kills its process once, to test what survives that."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

PLUGIN = '''
import os
import signal

import corelm
from corelm.testing import ToyModel


class KillsOnce(corelm.Sampler):
    """Change nothing; the first process that comes to a step is killed there."""

    def __call__(self, logits, context):
        here = [context.position, len(logits)]
        at = os.environ.get("KILL_AT", f"3 {len(logits)}")
        if here == [*map(int, at.split())] and not os.path.exists(os.environ["KILLED"]):
            open(os.environ["KILLED"], "x").close()
            os.kill(os.getpid(), signal.SIGKILL)
        return logits


class FailsLate(corelm.Sampler):
    """Fail at the tenth token, so on texts of its own alone."""

    def __call__(self, logits, context):
        if context.position == 9:
            raise ValueError("no more words")
        return logits


@corelm.hookimpl
def corelm_samplers():
    return {"kills_once": KillsOnce, "fails_late": FailsLate}


@corelm.hookimpl
def corelm_models():
    return {"cats": ToyModel, "dogs": lambda: ToyModel(end=False)}
'''


@pytest.fixture
def killed(
    installed_plugin: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The file that exists once `kills_once` has killed its process."""
    names = ("kills_once", "fails_late", "cats", "dogs")
    installed_plugin("corelm-kills", dict.fromkeys(names, "corelm_kills"), PLUGIN)
    monkeypatch.setenv("KILLED", str(tmp_path / "killed"))
    path = [os.environ["PYTHONPATH"], str(Path(__file__).parent)]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))
    return tmp_path / "killed"
