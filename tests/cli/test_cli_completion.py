"""The shell's completion: the words that a shell passes, and the names that it gets."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from corelm.cli import parameters

Run = Callable[..., Any]


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str] | None]:
    """A function that returns the words before the one that a shell completes."""

    def words_of(**variables: str) -> list[str] | None:
        for name in (parameters.COMPLETING, "COMP_WORDS", "COMP_CWORD", "_TYPER_COMPLETE_ARGS"):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return parameters.completed_words()

    return words_of


def test_without_completion_there_are_no_words(shell: Run) -> None:
    assert shell(COMP_WORDS="corelm sam", COMP_CWORD="1") is None


@pytest.mark.parametrize(
    ("line", "index", "words"),
    [
        ("corelm ", "1", []),
        ("corelm sam", "1", []),
        ("corelm sample --sampler gre", "3", ["sample", "--sampler"]),
        ("corelm sample 'This movie' --t", "3", ["sample", "This movie"]),
        ("corelm sample --sampler gre -n 2", "3", ["sample", "--sampler"]),  # inside the line
        ("corelm sample 'This mov", "2", []),  # the quotation mark is still open
    ],
)
def test_bash_passes_the_line_and_the_index_of_a_word(
    shell: Run, line: str, index: str, words: list[str]
) -> None:
    assert shell(_CORELM_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=index) == words


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("corelm", []),
        ("corelm sam", []),
        ("corelm sample ", ["sample"]),
        ("corelm sample --sampler gre", ["sample", "--sampler"]),
        ('corelm sample "This movie" --t', ["sample", "This movie"]),
        ('corelm sample "This mov', []),
    ],
)
def test_other_shells_pass_the_line_up_to_the_word(shell: Run, line: str, words: list[str]) -> None:
    assert shell(_CORELM_COMPLETE="complete_zsh", _TYPER_COMPLETE_ARGS=line) == words


@pytest.mark.packages
@pytest.mark.parametrize(
    ("names", "some"),
    [
        (parameters.sampler_names, {"temperature", "top_p", "everything"}),
        (parameters.decoder_names, {"ancestral", "wide", "breaks"}),
        (parameters.model_names, {"gpt2", "imdb", "toy"}),
        (parameters.preset_names, {"llama.cpp", "vllm"}),
        (parameters.one_of(("a", 2)), {"a", "2"}),
    ],
)
def test_names_to_complete_include_those_of_plugins(
    toy: None, capsys: pytest.CaptureFixture[str], names: Callable[[], list[str]], some: set[str]
) -> None:
    assert some <= set(names())
    assert capsys.readouterr().out == ""  # the shell would read a plugin's print as a name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "names"),
    [("corelm sample --sampler gre", {"greedy"}), ("corelm presets ll", {"llama.cpp"})],
)
def test_zsh_and_fish_get_names(spawn: Run, line: str, names: set[str]) -> None:
    for name in ("zsh", "fish"):
        asked = {"_CORELM_COMPLETE": f"complete_{name}", "_TYPER_COMPLETE_ARGS": line}
        action = {"_TYPER_COMPLETE_FISH_ACTION": "get-args"}
        result = spawn(env={**os.environ, **asked, **action})
        assert result.code == 0
        assert all(name in result.out for name in names)
        assert "temperature" not in result.out
