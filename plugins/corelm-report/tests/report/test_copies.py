"""A sampler that writes one text again and again has one text for each prompt."""

from __future__ import annotations

import pytest
from documents import TEXTS, compare, tables_of
from page_reader import note_of, table_of

import corelm
from corelm.testing import ToyModel
from corelm_report import Inference


def share_of(hits, texts):
    """The interval of a share of independent texts."""
    return Inference.of_names(range(texts)).share(([hits] * texts, [1.0] * texts)).ends


def test_identical_texts_count_once_a_prompt():
    greedy, drawn = compare(["greedy", "stochastic"], n=16, reference=TEXTS)["samplers"]
    own = greedy["generated_texts"]
    assert own["ci95"]["loops"] == share_of(own["loops"], 1)
    assert {name: ends for name, ends in own["ci95"].items() if ends and name != "loops"} == {}
    assert drawn["generated_texts"]["ci95"]["surprisal"] is not None


def test_a_share_that_all_texts_have_has_the_interval_of_others():
    [drawn] = compare(["stochastic"], n=64, length=4, model=ToyModel(end=False))["samplers"]
    assert drawn["generated_texts"]["ci95"]["rep_4"] == pytest.approx(share_of(0, 64))
    values, ones = [0.5] * 61 + [1.0] * 3, [1.0] * 64
    most = share_of(3 / 64, 64)[1]
    ends = Inference.of_names(range(64)).common_share((values, ones))
    assert ends == pytest.approx([(1 - most) / 2, (1 - most) / 2 + most])


def test_a_page_of_one_text_that_is_drawn_again_and_again_has_one_unit():
    report = corelm.compare(ToyModel(), ["greedy"], prompts="the", n=3, length=4)
    assert ", 1 independent unit for intervals" in report.to_markdown()


def test_human_texts_that_are_the_same_are_one_unit_and_a_note_says_so():
    document = compare(["greedy"], reference=[*TEXTS, *TEXTS[:2]])
    assert document["reference"]["generated_texts"]["units"] == len(TEXTS)
    notes = [note for note in document["warnings"] if "human texts" in note]
    assert notes[0] == (
        "2 of the 6 human texts are the same as another one; such texts are one independent unit"
    )


def test_the_difference_of_a_fixed_text_from_others_varies_as_these_do():
    _, drawn = compare(["greedy", "stochastic"], n=16)["samplers"]
    found = drawn["differences"]["generated_texts"]["surprisal"]
    low, high = found["ci95"]
    own = drawn["generated_texts"]["ci95"]["surprisal"]
    assert high - low > 0
    assert abs((high - low) - (own[1] - own[0])) < 1e-9


def test_prompts_are_the_units():
    words = ["the", "a", "the cat", "on", "sat", "saw"]
    prompts = [*words, *(f"the cat sat {word}" for word in words)]
    greedy, _ = compare(["greedy", "stochastic"], n=4, prompts=prompts)["samplers"]
    own = greedy["generated_texts"]
    assert own["ci95"]["loops"] == share_of(own["loops"], len(prompts))
    assert own["units"] == len(prompts)


def test_the_number_of_units_is_shown():
    document = compare(["greedy", "stochastic"], n=4)
    units = [each["generated_texts"]["units"] for each in document["samplers"]]
    assert units == [1, 4]
    page = tables_of(document)
    assert "<var>n</var> = 4 (1 independent) unless" in table_of(page, "varied")
    assert note_of(page, "varied", "stochastic") == "n = 4"
