"""The benchmark of the kernels on arrays of torch and JAX, on small rows."""

from __future__ import annotations

import subprocess
import sys

import pytest
from benchmark_scripts import BENCHMARKS

pytestmark = [pytest.mark.engines("torch", "jax"), pytest.mark.slow]


def test_both_libraries_are_timed_and_give_the_same_probabilities():
    """The script itself refuses a difference above 1e-5."""
    command = [sys.executable, str(BENCHMARKS / "native.py"), "--seconds", "0"]
    options = ["--sizes", "300x2", "--samplers", "top_p(p=0.9)", "top_k(k=5) | min_p(p=0.1)"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    rows = [line.replace("\\|", ",").split(" | ")[:2] for line in done.stdout.splitlines()[-4:]]
    first, second = "| `top_p(p=0.9)`", "| `top_k(k=5) , min_p(p=0.1)`"
    assert rows == [[first, "torch"], [first, "JAX"], [second, "torch"], [second, "JAX"]]
