"""`corelm watermark`."""

from __future__ import annotations

import io
import json
from functools import partial
from pathlib import Path

import pytest

import corelm


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("THE_KEY", "hush")


@pytest.fixture
def run(call):
    return partial(call, "watermark")


@pytest.fixture(scope="module")
def marked(tmp_path_factory):
    """A text of 60 tokens with each watermark: files by name."""
    folder, model = tmp_path_factory.mktemp("texts"), corelm.load("imdb")
    files = {}
    for name in ("green_list", "gumbel_max", "synthid"):
        sampler = "min_length(n=60) | " + str(corelm.sampler(name, key="hush"))
        [text] = corelm.generate(model, "This movie", sampler=sampler, length=60, seed=1)
        files[name] = folder / f"{name}.txt"
        files[name].write_text(text.text, "utf-8")
    return files


@pytest.mark.parametrize("name", ["green_list", "gumbel_max", "synthid"])
def test_a_watermark_is_found(run, marked, name):
    code, out, err = run("detect", str(marked[name]), "--sampler", name, "--key", "env:THE_KEY")
    assert (code, err) == (0, "")
    rows = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert list(rows) == ["tokens", "scored", "score", "z-score", "p-value"]
    assert float(rows["p-value"]) < 1e-6


def test_one_json_document_without_the_key(run, marked):
    code, out, err = run("detect", str(marked["green_list"]), "--key", "hush", "--json")
    detection = json.loads(out)
    assert (code, err) == (0, "")
    assert list(detection) == ["watermark", "tokens", "scored", "score", "chance", "z", "p_value"]
    assert detection["watermark"] == "green_list"
    assert detection["p_value"] < 1e-6
    assert "hush" not in out


def test_the_expression_that_wrote_the_text(run, marked):
    words = ("--sampler", "temperature(t=1) | synthid(keys=['env:THE_KEY'])")
    assert run("detect", str(marked["synthid"]), *words)[0] == 0
    words = ("--sampler", "green_list(key='hush', gamma=0.5)", "--key", "hush")
    code, _, err = run("detect", str(marked["green_list"]), *words)
    assert (code, err) == (2, "error: give the key in --sampler or as --key, not both\n")


def test_standard_input(run, marked, monkeypatch):
    data = marked["green_list"].read_bytes()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert json.loads(run("detect", "-", "--key", "hush", "--json")[1])["p_value"] < 1e-6
    monkeypatch.setattr("sys.stdin", None)
    code, _, err = run("detect", "-", "--key", "hush")
    assert (code, err.startswith("error: standard input is closed: the text cannot")) == (2, True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read the text {}: No such file or directory"),
        (b"ab\xff", "the text {} is not UTF-8: byte 0xff at position 2"),
        (b"", "the text is too short: 0 tokens, and not 2 known ones in a row"),
        (b"movie", "the text is too short: 1 tokens, and not 2 known ones in a row"),
    ],
)
def test_files_that_are_refused(run, tmp_path, content, message):
    file = tmp_path / "text.txt"
    if content is not None:
        file.write_bytes(content)
    code, out, err = run("detect", str(file), "--key", "hush")
    assert (code, out, err) == (2, "", f"error: {message.format(file)}\n")


def test_other_paths_that_are_refused(run, tmp_path):
    assert run("detect", str(tmp_path), "--key", "hush")[2].endswith("Is a directory\n")
    assert run("detect", "a\0b", "--key", "hush")[0] == 2
    assert "\x1b" not in run("detect", "\x1b[31m", "--key", "hush")[2]
    if Path("/dev/zero").exists():
        err = run("detect", "/dev/zero", "--key", "hush")[2]
        assert err == "error: the text /dev/zero is too long: more than 32 MiB\n"


def test_a_key_is_needed(run, marked):
    code, _, err = run("detect", str(marked["green_list"]))
    assert (code, err[:41]) == (2, "error: key must be a secret text, or env:")
    assert run("detect", str(marked["green_list"]), "--key", "env:NO_SUCH")[0] == 2
