"""The levels of a data frame, and the texts that a report keeps for them."""

from __future__ import annotations

import math

import pytest

import corelm
from corelm import ParameterError
from corelm.errors import ReportError
from corelm.testing import ToyModel

CHAIN = "top_k(k=3) | temperature(t=0.5) | temperature(t=0.9)"
TEXTS = ["the cat sat on the mat", "the dog sat"]


@pytest.fixture(scope="module")
def report():
    return corelm.compare(
        ToyModel(), ["greedy", CHAIN], prompts=["the", "the cat"], n=7, length=9, texts="all",
        reference=TEXTS,
    )  # fmt: skip


def columns(report, level):
    """The columns of a data frame, with None where there is nothing."""
    frame = report.to_pandas(level).astype(object)
    return {name: frame[name].where(frame[name].notna(), None).tolist() for name in frame}


def test_all_texts_are_kept_and_the_page_shows_the_first(report):
    document = report.to_dict()
    for row in document["samplers"]:
        assert [(t["prompt"], t["sample"]) for t in row["texts"]] == [
            (prompt, i) for prompt in ("the", "the cat") for i in range(7)
        ]
        detailed = [t["sample"] for t in row["texts"] if t["tokens"]]
        assert detailed == [0, 1, 2, 3, 4] * 2
    assert report.to_html().count("<h3><bdi>") == 10


@pytest.mark.parametrize(("texts", "kept"), [(0, 0), (2, 2), ("3", 3), (99, 7)])
def test_as_many_are_kept_as_asked_for(texts, kept):
    document = corelm.compare(ToyModel(), "greedy", n=7, length=2, texts=texts).to_dict()
    assert len(document["samplers"][0]["texts"]) == kept


@pytest.mark.parametrize("texts", [-1, "some", 1.5])
def test_another_number_of_texts_is_refused(texts):
    with pytest.raises(ParameterError, match="texts must be"):
        corelm.compare(ToyModel(), "greedy", texts=texts)


def test_the_figures_of_texts_are_those_of_the_set(report):
    """Their means, weighted as in the set, are the figures of the set."""
    for row in report.to_dict()["samplers"]:
        own, texts = row["generated_texts"], [text["figures"] for text in row["texts"]]
        tokens = [figures["tokens"] for figures in texts]
        assert sum(tokens) == own["tokens"]
        # Without the ends of texts; a text of its end alone has none of these.
        ends = [text["finish_reason"] == "end" for text in row["texts"]]
        words = [n - end for n, end in zip(tokens, ends, strict=True)]
        for name in ("surprisal", "model_entropy", "outside_human_band", "unknown"):
            sums = (f[name] * n for f, n in zip(texts, words, strict=True) if n)
            whole = sum(sums) / sum(words)
            assert whole == pytest.approx(own[name])
        for name in ("rep_2", "rep_4", "diversity", "loops"):
            values = [f[name] for f in texts if f[name] is not None]
            assert sum(values) / len(values) == pytest.approx(own[name])
        assert {f["constraint_cost"] for f in texts} == {None}
        assert "entropy_drift" not in texts[0]


def test_a_line_for_each_token_with_what_tells_it_apart(report):
    frame = columns(report, "token")
    assert list(frame) == [
        "sampler", "name", "top_k.k", "temperature.t", "temperature_2.t", "matched", "target",
        "seed", "prompt", "sample", "position", "token", "text", "surprisal", "sampler_surprisal",
        "entropy", "model_entropy",
    ]  # fmt: skip
    [length] = {len(column) for column in frame.values()}
    assert length == sum(row["generated_texts"]["tokens"] for row in report.to_dict()["samplers"])
    lines = [dict(zip(frame, values, strict=True)) for values in zip(*frame.values(), strict=True)]
    chain = [line for line in lines if line["name"] == "top_k | temperature | temperature"]
    assert {line["top_k.k"] for line in lines} == {None, 3}
    assert {line["temperature_2.t"] for line in chain} == {0.9}
    one = [line for line in chain if (line["prompt"], line["sample"]) == ("the cat", 6)]
    assert [line["position"] for line in one] == list(range(len(one)))
    text = report.to_dict()["samplers"][1]["texts"][-1]
    words = one[: len(one) - (text["finish_reason"] == "end")]
    mean = math.fsum(line["surprisal"] for line in words) / len(words)
    assert mean == pytest.approx(text["figures"]["surprisal"], 1e-6)


def test_a_line_for_each_text_and_for_each_sampler(report):
    texts, samplers = (columns(report, level) for level in ("text", "sampler"))
    assert len(texts["text"]) == 28
    assert texts["seed"] == [1] * 28
    assert samplers["sampler"] == ["human", "greedy", CHAIN]
    own = report.to_dict()["samplers"][1]["generated_texts"]
    assert samplers["generated_texts.distinct_1"][2] == own["distinct_1"]
    assert samplers["generated_texts.loops.low"][2] == own["ci95"]["loops"][0]
    assert samplers["teacher_forced.entropy.mean"][1] == 0


@pytest.mark.parametrize("words", ["mat", "mat,dog"])
def test_a_parameter_that_is_a_list_stands_in_each_line_of_its_text(words):
    expression = f"ban(words=[{', '.join(map(repr, words.split(',')))}])"
    frame = columns(corelm.compare(ToyModel(), expression, n=2, length=4), "token")
    assert frame["ban.words"] == [words.split(",")] * len(frame["position"])
    assert {len(column) for column in frame.values()} == {len(frame["position"])}


def test_other_levels_are_refused(report):
    levels = "figure, difference, test, sampler, seed, text, token"
    with pytest.raises(ReportError, match=f"level must be one of {levels}, not"):
        report.to_csv("word")
