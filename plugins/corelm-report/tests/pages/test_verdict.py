"""Remarks on the conclusions: unequal entropy, a second scorer."""

from __future__ import annotations

import copy

import pytest
from documents import compare, report_of

from corelm_report import Inference

OPEN = ("temperature", "top_k(k=5) | temperature")
NAMES = ("temperature(t=1.0)", "top_p(p=0.5)")
UNEQUAL = "before you call one better"


def said_of(document) -> str:
    """The text of a report in Markdown, without its escapes."""
    return report_of(document).to_markdown().replace("\\", "")


@pytest.fixture(scope="module")
def compared():
    return compare(list(NAMES), n=64, against=NAMES[0])


def test_texts_that_differ_at_unequal_entropy_are_named(compared):
    said = said_of(compared)
    assert " differs from temperature(t=1.0) in entropy, by" in said
    assert "--match entropy=" in said
    assert UNEQUAL in said


@pytest.mark.parametrize(
    "asked",
    [
        {"samplers": ["temperature(t=1.0)", "temperature(t=0.5)"]},  # settings of one sampler
        {"samplers": list(OPEN), "match": "entropy=1", "against": "temperature"},
    ],
)
def test_settings_of_one_sampler_and_matched_samplers_are_not(asked):
    assert UNEQUAL not in said_of(compare(n=64, **asked))


@pytest.mark.parametrize(("ends", "named"), [([0.1, 0.3], True), ([-0.1, 0.3], False)])
def test_only_differences_beyond_chance_count(compared, ends, named):
    document = copy.deepcopy(compared)
    document["samplers"][1]["differences"] = {
        "against": NAMES[0],
        "teacher_forced": {"entropy.mean": {"value": -0.4, "ci95": [-0.5, -0.3]}},
        "generated_texts": {"surprisal": {"value": 0.2, "ci95": ends}},
    }
    assert (UNEQUAL in said_of(document)) == named


def test_the_error_of_matching_is_a_part_of_the_difference():
    """Matched samplers have wider differences than the same settings by themselves."""
    asked = {"prompts": ["the", "a"], "n": 32}
    matched = compare(list(OPEN), match="entropy=1", against="temperature", **asked)
    names = [entry["sampler"] for entry in matched["samplers"]]
    fixed = compare(names, against=names[0], **asked)
    first, second = (
        each["samplers"][1]["differences"]["generated_texts"]["surprisal"]
        for each in (matched, fixed)
    )
    assert first["value"] == pytest.approx(second["value"])
    assert first["ci95"][0] < second["ci95"][0] < second["ci95"][1] < first["ci95"][1]


@pytest.fixture(scope="module")
def empty():
    return compare(["greedy"], n=2, length=2)


def test_the_variances_of_a_difference_are_those_of_the_texts():
    prompts = ["the", "the cat", "the dog", "a", "the mat", "cat", "dog", "the cat sat"]
    samplers = ["temperature(t=1.0)", "temperature(t=0.6)"]
    texts = compare(samplers, prompts=prompts, n=4, texts="all")
    first, second = (row["texts"] for row in texts["samplers"])
    pairs = [
        [text["figures"]["rep_2"] for text in pair] for pair in zip(first, second, strict=True)
    ]
    sums = [(0, 0) if None in pair else (pair[1] - pair[0], 1) for pair in pairs]
    design = Inference.of_design([(each["prompt"], each["seed"], each["sample"]) for each in first])
    parts = design.parts(tuple(zip(*sums, strict=True)))
    own = texts["samplers"][1]["differences"]["generated_texts"]["rep_2"]
    assert (own["between"], own["within"]) == pytest.approx((parts.between, parts.within), rel=0.1)


def scored(empty, own, second, scorer="second"):
    """A report with the differences of a sampler under the model and a scorer."""
    document = copy.deepcopy(empty)
    document["header"]["second_scorer"] = {"name": scorer, "sha256": None}
    differences = {
        name: {"value": sum(ends) / 2, "ci95": ends}
        for name, ends in (("bits_per_byte", own), ("scorer_bits_per_byte", second))
    }
    document["samplers"][0]["differences"] = {
        "against": "uniform", "teacher_forced": {}, "generated_texts": differences,
    }  # fmt: skip
    return said_of(document)


@pytest.mark.parametrize(
    ("second", "sentence"),
    [
        ([0.1, 0.3], "Conclusions on bits per byte flip with no scorer."),
        ([-0.3, 0.1], "Conclusions on bits per byte flip with no scorer."),
        ([-0.3, -0.1], "Conclusions on bits per byte flip with the scorer: greedy."),
    ],
)
def test_a_conclusion_flips_if_both_scorers_have_opposite_ones(empty, second, sentence):
    assert sentence in scored(empty, [0.2, 0.4], second)


def test_a_report_without_a_scorer_says_nothing(empty):
    assert "Conclusions on" not in said_of(empty)


STUDY = """
models = ["toy"]
scorer = ["imdb", "toy"]
samplers = ["temperature(t=1.0)", "temperature(t=0.5)"]
prompts = ["the"]
n = 8
length = 5
against = "temperature(t=1.0)"
[write]
forms = []
plots = []
"""


@pytest.mark.slow
def test_a_study_has_a_report_for_each_scorer_and_the_conclusions(tmp_path, monkeypatch, run):
    monkeypatch.setenv("CORELM_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.toml").write_text(STUDY)
    done = run("study", "run", "study.toml")
    assert done.code == 0
    folders = {path.name for path in (tmp_path / "study").iterdir() if path.is_dir()}
    assert folders == {"toy-scored-by-imdb", "toy-scored-by-toy"}
    assert "Differences of toy in bits per byte, by scorer" in done.out
    assert "Conclusions on bits per byte flip with" in done.out
    shown = run("study", "show", "study.toml")
    assert "Conclusions on bits per byte flip with" in shown.out
    assert run("study", "diff", "study", "study.toml").code == 0
