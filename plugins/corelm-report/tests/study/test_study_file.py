"""The file of a study: what it may say, and what a mistake in it is answered with."""

from __future__ import annotations

import pytest

from corelm.errors import UsageError
from corelm_study.study_file import read_study


@pytest.fixture
def read(tmp_path):
    """A function that reads a study of some text."""

    def read(text, samplers='samplers = ["greedy"]\n'):
        file = tmp_path / "study.toml"
        file.write_text(samplers + text)
        return read_study(file)

    return read


def test_a_study_says_what_is_measured_and_what_is_written(read, tmp_path):
    (tmp_path / "prompts.txt").write_text("the\n\na cat\n")
    (tmp_path / "human.txt").write_text("the cat sat")
    study = read(
        'title = "T"\nmodels = "imdb"\nprompts = "prompts.txt"\nseeds = "1..3"\n'
        'reference = "human.txt"\nprompts_from_reference = 2\n'
        'decoders = ["beam(width=2)"]\ntexts = "all"\n'
        '[write]\nfolder = "out"\nforms = ["latex"]\n'
    )
    assert (study.title, study.models, study.report["prompts"]) == (
        "T",
        ("imdb",),
        ("the", "a cat"),
    )
    assert study.samplers == ("greedy", "beam(width=2)")
    assert (study.report["seeds"], study.report["texts"]) == ("1..3", "all")
    assert study.report["reference"] == tmp_path / "human.txt"
    found = study.report["prompts_from_reference"], study.settings()["prompts_from_reference"]
    assert found == (2, 2)
    assert (study.folder, study.forms, study.plots) == (tmp_path / "out", ("latex",), ("pdf",))


def test_the_title_and_the_folder_are_the_files(read, tmp_path):
    assert (read("").title, read("").folder) == ("study", tmp_path / "study")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lenght = 3", r"line 2: a study has no key 'lenght'.*length"),
        ("\n[write]\nform = []", r"line 4: a study has no key 'write\.form'.*forms"),
        ("n = 0", r"line 2: n must be a whole number, at least 1, not 0"),
        ("n = true", r"line 2: n must be a whole number"),
        ("prompts_from_reference = 0", r"line 2: prompts_from_reference must be a whole number"),
        ("length = 1.5", r"line 2: length must be a whole number, at least 1, not 1\.5"),
        ("seeds = [-1]", r"line 2: seeds must be a list of whole numbers"),
        ("prompts = 'gone.txt'", r"line 2: prompts must be a list of texts or a file"),
        (f"reference = '{5000 * 'x'}'", r"line 2: reference must be a file or folder that is the"),
        ("reference = 'gone'", r"line 2: reference must be a file or folder that is there"),
        ("texts = 'some'", r"""line 2: texts must be a whole number or "all", not 'some'"""),
        ("[write]\nforms = ['pdf']", r"line 3: write\.forms must be a list of some of: json"),
        ("write = 3", r"line 2: write must be a table"),
        ("length = x\nseed = 1", r"cannot read the study .*: Invalid value \(at line 2"),
        ("length = 1\nlength = 2", r"cannot read the study"),
    ],
)
def test_a_mistake_is_named_with_its_line(read, text, message):
    with pytest.raises(UsageError, match=message):
        read(text)


def test_a_study_needs_samplers(read):
    with pytest.raises(UsageError, match=r"study\.toml: a study needs samplers, such as"):
        read("", samplers="")
