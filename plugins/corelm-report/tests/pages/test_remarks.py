"""Remarks on the conclusions: unequal entropy, the sources of error, a second scorer."""

from __future__ import annotations

import copy
import re

import pytest
from documents import compare, report_of
from scipy import stats

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


def of_variances(empty, prompts, texts, clusters=None, **variances):
    """What a report says of a difference from human text with these variances."""
    document = copy.deepcopy(empty)
    names = [f"prompt {i}" for i in range(prompts)]
    document["header"] |= {"prompts": names, "clusters": clusters, "n": texts, "seeds": [1]}
    difference = {"value": 0.0, "ci95": None, **variances}
    document["samplers"][0]["differences"] = {
        "against": "human", "teacher_forced": {}, "generated_texts": {"surprisal": difference},
    }  # fmt: skip
    return said_of(document)


def test_the_parts_are_those_that_texts_were_drawn_with(empty):
    """Prompts with a variance of 4, texts with 16, and a human sample with 0.25: of 0.8125."""
    said = of_variances(empty, 8, 32, between=4.0, within=16.0, other=0.25)
    assert (
        "62% is from the choice of prompts, 8% is from the texts of each and 31% is from the "
        "human sample." in said
    )


def test_a_cheaper_design_is_as_precise_and_is_named(empty):
    """Prompts are nearly all of the error, so more of them with fewer texts are as good."""
    said = of_variances(empty, 8, 32, between=4.0, within=16.0)
    assert "89% is from the choice of prompts and 11% is from the texts of each" in said
    prompts, texts = map(int, re.search(r"(\d+) prompts x (\d+) text", said).groups())
    assert "as narrow an interval as 8 x 32" in said
    assert prompts > 8
    assert prompts * texts < 0.8 * 256
    # As narrow with Student's quantiles, which are larger with 8 prompts than with more.
    old, new = (
        stats.t.ppf(0.975, p - 1) ** 2 * (4 / p + 16 / (p * n))
        for p, n in ((8, 32), (prompts, texts))
    )
    assert 0.8 * old < new <= 1.001 * old


def test_a_design_that_is_good_already_is_kept(empty):
    assert "as narrow an interval" not in of_variances(empty, 64, 1, between=1e-6, within=16.0)


def test_where_human_text_decides_more_of_it_is_the_advice(empty):
    said = of_variances(empty, 20, 1, between=0.1, within=0.1, other=5.0)
    assert "is from the human sample. More human texts would help most." in said


def test_few_prompts_have_no_part_and_documents_have_their_name(empty):
    assert "Of the variance" not in of_variances(empty, 2, 32, between=4.0, within=16.0)
    surprise = of_variances(empty, 2, 32, between=4.0, within=16.0, other=0.3)
    assert "45% is from the texts and 55% is from the human sample." in surprise
    clusters = [f"document {i // 4}" for i in range(32)]
    said = of_variances(empty, 32, 8, clusters, between=4.0, within=16.0)
    assert "choice of clusters" in said
    assert "as 8 x 32" in said  # 8 documents, each with 4 prompts of 8 texts


def test_a_report_has_the_sentence_and_one_without_variances_none(empty):
    assert "Of the variance" not in said_of(empty)
    prompts = ["the", "the cat", "the dog", "a", "the mat", "cat", "dog", "the cat sat"]
    document = compare(["temperature(t=1.0)", "temperature(t=0.6)"], prompts=prompts, n=4)
    assert "Of the variance of the difference in surprisal of temperature(t=0.6)" in (
        said_of(document)
    )
    texts = compare(["temperature(t=1.0)", "temperature(t=0.6)"], prompts=prompts, n=4, texts="all")
    first, second = (row["texts"] for row in texts["samplers"])
    pairs = [
        [text["figures"]["rep_2"] for text in pair] for pair in zip(first, second, strict=True)
    ]
    sums = [(0, 0) if None in pair else (pair[1] - pair[0], 1) for pair in pairs]
    design = Inference.of_design([(each["prompt"], each["seed"], each["sample"]) for each in first])
    parts = design.parts(tuple(zip(*sums, strict=True)))
    own = document["samplers"][1]["differences"]["generated_texts"]["rep_2"]
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
        ([0.1, 0.3], "No conclusion on bits per byte differs between ToyModel and second."),
        ([-0.3, 0.1], "No conclusion on bits per byte differs between ToyModel and second."),
        ([-0.3, -0.1], "The conclusion on greedy flips with the scorer: it has 0.30 bits per byte "
         "more than uniform under ToyModel, and 0.20 fewer under second."),
    ],
)  # fmt: skip
def test_a_conclusion_flips_if_both_scorers_have_opposite_ones(empty, second, sentence):
    assert sentence in scored(empty, [0.2, 0.4], second)


def test_a_report_without_a_scorer_says_nothing(empty):
    assert "onclusion on" not in said_of(empty)


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
    assert "Conclusions flip with" in done.out
    shown = run("study", "show", "study.toml")
    assert "Conclusions flip with" in shown.out
    assert run("study", "diff", "study", "study.toml").code == 0
