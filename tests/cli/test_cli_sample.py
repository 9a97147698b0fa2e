"""`corelm sample`, in this process."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_models import write

from corelm import machine

Run = Callable[..., Any]
TOY = ("sample", "--model", "toy")
GREEDY = (*TOY, "--sampler", "greedy", "--seed", "1")


def test_a_text_is_the_prompt_and_what_follows(run: Run) -> None:
    result = run(*GREEDY, "the", "--length", "3")
    assert (result.code, result.out) == (0, "the cat sat on\n")


def test_a_model_without_a_prompt_that_lacks_the_default_gets_its_first_word(run: Run) -> None:
    result = run(*GREEDY, "--length", "0")
    assert (result.out, result.err) == ("and\n", "printed at import\n")


def test_an_empty_text_that_a_model_cannot_continue_leaves_no_empty_line(
    run: Run, tmp_path: Path
) -> None:
    model = write(tmp_path / "no-start-token")
    result = run("sample", "", "--model", str(model))
    assert (result.code, result.out) == (2, "")
    assert result.err.splitlines()[-1] == (
        "error: this model cannot continue an empty text; give it at least one token"
    )


def test_words_that_the_model_lacks_are_noted_by_name(run: Run) -> None:
    result = run(*GREEDY, "the zebra, the zebra gnu", "--length", "0")
    assert result.out == "the zebra, the zebra gnu\n"
    assert result.err.splitlines()[-1] == (
        "note: the model does not know 'zebra', ',', 'gnu'; it reads unknown words as [UNK]"
    )
    assert "note" not in run(*GREEDY, "the cat", "--length", "0").err


def test_a_parameter_n_is_the_samplers_own(run: Run) -> None:
    words = ("--sampler", "no_repeat_ngram", "--n", "3", "-n", "2", "--json")
    document = run(*TOY, *words, "--length", "0").json
    assert document["sampler"] == "no_repeat_ngram(n=3, last=0, skip_prompt=False)"
    assert len(document["texts"]) == 2


def test_an_option_with_the_name_of_a_parameter_is_noted(run: Run) -> None:
    words = (*TOY, "the", "--sampler", "everything", "--seed", "1", "--length", "0")
    assert run(*words).err.splitlines()[-1] == (
        "note: --length is the option of the command; the parameter length of the sampler "
        "everything is --sampler-length"
    )
    assert "note" not in run(*words, "--sampler-length", "1").err


def test_the_sampler_when_none_is_given_is_temperature_at_0_7(run: Run) -> None:
    assert run(*TOY, "--json", "--length", "0").json["sampler"] == "temperature(t=0.7)"
    assert run(*TOY, "--json", "--length", "0", "--t", "2").json["sampler"] == "temperature(t=2.0)"


@pytest.mark.parametrize(
    "words",
    [
        ("--sampler", "temperature", "--t", "0.2"),
        ("--sampler=temperature", "--t=0.2"),
        ("--t", "0.2", "--sampler", "temperature"),
        ("--sampler", "temperature", "--temperature", "0.2"),
        ("--sampler", "corelm:temperature", "--t", "0.2"),
        ("--sampler", "temperature(t=0.2)"),
        ("--sampler", "temperature(0.2)"),
    ],
)
def test_ways_to_say_the_same(run: Run, words: tuple[str, ...]) -> None:
    sampler = run(*TOY, *words, "--json", "--length", "0").json["sampler"]
    assert sampler.removeprefix("corelm:") == "temperature(t=0.2)"


@pytest.mark.parametrize(
    ("words", "expression"),
    [
        (("temperature",), "temperature(t=1.0)"),
        (("everything", "--sampler-length", "3", "--t-min", "0.5", "--loud", "--mode", "b",
          "--words", "x,y", "--bias", "5=-inf,good=2"),
         "everything(length=3, t_min=0.5, loud=True, mode='b', words=('x', 'y'), "
         "bias={5: -inf, 'good': 2.0})"),
        (("everything", "--words", "a,b", "--words", "c"),  # each value whole
         "everything(length=0, t_min=1.0, loud=False, mode='a', words=('a,b', 'c'), bias={})"),
        (("everything", "--t_min", "2", "--no-loud", "--no_stream"),  # underscores will do
         "everything(length=0, t_min=2.0, loud=False, mode='a', words=(), bias={})"),
    ],
)  # fmt: skip
def test_a_parameter_of_every_type_is_an_option(
    run: Run, words: tuple[str, ...], expression: str
) -> None:
    result = run(*TOY, "--sampler", *words, "--json", "--length", "0")
    assert result.json["sampler"] == expression


def test_the_parameters_of_a_decoder_are_options(run: Run) -> None:
    for option in ("--width", "--beams"):
        result = run(*TOY, "--decoder", "wide", option, "4", "--json", "--length", "0")
        assert result.json["decoder"] == "wide(width=4)"


def test_help_shows_the_options_of_the_chosen_sampler(run: Run) -> None:
    result = run("sample", "--sampler", "everything", "--decoder", "wide", "--help")
    text = " ".join(result.out.split())
    assert result.code == 0
    assert "--sampler-length INTEGER Has the name of an option (at least 0). [default: 0]" in text
    assert "--t-min NUMBER Two words (above 0 and at most 2). [default: 1.0]" in text
    assert "--loud / --no-loud A switch." in text
    assert "--mode a|b A choice. [default: a]" in text
    assert "--width, --beams INTEGER How wide (at least 1). [default: 2]" in text
    assert "--temperature" not in text


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--sampler", "greedy", "--t", "0.2"),
         "there is no option --t: the sampler greedy has no parameters"),
        (("--p", "0.9"), "there is no option --p: the sampler temperature has --t"),
        (("--sampler", "everything", "--decoder", "wide", "--foo=1"),
         "there is no option --foo: the sampler everything has --sampler-length, --t-min, --loud, "
         "--mode, --words, --bias and the decoder wide has --width"),
        (("--sampler", "temperature(t=1)", "--t", "2"),
         "there is no option --t; an expression holds its own parameters: name(t=...)"),
        (("--top-p", "0.9"),
         'there is no option --top-p; top_p is a sampler; write --sampler "top_p(p=0.9)"'),
        (("--top-k", "40", "--top-p=0.9"),
         'there is no option --top-k; top_k is a sampler; write --sampler "top_k(k=40) | '
         'top_p(p=0.9)"'),
        (("--temperature", "0.5", "--top-k", "40"),
         'there is no option --top-k; top_k is a sampler; write --sampler "top_k(k=40) | '
         'temperature(t=0.5)"'),
        (("--sampler", "min_p(p=0.1)", "--top-k", "40"),
         'there is no option --top-k; top_k is a sampler; write --sampler "top_k(k=40) | '
         'min_p(p=0.1)"'),
        (("--top-k", "many", "--greedy"),
         'there is no option --top-k; top_k is a sampler; write --sampler "top_k | greedy"'),
        (("--sampler", "top_k", "--temperature", "2"),
         'there is no option --temperature; temperature is a sampler; write --sampler '
         '"top_k | temperature(t=2.0)"'),
        (("--lenght", "3"), "there is no option --lenght; did you mean '--length'?"),
        (("--t", "-1"), "t must be at least 0, not -1.0"),
        (("--t", "abc"), "t must be a number, not 'abc'"),
        (("--t", ""), "t must be a number, not ''"),
        (("--t", "nan"), "t must be a number, not nan"),
        (("--sampler", "everything", "--sampler-length", "2.5"),
         "length must be a whole number, not '2.5'"),
        (("--sampler", "everything", "--mode", "c"), "mode must be one of a, b, not 'c'"),
        (("--sampler", "everything", "--bias", "x"), "bias must be KEY=VALUE, not 'x'"),
        (("--decoder", "wide", "--width", "0"), "width must be at least 1, not 0"),
        (("--stop-loop", "1"), "stop_loop must be at least 2, not 1"),
        (("--stop-regex", "("), "the pattern '(' is not valid: missing ) at position 1"),
        (("--length", "-1"), "length must be at least 0, not -1"),
        (("--length", "many"), "length must be a whole number, not 'many'"),
        (("-n", "-1"), "n must be at least 1, not -1"),
        (("-n", "0"), "n must be at least 1, not 0"),
        (("--n", "2"), "there is no option --n; did you mean -n?"),
        (("--seed", "-1"), "seed must be at least 0, not -1"),
        (("a", "b", "c"), "one prompt, not 3: put it in quotation marks"),
        (("a", "--prompt-file", "b"), "a prompt or --prompt-file, not both"),
        (("--prompt-file", "no/such/file"),
         "cannot read the prompt file no/such/file: No such file or directory"),
        (("--stop", ""), "a stop string needs at least one character"),
        (("--t",), "Option '--t' requires an argument; see `corelm sample --help`"),
        (("-x",), "No such option: -x; see `corelm sample --help`"),
    ],
)  # fmt: skip
def test_wrong_usage_is_one_sentence_and_exit_code_2(
    run: Run, words: tuple[str, ...], sentence: str
) -> None:
    result = run(*TOY, "--seed", "1", *words)
    assert (result.code, result.out) == (2, "")
    assert result.err.removeprefix("printed at import\n") == f"error: {sentence}\n"


def test_unknown_names_are_refused_with_a_list_of_names(run: Run) -> None:
    sampler = run(*TOY, "--sampler", "nucleus")
    assert sampler.code == 2
    assert "error: there is no sampler 'nucleus'" in sampler.err
    assert "everything, fails, " in sampler.err
    assert "did you mean 'greedy'?" in run(*TOY, "--sampler", "gredy").err
    assert "there is no decoder 'none'" in run(*TOY, "--decoder", "none").err
    model = run("sample", "--model", "no-such-model")
    assert model.code == 2
    assert "no-such-model" in model.err.splitlines()[-1]


def test_a_seed_that_was_drawn_is_shown_and_repeats_the_text(run: Run) -> None:
    first = run(*TOY, "the", "--sampler", "uniform")
    seed = re.search(r"^drawn with --seed (\d+)$", first.err, re.MULTILINE)
    assert seed
    again = run(*TOY, "the", "--sampler", "uniform", "--seed", seed[1])
    assert (again.out, again.err) == (first.out, "")


@pytest.mark.parametrize("seed", [0, 2**63, 2**200])
def test_seeds_of_every_size(run: Run, seed: int) -> None:
    assert run(*TOY, "--length", "1", "--seed", str(seed)).code == 0


def test_whole_and_streamed_texts_are_the_same(run: Run) -> None:
    words = (*TOY, "the", "--seed", "3", "--stop", "on the")
    assert run(*words).out == run(*words, "--no-stream").out


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (("--stop-regex", "o."), "the cat sat "),
        (("--stop-regex", "zebra", "--stop-regex", r"\bs"), "the cat "),
        (("--stop-loop",), "the" + " cat sat on the" * 3),
        (("--stop-loop", "2"), "the" + " cat sat on the" * 2),
        (("--stop-loop=2",), "the" + " cat sat on the" * 2),
        (("--stop", "zebra", "--stop", "sat on"), "the cat "),
        (("--stop_loop", "--stop", "zebra"), "the" + " cat sat on the" * 3),
    ],
)
def test_ways_to_end_a_text(run: Run, words: tuple[str, ...], shown: str) -> None:
    assert run(*GREEDY, *words, "the", "--length", "20").out == f"{shown}\n"


def test_json_holds_the_endings(run: Run) -> None:
    words = ("--stop", "zebra", "--stop-regex", "x+", "--stop-loop", "the")
    document = run(*GREEDY, *words, "--length", "20", "--json").json
    assert (document["stop"], document["stop_regex"]) == (["zebra"], ["x+"])
    assert (document["stop_loop"], document["prompt"]) == (3, "the")
    assert document["texts"][0]["finish_reason"] == "loop"


def test_no_tokens(run: Run) -> None:
    assert run(*GREEDY, "", "--length", "0").out == "\n"


def test_json_holds_the_run_and_every_token(run: Run) -> None:
    document = run(*TOY, "the", "--t", "0", "--seed", "1", "--length", "2", "--json").json
    [text] = document.pop("texts")
    version = document.pop("corelm")
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", version)
    build = ("numpy", "processor", "kernels", "vector_width")  # what can decide the last bits
    assert {key: document.pop(key) for key in build} == {key: machine.facts()[key] for key in build}
    assert document == {
        "model": "toy",
        "sampler": "temperature(t=0.0)",
        "decoder": "ancestral",
        "seed": 1,
        "prompt": "the",
        "length": 2,
        "stop": [],
        "stop_regex": [],
        "stop_loop": None,
    }
    assert (text["sample"], text["text"], text["finish_reason"]) == (0, " cat sat", "length")
    assert [token["text"] for token in text["tokens"]] == [" cat", " sat"]
    first = text["tokens"][0]
    assert set(first) == {
        "token", "text", "surprisal", "model_surprisal", "entropy", "model_entropy",
        "allowed_mass",
    }  # fmt: skip
    assert (first["surprisal"], first["entropy"], first["allowed_mass"]) == (0.0, 0.0, 1.0)
    assert (text["constraint_cost"], text["fallbacks"], text["is_cut_off"]) == (None, 0, False)
    assert first["model_entropy"] > first["model_surprisal"] > 0


def test_json_is_whole_where_a_plugin_prints(run: Run) -> None:
    result = run(*TOY, "the", "--sampler", "fails", "--at", "9", "--length", "2", "--json")
    assert [text["text"] for text in result.json["texts"]] == [" cat sat"]
    assert "printed at import" in result.err
    assert "printed at a step" in result.err


def test_a_sampler_that_fails_leaves_what_was_drawn(run: Run) -> None:
    result = run(*TOY, "the", "--sampler", "fails", "--seed", "1")
    assert (result.code, result.out) == (1, "the cat sat\n")
    last = result.err.splitlines()[-1]
    assert last == "error: fails(at=2) failed at step 2: ValueError: [31mbroken[0m indeed"


def test_json_of_a_sampler_that_fails_says_so(run: Run) -> None:
    result = run(*TOY, "the", "--sampler", "fails", "--seed", "1", "--json")
    assert result.code == 1
    [text] = result.json["texts"]
    assert (text["text"], text["finish_reason"]) == (" cat sat", "error")
    assert "failed at step 2" in result.json["error"]


def test_a_sampler_that_fails_after_complete_texts_is_a_partial_failure(run: Run) -> None:
    words = (*TOY, "the", "--sampler", "breaks_alone", "--seed", "1", "-n", "65", "--length", "2")
    result = run(*words)
    assert result.code == 3
    assert result.out.endswith("[63]\nthe cat sat\n\n[64]\nthe cat\n\n")
    assert result.err.splitlines()[-1] == (
        "error: breaks_alone failed at step 1: ValueError: alone; 64 of 65 texts are complete"
    )
    texts = run(*words, "--json").json["texts"]
    assert [text["finish_reason"] for text in texts] == ["length"] * 64 + ["error"]


def test_a_failure_shows_the_text_that_was_held_back(run: Run) -> None:
    result = run(*TOY, "the", "--sampler", "fails", "--seed", "1", "--stop", "sat on")
    assert (result.code, result.out) == (1, "the cat sat\n")


def test_a_sampler_cannot_end_the_program(run: Run) -> None:
    result = run(*TOY, "the", "--sampler", "ends", "--seed", "1")
    assert (result.code, result.out) == (1, "the\n")
    assert "SystemExit" in result.err.splitlines()[-1]


def test_a_fault_is_one_line_and_a_traceback_only_when_wanted(run: Run) -> None:
    words = (*TOY, "--decoder", "breaks", "--seed", "1")
    result = run(*words)
    assert (result.code, result.out) == (1, "and\n")
    assert result.err.endswith("error: ZeroDivisionError: division by zero (--debug shows where)\n")
    assert "Traceback" not in result.err
    for debugged in (run("--debug", *words), run(*words, "--debug")):
        assert debugged.code == 1
        assert "Traceback (most recent call last):" in debugged.err


def test_debug_after_two_hyphens_is_a_prompt(run: Run) -> None:
    assert run(*GREEDY, "--length", "0", "--", "--debug").out == "--debug\n"


def test_the_value_of_an_option_is_not_an_option(run: Run) -> None:
    result = run(*GREEDY, "--stop", "--json", "--length", "1", "the")
    assert result.out == "the cat\n"


@pytest.mark.parametrize(
    ("content", "prompt"),
    [
        (b"the\n", "the"),
        (b"the", "the"),
        (b"\xef\xbb\xbfthe\r\n", "the"),
        (b"the\r\n\r\ncat\r\n", "the\n\ncat"),
        (b"", ""),
        ("naïve 🎬".encode(), "naïve 🎬"),
    ],
)
def test_a_prompt_from_a_file(run: Run, tmp_path: Path, content: bytes, prompt: str) -> None:
    file = tmp_path / "prompt file.txt"
    file.write_bytes(content)
    result = run(*GREEDY, "--length", "0", "--json", "--prompt-file", str(file))
    assert result.json["prompt"] == prompt


def test_a_prompt_file_that_is_a_folder(run: Run, tmp_path: Path) -> None:
    result = run(*GREEDY, "--prompt-file", str(tmp_path))
    assert result.code == 2
    assert result.err.startswith(f"error: cannot read the prompt file {tmp_path}: ")


@pytest.mark.parametrize(
    ("prompt", "shown"),
    [
        ("\x1b]52;c;bHM=\x07", "]52;c;bHM="),
        ("\x9b31mred", "31mred"),
        ("a\rb\x00c", "abc"),
        ("\u202ethe\u2069", "the"),
        ("<script>[bold]x[/]</script>", "<script>[bold]x[/]</script>"),
        ("שלום 🎬", "שלום 🎬"),
    ],
)
def test_a_prompt_commands_no_terminal(run: Run, prompt: str, shown: str) -> None:
    result = run(*GREEDY, prompt, "--length", "0")
    assert (result.code, result.out) == (0, shown + "\n")
    assert run(*GREEDY, prompt, "--length", "0", "--json").json["prompt"] == prompt


def test_a_long_prompt(run: Run) -> None:
    result = run(*GREEDY, "the cat " * 5000 + "sat", "--length", "1")
    assert result.out.endswith("the cat sat on\n")


def test_likely_mistakes_are_noted_once_and_the_text_is_written(run: Run) -> None:
    expression = "greedy | top_k(k=3) | temperature(t=0.5)"
    result = run(*TOY, "the", "--sampler", expression, "--length", "3", "-n2", "--seed", "1")
    assert result.out == "[0]\nthe cat sat on\n\n[1]\nthe cat sat on\n\n"
    assert result.err.replace("printed at import\n", "") == (
        "note: greedy leaves one token, so top_k(k=3) and temperature(t=0.5) after it can change "
        "nothing; leave them out\n"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--output", ""), "--output needs a FILE, not ''"),
        (("--output", "-"), "--output writes a file: leave it out to write to standard output"),
        (("--output", "x", "--scheduler", ""), "--scheduler needs an ADDRESS, not ''"),
        (("--prompt-file", " "), "--prompt-file needs a FILE, not ' '"),
    ],
)
def test_a_blank_place_is_refused(run: Run, words: tuple[str, ...], message: str) -> None:
    assert run("sample", *words) == (2, "", f"error: {message}\n")


# Colours and alternatives


def test_words_are_coloured_by_surprisal_where_it_is_asked_for(run: Run) -> None:
    words = (*TOY, "the", "--sampler", "uniform", "--seed", "1", "--length", "12")
    plain = run(*words).out
    assert run(*words, "--color").out == plain  # not a terminal
    assert run(*words, "--color", "never").out == plain
    colored = run(*words, "--color=always").out
    assert "\x1b[32m" in colored
    assert re.sub(r"\x1b\[\d+m", "", colored) == plain
    for more in (("--no-stream",), ("-n", "2"), ("--stop", "zebra")):
        text = run(*words, *more, "--color", "always").out
        assert "\x1b[32m" in text
        assert re.sub(r"\x1b\[\d+m", "", text) == run(*words, *more).out


def test_a_stop_string_is_not_coloured(run: Run) -> None:
    words = (*GREEDY, "the", "--length", "9", "--stop", "sat")
    text = run(*words, "--color=always").out
    assert re.sub(r"\x1b\[\d+m", "", text) == run(*words).out == "the cat \n"


def test_a_prompt_after_color_is_the_prompt(run: Run) -> None:
    assert run(*GREEDY, "--color", "the", "--length", "1").out == "the cat\n"
    result = run(*GREEDY, "the", "--color=blue")
    assert (result.code, "one of auto, always, never" in result.err) == (2, True)


def test_likely_words_stand_under_each_word(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """After "the": cat 5.1, dog 4.1 and mat 2.1 of 12.1, and top_k(k=2) removes mat."""
    words = (*TOY, "the", "--sampler", "top_k(k=2)", "--seed", "1", "--length", "3")
    monkeypatch.setenv("COLUMNS", "80")
    lines = run(*words, "--alternatives", "3").out.splitlines()
    assert lines[0] == "the"
    drawn = run(*words).out.split()[1:]
    assert lines[1].split()[: len(drawn)] == drawn  # the end is a word here
    assert lines[3].startswith("cat 42%")
    assert lines[4].startswith("dog 34%")
    assert lines[5].startswith("(mat 17%)")
    tokens = run(*words, "--alternatives", "3", "--json").json["texts"][0]["tokens"]
    assert [each["text"] for each in tokens[0]["alternatives"]] == [" cat", " dog", " mat"]
    assert [each["possible"] for each in tokens[0]["alternatives"]] == [True, True, False]
    assert "alternatives" not in run(*words, "--json").json["texts"][0]["tokens"][0]


def test_alternatives_of_each_sample(run: Run) -> None:
    words = (*TOY, "the", "--sampler", "stochastic", "--seed", "1", "--length", "4", "-n", "3")
    for text in run(*words, "--alternatives", "2", "--json").json["texts"]:
        for token in text["tokens"]:
            assert len(token["alternatives"]) == 2


def test_options_of_words_that_would_have_no_effect_are_refused(run: Run, tmp_path: Path) -> None:
    for words in (("--color", "always"), ("--alternatives", "2")):
        result = run(*GREEDY, "the", *words, "--output", str(tmp_path / "texts.jsonl"))
        assert (result.code, "leave out --output" in result.err) == (2, True)
    file = tmp_path / "prompts.jsonl"
    file.write_text('"the"\n', "utf-8")
    result = run(*GREEDY, "--prompt-file", str(file), "--alternatives", "2")
    assert (result.code, "takes one prompt" in result.err) == (2, True)
