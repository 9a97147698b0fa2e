"""`corelm explain`."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
TOY = ("explain", "--model", "toy", "the")
CHAIN = "top_k(k=3) | top_p(p=0.8) | temperature(t=0.5)"
LONG = "a text that does not end " * 4000

# After "the" come cat 5.1, dog 4.1, mat 2.1 and eight others with 0.1 each, of 12.1 in all. Of
# the first three, cat and dog are 0.814; at half the temperature they are as 5.1^2 to 4.1^2.


def shown(text: str) -> list[list[str]]:
    """The words of each line."""
    return [line.split() for line in text.splitlines()]


@pytest.fixture(autouse=True)
def terminal_of_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def test_the_stages(run: Run) -> None:
    result = run(*TOY, "--sampler", CHAIN)
    lines = shown(result.out)
    assert result.code == 0
    assert lines[0] == ["the", "..."]
    assert ["nats", "bits", "choices", "tokens", "mass"] in lines
    assert ["model", "1.35", "1.95", "3.9", "11", "100%"] in lines
    assert ["1", "top_k(k=3)", "1.04", "1.50", "2.8", "3", "93.4%"] in lines
    assert ["2", "top_p(p=0.8)", "0.69", "0.99", "2.0", "2", "76.0%"] in lines
    assert ["3", "temperature(t=0.5)", "0.67", "0.97", "2.0", "2", "76.0%"] in lines


def test_the_likeliest_tokens_before_and_after_each_stage(run: Run) -> None:
    lines = shown(run(*TOY, "--sampler", CHAIN, "--top", "3").out)
    assert ["model", "1", "2", "3"] in lines
    assert ["cat", "42.1%", "45.1%", "55.4%", "60.7%"] in lines
    assert ["dog", "33.9%", "36.3%", "44.6%", "39.3%"] in lines
    assert ["mat", "17.4%", "18.6%", "-", "-"] in lines
    assert ["all", "others", "6.6%", "-", "-", "-"] in lines


def test_each_stage_lists_the_tokens_that_it_removed(run: Run) -> None:
    text = " ".join(run(*TOY, "--sampler", CHAIN, "--top", "2").out.split())
    assert "1 top_k(k=3) 8 tokens, 6.6%: [end] 0.83%, and 0.83%, 6 more" in text
    assert "2 top_p(p=0.8) 1 token, 18.6%: mat 18.6%" in text


def test_what_a_stage_removed_is_counted_also_where_no_token_is_shown(run: Run) -> None:
    lines = run(*TOY, "--sampler", "top_k(k=3)", "--top", "0").out.splitlines()
    assert "8 tokens, 6.6%" in [line.strip() for line in lines]


def test_a_word_is_traced(run: Run) -> None:
    lines = shown(run(*TOY, "--sampler", CHAIN, "--token", "mat").out)
    path = lines[lines.index(["mat"]) :]
    assert path == [
        ["mat"],
        ["probability", "rank"],
        ["model", "17.4%", "3"],
        ["1", "top_k(k=3)", "18.6%", "3"],
        ["2", "top_p(p=0.8)", "-", "-"],
        ["3", "temperature(t=0.5)", "-", "-"],
        ["removed", "by", "2", "top_p(p=0.8)"],
    ]
    text = run(*TOY, "--sampler", CHAIN, "--token", "dog").out
    assert "drawn with probability 39.3%" in text


def test_a_stage_that_changes_nothing_has_no_column(run: Run) -> None:
    text = run(*TOY, "--sampler", "temperature(t=1) | top_k(k=2)", "--token", "cat").out
    assert ["model", "2"] in shown(text)
    assert ["1", "temperature", "1.35", "1.95", "3.9", "11", "100%"] in shown(text)
    assert text.count("temperature") == 1


@pytest.mark.packages
@pytest.mark.parametrize("columns", ["80", "40", "20"])
def test_it_fits_its_terminal(run: Run, monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    result = run(*TOY, "--preset", "llama.cpp", "--token", "cat")
    assert result.code == 0
    assert max(map(len, result.out.splitlines())) <= int(columns)
    assert "removed" in result.out


def test_in_40_columns_the_figures_stand_below_the_stage(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    text = run(*TOY, "--sampler", "temperature(t=1) | top_k(k=2)").out
    assert (
        "  model\n"
        "    1.35 nats, 1.95 bits, 3.9 choices,\n"
        "    11 tokens, mass 100%\n"
        "  1 temperature\n"
        "    changes nothing\n"
        "  2 top_k(k=2)\n"
        "    0.69 nats, 0.99 bits, 2.0 choices, 2\n"
        "    tokens, mass 76.0%\n"
    ) in text


def test_columns_that_have_no_room_stand_below(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    hot_and_cold = " | ".join(["temperature(t=2)", "temperature(t=0.5)"] * 3)
    lines = shown(run(*TOY, "--sampler", hot_and_cold, "--top", "1").out)
    assert ["model", "1", "2"] in lines
    assert ["3", "4", "5"] in lines
    assert ["6"] in lines


def test_a_decoder_that_says_what_it_considers(run: Run) -> None:
    decoder = ("--sampler", "stochastic", "--decoder", "wide", "--width", "2")
    text = " ".join(run(*TOY, *decoder, "--token", "dog").out.split())
    assert "wide(width=2) The ordinary decoder with a parameter. score cat 0.421 dog 0.339" in text
    assert "The stages are what its sampler does at this step. Which token it takes may" in text
    assert "does not say" not in text
    assert "probability 33.9% after the last stage" in text
    found = run(*TOY, *decoder, "--json").json["decoder"]
    assert (found["decoder"], found["is_ancestral"]) == ("wide(width=2)", False)
    assert [(each["text"], round(each["score"], 3)) for each in found["next_tokens"]] == [
        (" cat", 0.421), (" dog", 0.339),
    ]  # fmt: skip


def test_a_decoder_that_does_not_say(run: Run) -> None:
    text = " ".join(run(*TOY, "--decoder", "breaks").out.split())
    assert "breaks Not a decoder that works. The stages are what its sampler does" in text
    assert "not written here, and it does not say which it considers." in text
    assert run(*TOY, "--decoder", "breaks", "--json").json["decoder"]["next_tokens"] is None


def test_the_ordinary_decoder_needs_no_words(run: Run) -> None:
    assert run(*TOY, "--decoder", "ancestral").out == run(*TOY).out


def test_as_json(run: Run) -> None:
    document = run(*TOY, "--sampler", CHAIN, "--token", "mat", "--top", "2", "--json").json
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", document.pop("corelm"))
    stages, likeliest = document.pop("stages"), document.pop("likeliest")
    followed = document.pop("followed")
    asked = {"model": "toy", "sampler": CHAIN, "prompt": "the", "decoder": None}
    assert document == {**asked, "after": "", "seed": None}
    assert [stage["sampler"] for stage in stages] == [None, *CHAIN.split(" | ")]
    assert [stage["kept"] for stage in stages] == [11, 3, 2, 2]
    assert [stage["removed"] for stage in stages] == [0, 8, 1, 0]
    assert [stage["changed"] for stage in stages] == [False, True, True, True]
    assert stages[2]["removed_mass"] == pytest.approx(2.1 / 11.3)
    assert stages[2]["kept_mass"] == pytest.approx(9.2 / 12.1)
    assert stages[2]["likeliest_removed"] == [
        {"token": 6, "text": " mat", "probability": pytest.approx(2.1 / 11.3)}
    ]
    assert len(stages[1]["likeliest_removed"]) == 2
    assert stages[3]["entropy"] == pytest.approx(0.6699, abs=1e-4)
    assert stages[3]["entropy_bits"] == pytest.approx(0.9665, abs=1e-4)
    assert stages[3]["effective_choices"] == pytest.approx(1.9540, abs=1e-4)
    assert [one["text"] for one in likeliest] == [" cat", " dog"]
    assert (followed["text"], followed["ranks"], followed["removed_by"]) == (
        " mat", [3, 3, None, None], 2,
    )  # fmt: skip


def test_json_without_a_word_to_follow(run: Run) -> None:
    assert run(*TOY, "--json").json["followed"] is None


def test_the_sampler_is_chosen_as_in_sample(run: Run) -> None:
    ways = (
        (),
        ("--t", "0.7"),
        ("--sampler", "temperature", "--t", "0.7"),
        ("--sampler", "temperature(t=0.7)"),
    )
    for words in ways:
        assert run(*TOY, "--json", *words).json["sampler"] == "temperature(t=0.7)"


def test_the_prompt_is_read_as_in_sample(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "prompt.txt"
    file.write_text("the cat\n")
    words = ("explain", "--model", "toy", "--sampler", "greedy")
    assert run(*words, "--prompt-file", str(file)).out.startswith("the cat ...\n")
    assert run(*words, "").out.startswith("...\n")
    assert run(*words).out.startswith("and ...\n")


def test_of_a_long_prompt_the_end_is_shown(run: Run) -> None:
    heading = run("explain", "--model", "toy", LONG).out.splitlines()[0]
    assert heading == "... not end a text that does not end a text that does not end ..."


def test_the_word_for_everything_unknown(run: Run) -> None:
    assert run(*TOY, "--unknown", "--json").json["stages"][0]["kept"] == 12


@pytest.mark.packages
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--top", "-1"), "top must be at least 0, not -1"),
        (("--top", "x"), "top must be a whole number, not 'x'"),
        (("--tokn", "x"), "there is no option --tokn; did you mean '--token'?"),
        (("--length", "3"), "there is no option --length: the sampler temperature has --t"),
        (("--token", "zebra"),
         "the vocabulary of this model does not have 'zebra'; leave it out"),
        (("--token", "the cat"),
         "'the cat' is 2 tokens ('the', 'cat'); give each of them by itself"),
        (("--preset", "vlm"),
         "there is no preset 'vlm'; did you mean 'vllm'? (there are: llama.cpp, transformers, "
         "vllm, mlx-lm, keras-hub)"),
    ],
)  # fmt: skip
def test_wrong_usage_is_one_sentence_and_exit_code_2(
    run: Run, words: tuple[str, ...], sentence: str
) -> None:
    result = run(*TOY, *words)
    assert (result.code, result.out) == (2, "")
    assert result.err.removeprefix("printed at import\n") == f"error: {sentence}\n"


def test_likely_mistakes_are_noted_once(run: Run) -> None:
    result = run(*TOY, "--sampler", "temperature(t=2) | min_p(p=0.1)")
    assert result.code == 0
    assert re.findall("^note: .*$", result.err, re.MULTILINE) == [
        "note: temperature(t=2) flattens the probabilities that min_p(p=0.1) after it compares, "
        "so more unlikely tokens stay; put the temperature last"
    ]
    assert "note" not in result.out


def test_a_prompt_longer_than_the_context_gets_a_note(run: Callable[..., Any]) -> None:
    result = run("explain", "the " * 130, "--model", "toy", "--sampler", "greedy")
    assert "note: the prompt has 130 tokens, and the model sees the last 81 of them" in result.err


# After drawn tokens


def test_a_step_shows_the_text_before_it(run: Run) -> None:
    words = ("--sampler", "mirostat", "--tau", "2", "--seed", "1")
    text = run("sample", "--model", "toy", "the", *words, "--length", "3").out
    result = run(*TOY, *words, "--step", "3", "--json")
    assert f"the{result.json['after']}\n" == text
    assert result.json["seed"] == 1
    assert run(*TOY, *words, "--step", "3").out.splitlines()[0].startswith("the ")


def test_a_fresh_seed_is_shown(run: Run) -> None:
    result = run(*TOY, "--sampler", "min_length(n=5)", "--step", "1", "--json")
    assert result.err.splitlines()[-1] == f"drawn with --seed {result.json['seed']}"


def test_a_text_after_the_prompt_counts_as_drawn(run: Run) -> None:
    chain = ("--sampler", "repetition_penalty(penalty=3.0, skip_prompt=True)", "--json")
    given = run(*TOY, *chain, "--after", " cat sat").json
    prompt = run("explain", "--model", "toy", "the cat sat", *chain).json
    assert given["stages"][0] == prompt["stages"][0]
    assert given["stages"][1]["entropy"] != prompt["stages"][1]["entropy"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--after", "cat", "--step", "1"), "--after or --step, not both"),
        (("--seed", "1"), "--seed needs --step"),
        (("--step", "1", "--decoder", "beam"), "leave out --decoder"),
        (("--step", "-1"), "step must be at least 0, not -1"),
    ],
)
def test_options_of_drawn_tokens_that_exclude_each_other(
    run: Run, words: tuple[str, ...], message: str
) -> None:
    if "beam" in words:
        pytest.importorskip("corelm_beam")
    result = run(*TOY, "--sampler", "stochastic", *words)
    assert result.code == 2
    assert message in result.err


@pytest.mark.parametrize(
    "words",
    [
        (*TOY, "--sampler", "top_k(k=2)"),
        (*TOY, "--sampler", "greedy", "--token", "cat"),
        (*TOY, "--sampler", "temperature(t=0.5)"),
        ("models", "imdb"),
        pytest.param(("presets",), marks=pytest.mark.packages),
    ],
)
def test_a_page_ends_with_its_last_line(run: Run, words: tuple[str, ...]) -> None:
    result = run(*words)
    assert result.code == 0
    assert result.out.endswith("\n")
    assert not result.out.endswith("\n\n")
