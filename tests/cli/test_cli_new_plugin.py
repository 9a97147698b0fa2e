"""`corelm plugins new`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corelm.cli import main
from corelm.cli.scaffold import named
from corelm.errors import UsageError

Run = Callable[..., Any]
PIP = (
    "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation",
    "--disable-pip-version-check", "--root-user-action", "ignore",
)  # fmt: skip
KINDS = ["sampler", "decoder", "model", "metric", "command"]
FILES = ["README.md", "corelm_top_cube.py", "pyproject.toml", "test_top_cube.py"]


@pytest.mark.parametrize(
    "given",
    [
        "top_cube",
        "top-cube",
        "Top Cube",
        "TOP_CUBE",
        "corelm-top-cube",
        "corelm_top_cube",
        " top.cube ",
    ],
)
def test_one_name_however_it_is_written(given: str) -> None:
    names = named(given)
    assert (names["name"], names["cls"]) == ("top_cube", "TopCube")
    assert (names["module"], names["package"]) == ("corelm_top_cube", "corelm-top-cube")


@pytest.mark.parametrize(
    "given",
    ["", "-", "1a", "a__b", "_a", "a/b", "../a", "a:b", "\x1b[1m", "é", "lambda", "None", "true"],
)
def test_impossible_names_are_refused(given: str) -> None:
    with pytest.raises(UsageError, match="cannot name a sampler"):
        named(given)


def test_the_files(run: Run, tmp_path: Path) -> None:
    result = run("plugins", "new", "Top-Cube", "--into", str(tmp_path))
    folder = tmp_path / "corelm-top-cube"
    assert (result.code, result.out) == (0, f"{folder}\n")
    assert sorted(file.name for file in folder.iterdir()) == FILES
    assert "class TopCube(corelm.Sampler):" in (folder / "corelm_top_cube.py").read_text()
    assert not [file for file in folder.iterdir() if "$name" in file.read_text()]
    assert result.err.splitlines()[-1].startswith(f"try it: pip install -e {folder}; ")


def test_here_when_no_folder_is_given(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("plugins", "new", "top_cube").out == "corelm-top-cube\n"
    assert (tmp_path / "corelm-top-cube" / "pyproject.toml").exists()


def test_nothing_is_overwritten(run: Run, tmp_path: Path) -> None:
    words = ("plugins", "new", "top_cube", "--into", str(tmp_path))
    assert run(*words).code == 0
    sampler = tmp_path / "corelm-top-cube" / "corelm_top_cube.py"
    sampler.write_text("mine")
    result = run(*words)
    assert (result.code, result.out) == (2, "")
    assert result.err == (
        f"error: {sampler.parent} already exists; choose another name, or another "
        "folder with --into\n"
    )
    assert sampler.read_text() == "mine"


def test_a_name_that_is_taken_is_warned_of(run: Run, tmp_path: Path) -> None:
    result = run("plugins", "new", "top_k", "--into", str(tmp_path))
    assert result.code == 0
    assert (
        "warning: corelm 0.1.0 already has a sampler top_k: with both installed, the bare "
        "name stays corelm's, and yours is chosen by its full name\n"
    ) in result.err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["1a"], "'1a' cannot name a sampler: use letters, digits and single _, begin with a "
                 "letter, and avoid Python's keywords; for example top_cube"),
        ([], "Missing argument 'NAME'; see `corelm plugins --help`"),
    ],
)  # fmt: skip
def test_wrong_usage(capsys: pytest.CaptureFixture[str], words: list[str], sentence: str) -> None:
    assert main(["plugins", "new", *words]) == 2
    assert capsys.readouterr() == ("", f"error: {sentence}\n")


def test_a_folder_that_cannot_be_made(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    result = run("plugins", "new", "top_cube", "--into", str(file))
    assert result.code == 1
    assert result.err.splitlines()[-1] == f"error: {file / 'corelm-top-cube'}: Not a directory"


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_as_ruff_would_write_it(run: Run, tmp_path: Path, kind: str) -> None:
    pytest.importorskip("ruff", reason="pip install ruff")
    run("plugins", "new", "top_cube", f"--{kind}", "--into", str(tmp_path))
    for words in (["format", "--check"], ["check"]):
        command = [sys.executable, "-m", "ruff", *words, "--quiet", "."]
        done = subprocess.run(command, cwd=tmp_path / "corelm-top-cube", capture_output=True)
        assert done.returncode == 0, done.stdout.decode()


@pytest.mark.slow
def test_it_installs_is_listed_samples_explains_and_passes_its_tests(
    run: Run, tmp_path: Path
) -> None:
    """The whole way of an author, with pip; without a line changed in corelm."""
    assert run("plugins", "new", "top_cube", "--into", str(tmp_path)).code == 0
    package, site = tmp_path / "corelm-top-cube", tmp_path / "site"
    subprocess.run([sys.executable, *PIP, "--target", site, package], check=True)

    path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path}

    def corelm(*words: str) -> str:
        command = [sys.executable, "-m", "corelm", *words]
        # The broken samplers of the toy package would fail --check.
        alone = {"CORELM_PLUGINS": "corelm-top-cube"} if "--check" in words else {}
        return subprocess.run(
            command, env=environment | alone, check=True, capture_output=True, text=True
        ).stdout

    [listed] = [s for s in json.loads(corelm("samplers", "--json")) if s["name"] == "top_cube"]
    assert listed["plugin"]["distribution"] == "corelm-top-cube"
    plugins = {p["entry_point"]: p for p in json.loads(corelm("plugins", "--check", "--json"))}
    assert plugins["top_cube"]["offers"] == [{"kind": "sampler", "name": "top_cube"}]

    chosen = ("--model", "toy", "the", "--sampler", "top_cube", "--nats", "0")
    assert corelm("sample", *chosen, "--length", "3", "--seed", "1") == "the cat sat on\n"
    explained = json.loads(corelm("explain", *chosen, "--json"))
    assert [stage["kept"] for stage in explained["stages"]] == [11, 1]

    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", package]
    done = subprocess.run(tests, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "43 passed" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "entry", "words", "output", "passed"),
    [
        ("decoder", "top_cube", ("sample", "--model", "toy", "the", "--length", "3", "--decoder",
                              "top_cube", "--sure", "3"), "the cat sat on\n", 32),
        ("model", "top_cube", ("sample", "--model", "top_cube", "the ", "--length", "4",
                               "--sampler", "greedy"), "the the \n", 18),
        ("metric", "top_cube", ("report", "greedy", "--model", "toy", "-n", "2", "--length", "3",
                             "--metric", "top_cube", "--csv", "-"),
         "greedy,generated_texts,corelm-top-cube:top_cube,3.0,,,2,,,,,,\n", 6),
        ("command", "top-cube", ("top-cube", "This movie"), "3.16\n", 3),
    ],
)  # fmt: skip
def test_every_kind_of_package_works_and_passes_its_tests(
    run: Run, tmp_path: Path, kind: str, entry: str, words: list[str], output: str, passed: int
) -> None:
    assert run("plugins", "new", "top_cube", f"--{kind}", "--into", str(tmp_path)).code == 0
    package, site = tmp_path / "corelm-top-cube", tmp_path / "site"
    subprocess.run([sys.executable, *PIP, "--target", site, package], check=True)
    path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path}
    options = {"env": environment, "capture_output": True, "text": True, "cwd": tmp_path}

    corelm = [sys.executable, "-m", "corelm"]
    alone = options | {"env": environment | {"CORELM_PLUGINS": "corelm-top-cube"}}
    listed = subprocess.run([*corelm, "plugins", "--check", "--json"], **alone)
    assert listed.returncode == 0, listed.stderr
    [plugin] = [p for p in json.loads(listed.stdout) if p["distribution"] == "corelm-top-cube"]
    assert plugin["offers"] == [{"kind": kind, "name": entry}]
    written = subprocess.run([*corelm, *words], **options).stdout
    assert written.splitlines(keepends=True)[-1] == output
    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", package]
    done = subprocess.run(tests, **options)
    assert done.returncode == 0, done.stdout
    assert f"{passed} passed" in done.stdout


def test_a_package_offers_one_thing(run: Run, tmp_path: Path) -> None:
    result = run("plugins", "new", "a", "--model", "--decoder", "--into", str(tmp_path))
    assert (result.code, result.out) == (2, "")
    assert result.err == (
        "error: --decoder or --model, not both: a package to start from offers one thing\n"
    )


def test_the_message_about_a_name_is_of_its_kind(run: Run) -> None:
    result = run("plugins", "new", "1a", "--command")
    assert result.err.startswith("error: '1a' cannot name a command: ")
    assert result.err.endswith("for example next_entropy\n")
