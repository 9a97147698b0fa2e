"""A stranger's package against the contract: a sampler, a mask, a decoder, a model of ten lines, a
metric and a command, in a folder outside the repository, by public names alone."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from test_imports import Import, imports_of, is_public

HERE = Path(__file__).with_name("stranger")
PIP = (
    "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation",
    "--disable-pip-version-check", "--root-user-action", "ignore",
)  # fmt: skip


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Return a function that runs Python with the package installed, outside the repository."""
    folder = tmp_path_factory.mktemp("stranger")
    package, site = shutil.copytree(HERE, folder / "package"), folder / "site"
    subprocess.run([sys.executable, *PIP, "--target", site, package], check=True)
    shutil.copy(package / "test_stranger.py.txt", folder / "test_stranger.py")
    path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path, "CORELM_PLUGINS": "a-stranger"}

    def run(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def imports() -> Iterator[Import]:
    for file in [*HERE.rglob("*.py"), HERE / "test_stranger.py.txt"]:
        yield from (each for each in imports_of(file) if each.package == "corelm")


def test_it_uses_public_names_alone() -> None:
    assert all(not each.names or is_public(each) for each in imports())
    text = (HERE / "stranger.py").read_text("utf-8")
    private = [n.attr for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Attribute)]
    assert [name for name in private if name.startswith("_")] == ["_drawn"]


@pytest.mark.slow
def test_it_obeys_the_laws_where_it_lies(python: Callable[..., str]) -> None:
    assert "passed" in python("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_stranger.py")


@pytest.mark.slow
@pytest.mark.packages
def test_the_command_line_finds_all_of_it(python: Callable[..., str]) -> None:
    python("-m", "corelm", "plugins", "--check")
    chain = ("--sampler", "warm_up(n=2) | even | greedy", "--length", "4")
    written = python("-m", "corelm", "sample", "b", "--model", "alphabet", *chain)
    assert written == "bcaaa\n"
    words = ("--decoder", "second_thought", "--model", "alphabet", "--length", "6", "--seed", "1")
    ancestral = python("-m", "corelm", "sample", "a", *words[2:])
    assert python("-m", "corelm", "sample", "a", *words) == ancestral
    report = ("-n", "2", "--length", "3", "--metric", "longest", "--csv", "-")
    table = python("-m", "corelm", "report", "greedy", "--model", "alphabet", *report)
    assert "greedy,generated_texts,a-stranger:longest,3.0," in table
    assert python("-m", "corelm", "shout", "a") == "BCA\nrewinds: True\n"
