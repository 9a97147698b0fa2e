"""Sessions and texts on TensorFlow, JAX and torch; each backend in a process of its own."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import corelm.interop.testing

pytest.importorskip("keras_hub", reason="pip install keras-hub")

PROGRAM = Path(__file__).with_name("keras_hub_program.py")
BACKENDS = ["tensorflow", "jax", "torch"]
SAMPLERS = [*corelm.interop.testing.SAMPLERS, "ban(words='cat')"]
FEWER = ["mirostat(tau=3.0)", SAMPLERS[-2]]
"""Samplers on JAX and torch, which take longer: the samplers run in NumPy on every backend."""


@functools.cache
def results(backend):
    """What the program finds on a backend."""
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    quick = {"OMP_NUM_THREADS": "1", "XLA_FLAGS": "--xla_backend_optimization_level=0"}
    environment = os.environ | quick | {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    samplers = SAMPLERS if backend == "tensorflow" else FEWER
    ran = subprocess.run(
        [sys.executable, PROGRAM, *samplers],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    return json.loads(ran.stdout.strip().split("\n")[-1])


@pytest.mark.parametrize("backend", BACKENDS)
def test_sessions_agree_with_full_passes(backend):
    differences = results(backend)["differences"]
    assert len(differences) == 6
    assert {name: d for name, d in differences.items() if not d < 1e-5} == {}


@pytest.mark.parametrize("backend", BACKENDS)
def test_sessions_have_hidden_states(backend):
    assert results(backend)["hidden"] == [2, 2, 8]


@pytest.mark.parametrize("backend", BACKENDS)
def test_keras_hub_writes_the_texts_of_corelm(backend):
    found = results(backend)
    assert found["engine"] == found["corelm"]
    assert all(len(row) > 4 for texts in found["engine"].values() for row in texts)


@pytest.mark.parametrize("backend", BACKENDS)
def test_without_a_seed_keras_hub_draws_anew_in_each_generation(backend):
    first, second = results(backend)["free"]
    assert first.startswith("the")
    assert first != second


@pytest.mark.parametrize("backend", BACKENDS[1:])
def test_the_texts_are_the_same_on_every_backend(backend):
    expected, found = results(BACKENDS[0])["engine"], results(backend)["engine"]
    assert found == {name: expected[name] for name in found}
