"""The time of the parts of a step, and of a cold start.

    pip install -e ".[dev,bench]"
    pytest tests/benchmarks/parts.py

The ordinary tests leave this file out. The model is the one that ships with corelm: its weights
have the shape of the preset `default`, its vocabulary has 15,000 tokens.
"""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import corelm
from corelm.context import Context
from corelm.decoding.draws import RandomStream
from corelm.language_model import Session

PROMPT = "This movie"
LENGTH = 50
"""Tokens before the step."""

each_batch = pytest.mark.parametrize("batch", [1, 64])


@pytest.fixture(scope="module")
def model() -> corelm.LanguageModel:
    return corelm.load("imdb")


@pytest.fixture
def session(model: corelm.LanguageModel, batch: int) -> Session:
    """Texts of 50 tokens, all different."""
    return model.start(texts(model, batch))


def texts(model: corelm.LanguageModel, batch: int) -> np.ndarray:
    return np.random.default_rng(0).integers(3, len(model.vocabulary), (batch, LENGTH))


@each_batch
def test_the_draw(benchmark, session, batch):
    tokens, _ = benchmark(corelm.draw, session.next_logits(), RandomStream(0, range(batch)).at(0))
    assert tokens.shape == (batch,)


@each_batch
@pytest.mark.parametrize("expression", ["temperature(t=0.7)", "temperature(t=0.7) | top_p(p=0.9)"])
def test_a_sampler(benchmark, model, session, batch, expression):
    sampler, context = corelm.sampler(expression), Context.of(texts(model, batch))
    logits = benchmark(sampler, session.next_logits(), context)
    assert logits.shape == session.next_logits().shape


@each_batch
def test_the_network(benchmark, session, batch):
    """One more token for every text, which is then dropped again."""
    tokens = np.full(batch, 100)

    def step() -> np.ndarray:
        session.extend(tokens)
        logits = session.next_logits()
        session.rewind(1)
        return logits

    assert session.next_logits().shape == benchmark(step).shape


@pytest.mark.parametrize("length", [0, 50])
def test_a_cold_start(benchmark, length):
    """A new process, from its start to its end."""
    words = ["sample", PROMPT, "--length", str(length), "--seed", "1"]
    command = [sys.executable, "-m", "corelm", *words]
    done = benchmark.pedantic(
        subprocess.run, [command], {"capture_output": True, "check": True}, rounds=7
    )
    assert done.stdout.startswith(PROMPT.encode())
