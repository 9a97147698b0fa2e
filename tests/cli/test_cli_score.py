"""`corelm score`."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
TOY = ("score", "--model", "toy")


@pytest.fixture(autouse=True)
def terminal_of_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    file = tmp_path / "texts.jsonl"
    file.write_text('"the cat sat"\n\n{"prompt": "the", "text": " dog", "sample": 3}\n', "utf-8")
    return file


def test_each_word_stands_over_its_surprisal(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "text.txt"
    file.write_text("the cat sat\n", "utf-8")
    lines = run(*TOY, str(file)).out.splitlines()
    assert lines[0].split() == ["the", "cat", "sat"]
    assert len(lines[1].split()) == 3
    assert lines[-2].startswith("3 tokens, ")
    assert lines[-1] == "rep-4 -, does not end in a loop"


def test_several_texts_have_a_table_with_a_row_each(run: Run, texts: Path) -> None:
    out = run(*TOY, str(texts)).out
    assert out.startswith("[0]\nthe ")
    assert "[1]\nthe\ndog\n1.08\n" in out  # 4.1 of 12.1
    assert [line.split()[-5] for line in out.splitlines()[-3:]] == ["3", "1", "4"]
    brief = run(*TOY, str(texts), "--brief").out.splitlines()
    assert len(brief) == 4
    assert brief == out.splitlines()[-4:]


def test_the_last_line_is_of_all_texts(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "texts.jsonl"
    looping = " ".join(["the cat"] * 3)
    file.write_text(f'"the cat sat on the mat"\n"{looping}"\n', "utf-8")
    document = run(*TOY, str(file), "--json").json
    one, other = document["texts"]
    total = document["total"]
    assert (one["loops"], other["loops"], total["loops"]) == (False, True, 0.5)
    assert (one["rep_4"], other["rep_4"]) == (0, pytest.approx(1 / 3))
    assert total["rep_4"] == pytest.approx(1 / 6)
    assert total["tokens"] == 12
    assert total["mean"] == pytest.approx((one["surprisal"] + other["surprisal"]) / 12)
    last = run(*TOY, str(file), "--brief").out.splitlines()[-1]
    assert last.split()[:2] == ["all", "12"]
    assert last.split()[-2:] == ["17%", "50%"]


def test_texts_are_compared_with_human_text_where_it_was_measured(run: Run, texts: Path) -> None:
    document = run("score", "--model", "imdb", str(texts), "--json").json
    mean = document["human"]["mean"]
    lines = run("score", "--model", "imdb", str(texts), "--brief").out.splitlines()
    assert "from human" in lines[0]
    shown = [float(line.split()[-4]) for line in lines[1:]]
    expected = [each["mean_surprisal"] - mean for each in document["texts"]]
    assert shown == pytest.approx([*expected, document["total"]["mean"] - mean], abs=0.0051)
    assert run(*TOY, str(texts), "--json").json["human"] is None


def test_as_json(run: Run, texts: Path) -> None:
    document = run(*TOY, str(texts), "--json").json
    first, second = document["texts"]
    assert (second["prompt"], second["text"]) == ("the", " dog")
    [token] = second["tokens"]
    assert token["text"] == " dog"
    assert token["rank"] == 2
    assert second["surprisal"] == second["mean_surprisal"] == token["surprisal"]
    assert [word["text"] for word in first["words"]] == ["the", " cat", " sat"]


def test_the_texts_of_sample_can_be_scored(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "drawn.jsonl"
    drawn = ("sample", "--model", "toy", "the", "--sampler", "greedy", "--length", "3")
    run(*drawn, "--output", str(file))
    [text] = run(*TOY, str(file), "--json").json["texts"]
    assert (text["prompt"], text["text"]) == ("the", " cat sat on")


def test_standard_input(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"the cat\n")))
    assert run(*TOY, "-").out.split()[:2] == ["the", "cat"]


def test_lines_are_as_wide_as_the_terminal(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "text.txt"
    file.write_text("the cat sat on the mat " * 20, "utf-8")
    for width in (40, 80, 140):
        monkeypatch.setenv("COLUMNS", str(width))
        words = run(*TOY, str(file)).out.splitlines()[:-2]
        longest = max(map(len, words))
        assert width - 12 < longest <= width


def test_words_are_coloured_where_it_is_asked_for(run: Run, texts: Path) -> None:
    assert "\x1b" not in run(*TOY, str(texts)).out
    assert "\x1b" not in run(*TOY, str(texts), "--color").out  # not a terminal
    words = ("score", "--model", "imdb", str(texts))  # which finds cats surprising
    assert "\x1b[32m" in run(*words, "--color=always").out
    assert "\x1b[32m" in run(*words, "--color", "always").out


def test_unknown_words_are_noted(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "text.txt"
    file.write_text("the zebra sat", "utf-8")
    result = run(*TOY, str(file))
    assert "does not know 'zebra'" in result.err
    assert result.out.splitlines()[1].split()[1] == "-"
    assert "zebra" not in run(*TOY, str(file), "--unknown").err
    nats = run(*TOY, str(file), "--json").json["texts"][0]["tokens"][1]["surprisal"]
    assert nats is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "there is no text in"),
        ("the cat\n", "line 1 of"),
        ('{"prompt": "the"}\n', 'expected a string or {"text": "...", "prompt"'),
        ("[1]\n", "has no text"),
        (json.dumps("\ud800") + "\n", "half of a surrogate pair"),
    ],
)
def test_files_without_texts_are_refused(
    run: Run, tmp_path: Path, content: str, message: str
) -> None:
    file = tmp_path / "texts.jsonl"
    file.write_text(content, "utf-8")
    result = run(*TOY, str(file))
    assert result.code == 2
    assert message in result.err
    assert "cannot read" in run(*TOY, str(tmp_path / "missing.txt")).err


def test_a_text_that_is_not_there_is_no_prompt_file(run, tmp_path) -> None:
    gone = tmp_path / "nofile.txt"
    result = run("score", str(gone))
    assert result.err == f"error: cannot read the text {gone}: No such file or directory\n"
