"""`corelm sample --output`: many texts in a file, whole or not at all."""

from __future__ import annotations

import json
import signal
from collections import Counter
from pathlib import Path

import pytest

import corelm

WORDS = (
    "sample", "the", "--model", "cats", "--sampler", "kills_once", "-n", "134",
    "--length", "8", "--seed", "3", "--output",
)  # fmt: skip


@pytest.fixture
def folder(killed: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, in which nothing has been killed yet; the third batch of texts is."""
    monkeypatch.chdir(killed.parent)
    monkeypatch.setenv("KILL_AT", "0 6")  # the first step of a batch of 6 texts
    return killed.parent


@pytest.fixture
def whole(folder, run) -> bytes:
    """The bytes of a file that was written in one go."""
    (folder / "killed").touch()
    result = run(*WORDS, "whole.jsonl")
    assert (result.code, result.out) == (0, "")
    (folder / "killed").unlink()
    content = (folder / "whole.jsonl").read_bytes()
    (folder / "whole.jsonl").unlink()
    return content


def test_a_file_has_the_texts_that_generate_writes(whole, folder, run):
    texts = corelm.generate(
        corelm.load("cats"), "the", sampler="stochastic", length=8, n=134, seed=3
    )
    lines = [json.loads(line) for line in whole.splitlines()]
    assert [(line["sample"], line["text"], line["tokens"]) for line in lines] == [
        (text.sample, text.text, text.tokens) for text in texts
    ]
    reasons = Counter(text.finish_reason for text in texts)
    assert set(reasons) == {"length", "end"}
    (folder / "killed").touch()
    last = run(*WORDS, "again.jsonl").err.splitlines()[-2:]
    assert last[0] == "finish reasons: " + ", ".join(f"{n} {r}" for r, n in reasons.most_common())
    assert last[1] == "written to again.jsonl"


@pytest.mark.slow
def test_a_killed_command_leaves_no_file_and_continues_to_the_same_bytes(whole, folder, run, spawn):
    assert spawn(*WORDS, "t.jsonl").code == -signal.SIGKILL
    assert not (folder / "t.jsonl").exists()
    part = folder / "t.jsonl.part"
    assert whole.startswith(part.read_bytes())
    assert part.read_bytes().count(b"\n") == 128
    part.write_bytes(part.read_bytes() + whole.splitlines()[128][:50])  # a torn line
    # Neither without --resume nor with other settings is the work of the first run thrown away.
    assert "t.jsonl.part is unfinished: continue it with --resume" in run(*WORDS, "t.jsonl").err
    other = run(*WORDS, "t.jsonl", "--resume", "--length", "9")
    assert (other.code, "has other settings: length 8, here 9" in other.err) == (2, True)
    without_seed = [word for word in WORDS if word not in ("--seed", "3")]
    result = run(*without_seed, "t.jsonl", "--resume")
    assert (result.code, result.err.splitlines()[0]) == (0, "continuing after 128 texts")
    assert (folder / "t.jsonl").read_bytes() == whole
    assert sorted(path.name for path in folder.iterdir()) == ["killed", "t.jsonl"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "at", [0, 63, 64, 100], ids="in line {}".format
)  # the batch of a damaged line is written again
def test_what_is_damaged_is_written_again(whole, folder, run, spawn, at):
    spawn(*WORDS, "t.jsonl")
    part = folder / "t.jsonl.part"
    lines = part.read_bytes().splitlines(keepends=True)
    lines[at] = b"\0" * len(lines[at])
    part.write_bytes(b"".join(lines))
    assert run(*WORDS, "t.jsonl", "--resume").code == 0
    assert (folder / "t.jsonl").read_bytes() == whole


@pytest.mark.long
def test_dask_workers_write_the_same_bytes_though_one_is_killed(whole, folder, spawn):
    pytest.importorskip("distributed", reason="pip install distributed")
    assert spawn(*WORDS, "t.jsonl", "--workers", "2").code == 0
    assert (folder / "killed").exists()
    assert (folder / "t.jsonl").read_bytes() == whole


def test_parquet_has_the_same_texts(whole, folder, run):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pip install pyarrow")
    (folder / "killed").touch()
    assert run(*WORDS, "t.parquet").code == 0
    rows = parquet.read_table("t.parquet").to_pylist()
    assert rows == [json.loads(line) for line in whole.splitlines()]
    assert sorted(path.name for path in folder.iterdir()) == ["killed", "t.parquet"]


def test_ctrl_c_while_parquet_is_written_leaves_no_part_of_it(whole, folder, run, monkeypatch):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pip install pyarrow")
    (folder / "killed").touch()

    def interrupt(writer, table):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(parquet.ParquetWriter, "write_table", interrupt)
        result = run(*WORDS, "t.parquet")
    assert result.code == 130
    last = "the finished texts are kept; --resume continues the file"
    assert result.err.splitlines()[-1] == last
    assert {path.name for path in folder.iterdir()} == {
        "killed", "t.parquet.part", "t.parquet.part.json"
    }  # fmt: skip
    assert run(*WORDS, "t.parquet", "--resume").code == 0
    assert parquet.read_table("t.parquet").num_rows == 134


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--resume"], "--workers, --scheduler and --resume need --output FILE"),
        (
            ["--output", "t.jsonl", "--json"],
            "--json, --no-stream, --color and --alternatives are for",
        ),
        (["--output", "."], "'.' is not a file, so texts cannot be written into it"),
        (["--output", "gone/t.jsonl"], "cannot write to 'gone/t.jsonl': gone is not a folder"),
    ],
)
def test_what_cannot_be_written_is_refused(folder, run, words, message):
    result = run("sample", "the", "--model", "cats", "--seed", "1", *words)
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith(f"error: {message}")


@pytest.mark.parametrize("name", ["", ".json", ".lock"])
@pytest.mark.parametrize("dangles", [False, True])
@pytest.mark.parametrize("resume", [[], ["--resume"]])
def test_a_link_in_place_of_an_unfinished_file_is_refused(folder, run, name, dangles, resume):
    """Whoever may write into the folder would choose the file that is overwritten."""
    (folder / "killed").touch()
    precious = folder / "precious"
    if not dangles:
        precious.write_text("precious")
    link = folder / f"o.jsonl.part{name}"
    link.symlink_to(precious)
    result = run(*WORDS, "o.jsonl", *resume)
    assert result.code == 2
    assert f"error: '{link.name}' is a link, and " in result.err
    assert precious.exists() != dangles
    assert dangles or precious.read_text() == "precious"
    assert not (folder / "o.jsonl").exists()
