"""Fixtures for the command line: a package with a toy model and samplers that misbehave."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from corelm.cli.app import main

TOY = '''
import os
import signal

import corelm
from corelm import param
from corelm.testing import ToyModel

print("printed at import")


class Everything(corelm.Sampler):
    """Take a parameter of every type and change nothing.

    More about it.

    Source: Nobody 2025, Nothing in particular.
    """

    length: int = param(0, "has the name of an option", ge=0)
    t_min: float = param(1.0, "two words", gt=0, le=2)
    loud: bool = param(False, "a switch")
    mode: str = param("a", "a choice", choices=("a", "b"))
    words: tuple[str, ...] = param((), "several")
    bias: dict = param({}, "pairs")

    def __call__(self, logits, context):
        return logits


class Fails(corelm.Sampler):
    """Raise at a step."""

    at: int = param(2, "the step", ge=0)

    def __call__(self, logits, context):
        print("printed at a step")
        if context.position == self.at:
            raise ValueError("\\x1b[31mbroken\\x1b[0m\\nindeed")
        return corelm.apply_temperature(logits, 0)


class BreaksAlone(corelm.Sampler):
    """Raise at step 1 of a text that is decoded alone."""

    def __call__(self, logits, context):
        if len(logits) == context.position == 1:
            raise ValueError("alone")
        return corelm.apply_temperature(logits, 0)


class Ends(corelm.Sampler):
    """Ask the program to end."""

    def __call__(self, logits, context):
        raise SystemExit(7)


class Interrupts(corelm.Sampler):
    """Press Ctrl-C at step 2, from a program that runs as text if wanted."""

    text: bool = param(False, "in exec")

    def __call__(self, logits, context):
        if context.position == 2 and self.text:
            exec("os.kill(os.getpid(), signal.SIGINT)")
        elif context.position == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return corelm.apply_temperature(logits, 0)


class Wide(corelm.Decoder):
    """The ordinary decoder with a parameter."""

    width: int = param(2, "how wide", ge=1, aliases=("beams", "length"))

    def __call__(self, task):
        yield from corelm.Ancestral()(task)

    def next_tokens(self, task):
        p = corelm.softmax(task.start().next().logits[0])
        return {int(token): float(p[token]) for token in (-p).argsort()[: self.width]}


class Breaks(corelm.Decoder):
    """Not a decoder that works."""

    def __call__(self, task):
        yield 1 / 0


@corelm.hookimpl
def corelm_models():
    return {"toy": ToyModel}


@corelm.hookimpl
def corelm_samplers():
    return {
        "everything": Everything,
        "fails": Fails,
        "breaks_alone": BreaksAlone,
        "ends": Ends,
        "interrupts": Interrupts,
    }


@corelm.hookimpl
def corelm_decoders():
    return {"wide": Wide, "breaks": Breaks}
'''


class Result(NamedTuple):
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The document on standard output, which must be strict JSON."""
        return json.loads(self.out, parse_constant=pytest.fail)


@pytest.fixture
def toy(installed_plugin: Callable[..., Path]) -> None:
    """The package, installed."""
    samplers = ["everything", "fails", "breaks_alone", "ends", "interrupts"]
    points = ["toy", *samplers, "wide", "breaks"]
    installed_plugin("corelm-toy", dict.fromkeys(points, "corelm_toy"), TOY)


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """A function that runs a command line in this process."""
    return lambda *arguments: Result(main(arguments), *capsys.readouterr())


@pytest.fixture
def run(toy: None, call: Callable[..., Result]) -> Callable[..., Result]:
    """A function that runs a command line in this process, with the package installed."""
    return call


@pytest.fixture
def spawn(toy: None) -> Callable[..., Result]:
    """A function that runs a command line in a process of its own."""

    def run_there(*arguments: str, **options: Any) -> Result:
        options.setdefault("stdin", subprocess.DEVNULL)
        if "input" in options:
            del options["stdin"]
        done = subprocess.run(
            [sys.executable, "-m", "corelm", *arguments], capture_output=True, **options
        )
        return Result(done.returncode, done.stdout.decode(), done.stderr.decode())

    return run_there
