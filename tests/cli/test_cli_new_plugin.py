"""`corelm plugins new`."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import main
from programs import python

from corelm.cli.scaffold import named
from corelm.errors import UsageError

Run = Callable[..., Any]
PIP = (
    "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation",
    "--disable-pip-version-check", "--root-user-action", "ignore",
)  # fmt: skip
KINDS = ["sampler", "mask", "decoder", "model", "metric", "observer", "command"]
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


YOURS = "the bare name stays corelm's, and yours is chosen by its full name\n"


@pytest.mark.parametrize(
    ("name", "kind", "owner", "offer", "outcome"),
    [
        ("top_k", "sampler", "corelm 0.1.0", "sampler top_k", YOURS),
        ("sample", "command", "corelm", "command sample", "the bare "),
        ("score", "command", "corelm 0.1.0", "command score", ""),
        ("top_k", "mask", "corelm 0.1.0", "sampler top_k", "the bare"),
        ("top_k", "decoder", "corelm 0.1.0", "sampler top_k", "the "),
        ("wide", "sampler", "corelm-toy 1.0", "decoder wide", "each "),
    ],
)
def test_a_name_that_is_taken_is_warned_of(
    run: Run, tmp_path: Path, name: str, kind: str, owner: str, offer: str, outcome: str
) -> None:
    result = run("plugins", "new", name, f"--{kind}", "--into", str(tmp_path))
    assert result.code == 0
    warning = f"warning: {owner} already has a {offer}: with both installed, {outcome}"
    assert warning in result.err


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
        done = python("-m", "ruff", *words, "--quiet", ".", cwd=tmp_path / "corelm-top-cube")
        assert done.returncode == 0, done.stdout


EVERY = {
    "sampler": (("sample", "--model", "toy", "the", "--length", "3", "--sampler", "a_sampler",
                 "--nats", "0"), "the cat sat on\n"),
    "mask": (("sample", "--model", "toy", "the", "--length", "3", "--sampler",
              "a_mask(letter='a') | greedy"), "the dog\n"),
    "decoder": (("sample", "--model", "toy", "the", "--length", "3", "--decoder", "a_decoder",
                 "--sure", "3"), "the cat sat on\n"),
    "model": (("sample", "--model", "a_model", "the ", "--length", "4", "--sampler", "greedy"),
              "the the \n"),
    "metric": (("report", "greedy", "--model", "toy", "-n", "2", "--length", "3", "--metric",
                "a_metric", "--csv", "-"),
               "greedy,generated_texts,corelm-a-metric:a_metric,1.5,,,2,,,,,,\n"),
    "observer": (("sample", "--model", "toy", "the", "--length", "3", "--sampler", "greedy"),
                 "the cat sat on\n"),
    "command": (("a-command", "This movie"), "3.16\n"),
}  # fmt: skip
"""The command that tries each kind, and the last line of what it writes."""

DRIVER = """
import logging, sys
from corelm.cli.app import main

logging.basicConfig(level=logging.INFO, format="logged: %(message)s", stream=sys.stderr)
for words in {commands}:
    assert main(words) == 0, words
    print("=====", flush=True)
"""


@pytest.mark.slow
def test_every_kind_of_package_works_and_passes_its_tests_and_examples(
    run: Run, tmp_path: Path
) -> None:
    """Each is generated, installed, checked, tried, and tested with its doctests."""
    for kind in EVERY:
        words = ("plugins", "new", f"a_{kind}", f"--{kind}", "--into", str(tmp_path / "packages"))
        assert run(*words).code == 0
    packages, site = sorted((tmp_path / "packages").iterdir()), tmp_path / "site"
    assert len(packages) == len(EVERY) == len(KINDS)
    python(*PIP, "--target", site, *packages, check=True)
    path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))
    options = {"env": {"PYTHONPATH": path}, "cwd": tmp_path}

    own = {"PYTHONPATH": path, "CORELM_PLUGINS": ",".join(package.name for package in packages)}
    listed = python("-m", "corelm", "plugins", "--check", "--json", env=own, cwd=tmp_path)
    assert listed.returncode == 0, listed.stderr
    offers = {p["distribution"]: p["offers"] for p in json.loads(listed.stdout)}
    for kind in EVERY:
        entry = "a-command" if kind == "command" else f"a_{kind}"
        word = "sampler" if kind == "mask" else kind
        expected = [] if kind == "observer" else [{"kind": word, "name": entry}]
        assert offers[f"corelm-a-{kind}"] == expected

    driver = DRIVER.format(commands=[list(words) for words, _ in EVERY.values()])
    written = python("-c", driver, **options)
    assert written.returncode == 0, written.stderr
    for text, (_, output) in zip(written.stdout.split("=====\n"), EVERY.values(), strict=False):
        assert [line for line in text.splitlines(keepends=True) if line == output]
    assert "logged: position 0: 1 token, 0.00 nats of entropy" in written.stderr

    tests = ("-m", "pytest", "-v", "-p", "no:cacheprovider", "--doctest-modules")
    done = python(*tests, *packages, **options)
    assert done.returncode == 0, done.stdout
    for kind in set(EVERY) - {"model", "command"}:
        assert re.search(rf"corelm_a_{kind}\.py::corelm_a_{kind}\..* PASSED", done.stdout)
        assert f"test_a_{kind}.py::test_it_is_installed PASSED" in done.stdout
    assert re.search(r"test_a_sampler\.py::.*-treats_rows_alone\] PASSED", done.stdout)


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
