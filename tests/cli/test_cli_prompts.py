"""`corelm sample --prompt-file prompts.jsonl`: texts of several prompts, written together."""

from __future__ import annotations

import json

import pytest

import corelm
from corelm.testing import ToyModel

WORDS = ("sample", "--model", "toy", "--sampler", "stochastic", "--length", "6", "--seed", "3")
PROMPTS = ["the", "the cat sat", "", "dog", "the cat sat on the mat", "the"]


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "prompts.jsonl"
    lines = [json.dumps(p if i % 2 else {"prompt": p, "id": i}) for i, p in enumerate(PROMPTS)]
    path.write_text("\ufeff" + "\r\n\n".join(lines), encoding="utf-8")
    return str(path)


def alone(n):
    """Return the texts of each prompt alone."""
    model = ToyModel()
    return [
        text
        for prompt in PROMPTS
        for text in corelm.generate(model, prompt, sampler="stochastic", length=6, n=n, seed=3)
    ]


def test_each_prompt_has_the_texts_that_it_has_alone(run, file):
    result = run(*WORDS, "--prompt-file", file, "-n", "2", "--json")
    assert result.json["prompts"] == PROMPTS
    assert "prompt" not in result.json
    assert [
        (text["prompt"], text["sample"], text["text"], text["finish_reason"])
        for text in result.json["texts"]
    ] == [(text.prompt, text.sample, text.text, text.finish_reason) for text in alone(2)]
    tokens = [step["surprisal"] for text in result.json["texts"] for step in text["tokens"]]
    assert tokens == [step.surprisal for text in alone(2) for step in text.steps]


def test_texts_are_numbered_in_the_order_of_the_prompts(run, file):
    result = run(*WORDS, "--prompt-file", file)
    expected = [f"[{i}]\n{text.prompt}{text.text}\n\n" for i, text in enumerate(alone(1))]
    assert result.out == "".join(expected)


def test_one_prompt_is_not_numbered(run, file, tmp_path):
    (tmp_path / "one.jsonl").write_text('"the cat"\n')
    result = run(*WORDS, "--prompt-file", "one.jsonl")
    [text] = corelm.generate(ToyModel(), "the cat", sampler="stochastic", length=6, seed=3)
    assert result.out == f"the cat{text.text}\n"


def test_a_file_of_texts_has_all_of_them_and_continues(run, file, tmp_path):
    words = (*WORDS, "--prompt-file", file, "-n", "30", "--output", "texts.jsonl")
    assert run(*words).code == 0
    whole = (tmp_path / "texts.jsonl").read_bytes()
    assert [
        (line["prompt"], line["sample"], line["text"])
        for line in map(json.loads, whole.splitlines())
    ] == [(text.prompt, text.sample, text.text) for text in alone(30)]
    # As a killed command leaves it, with a part of the second batch.
    settings = tmp_path / "texts.jsonl.part.json"
    (tmp_path / "texts.jsonl").unlink()
    assert run(*words, "--length", "0").code == 0  # writes and removes its settings
    (tmp_path / "texts.jsonl").unlink()
    (tmp_path / "texts.jsonl.part").write_bytes(b"".join(whole.splitlines(keepends=True)[:100]))
    assert not settings.exists()
    assert run(*words, "--resume").code == 0
    assert (tmp_path / "texts.jsonl").read_bytes() == whole


@pytest.mark.slow
def test_workers_write_the_same_bytes(run, file, spawn, tmp_path):
    pytest.importorskip("distributed", reason="pip install distributed")
    words = (*WORDS, "--prompt-file", file, "-n", "30", "--output")
    assert run(*words, "alone.jsonl").code == 0
    assert spawn(*words, "workers.jsonl", "--workers", "2").code == 0
    names = ("alone.jsonl", "workers.jsonl")
    one, other = ((tmp_path / name).read_bytes() for name in names)
    assert one == other


def test_other_prompts_do_not_continue_a_file(run, file, tmp_path, monkeypatch):
    words = (*WORDS, "--prompt-file", file, "--output", "texts.jsonl")
    failing = [word if word != "stochastic" else "fails" for word in words]
    assert run(*failing).code == 1
    (tmp_path / "prompts.jsonl").write_text('"a cat"\n')
    result = run(*failing, "--resume")
    assert (result.code, "prompts 6, here 1; " in result.err) == (2, True)


def test_other_decoders_write_the_texts_of_each_prompt_too(run, file):
    result = run(*WORDS, "--decoder", "wide", "--prompt-file", file, "--json")
    assert [text["text"] for text in result.json["texts"]] == [text.text for text in alone(1)]


def test_an_error_ends_the_command_and_keeps_complete_texts(run, file):
    words = [word if word != "stochastic" else "fails" for word in WORDS]
    result = run(*words, "--prompt-file", file, "--json")
    assert result.code in (1, 3)
    assert "broken" in result.json["error"]


def test_unknown_words_of_all_prompts_are_noted(run, file, tmp_path):
    (tmp_path / "new.jsonl").write_text('"the zebra"\n"a gnu"\n')
    result = run(*WORDS, "--prompt-file", "new.jsonl")
    assert "the model does not know 'zebra', 'a' and 'gnu'" in result.err.replace(
        "', 'gnu", "' and 'gnu"
    )


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "there is no prompt in bad.jsonl"),
        ("\n \n", "there is no prompt in bad.jsonl"),
        ("the cat\n", "line 1 of bad.jsonl is not JSON: write each prompt in quotation marks"),
        ('"the"\n\n{"text": "a"}\n', "line 3 of bad.jsonl has no prompt: expected a string or"),
        ('{"prompt": ["a"]}', "line 1 of bad.jsonl has no prompt"),
        ("3", "line 1 of bad.jsonl has no prompt"),
        ('"\\ud800"', "line 1 of bad.jsonl has half of a surrogate pair"),
        ("[" * 100_000, "line 1 of bad.jsonl is not JSON"),
    ],
)
def test_other_files_are_refused(run, tmp_path, monkeypatch, content, complaint):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.jsonl").write_text(content)
    result = run(*WORDS, "--prompt-file", "bad.jsonl")
    assert result.code == 2
    assert complaint in result.err


def test_a_file_of_another_name_is_one_prompt(run, tmp_path):
    path = tmp_path / "prompt.txt"
    path.write_text('"the"\n"cat"\n')
    assert run(*WORDS, "--prompt-file", str(path), "--json").json["prompt"] == '"the"\n"cat"'
