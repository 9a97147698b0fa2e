"""Sessions and texts on TensorFlow, JAX and torch; other backends than this one in processes."""

from __future__ import annotations

import importlib.util
import json

import pytest
from programs import python

pytest.importorskip("keras_hub", reason="pip install keras-hub")

import keras
import keras_hub_program

PROGRAM = keras_hub_program.__file__
BACKENDS = ["tensorflow", "jax", "torch"]
SAMPLER = "ban(words='cat') | frequency_penalty(penalty=0.5) | mirostat(tau=3.0)"
"""Stages that read words, the text and surprisals: all run in NumPy on every backend."""


def results(backend):
    """What the program finds on a backend."""
    if backend == keras.backend.backend():  # which this process has imported
        return keras_hub_program.figures(SAMPLER)
    quick = {"OMP_NUM_THREADS": "1", "XLA_FLAGS": "--xla_backend_optimization_level=0"}
    environment = quick | {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    ran = python(PROGRAM, SAMPLER, env=environment)
    assert ran.returncode == 0, ran.stderr[-3000:]
    return json.loads(ran.stdout.strip().split("\n")[-1])


@pytest.mark.long
def test_each_backend_agrees_with_full_passes_and_writes_the_texts_of_corelm():
    """One test of all backends, since each worker that runs a part of it starts programs again."""
    installed = [each for each in BACKENDS if importlib.util.find_spec(each)]
    found = {backend: results(backend) for backend in installed}
    expected = found[installed[0]]["engine"]
    for backend, one in found.items():
        differences = one["differences"]
        assert len(differences) == 6, backend
        assert {name: d for name, d in differences.items() if not d < 1e-5} == {}, backend
        assert one["hidden"] == [2, 2, 8], backend

        assert one["engine"] == one["corelm"], backend
        assert all(len(row) > 4 for row in one["engine"]), backend
        assert one["engine"] == expected, backend

        first, second = one["free"]  # without a seed, generations differ
        assert first.startswith("the"), backend
        assert first != second, backend
