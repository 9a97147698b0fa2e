"""A sampler that waits for the end of its process, for tests that interrupt a command."""

from __future__ import annotations

import inspect
import os
from pathlib import Path


def lines() -> int:
    """Return the number of lines in journals of reports and in unfinished files of texts."""
    files = [*Path(os.environ["CORELM_HOME"]).glob("reports/*.jsonl"), *Path().glob("*.part")]
    return sum(file.read_bytes().count(b"\n") for file in files)


WAITS = f'''
import os
import time
from pathlib import Path

import corelm
from corelm.testing import ToyModel


class Waits(corelm.Sampler):
    """Change nothing, and go no further once enough is done, until the process is ended."""

    def __call__(self, logits, context):
        if logits.shape[-1] != len(ToyModel().vocabulary):
            return logits  # the lint of chains tries samplers on rows of its own
        while lines() >= float(os.environ.get("WAIT", "inf")):
            time.sleep(0.01)
        return logits


{inspect.getsource(lines)}

@corelm.hookimpl
def corelm_samplers():
    return {{"waits": Waits}}


@corelm.hookimpl
def corelm_models():
    return {{"toy": ToyModel}}
'''
"""The module of a plugin. The environment's WAIT is the number of lines at which it waits."""
