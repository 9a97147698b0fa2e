"""The settings of a report: what tells one report from another, and what workers are given."""

from __future__ import annotations

import pytest

from corelm.runs import NamedModel
from corelm.testing import ToyModel
from corelm_report.plan.plan import plan
from corelm_study.study_file import parse_prompts

SAMPLERS = ["greedy", "top_k(k=3)"]


def of(**changes):
    return plan(ToyModel(), "toy", **{"samplers": SAMPLERS, "prompts": ["the cat"]} | changes)


@pytest.mark.parametrize(
    ("changes", "name", "value"),
    [
        ({"prompts": ["the cat", "a"]}, "prompts", ["the cat", "a"]),
        ({"n": 7}, "texts for each prompt", 7),
        ({"length": 9}, "length", 9),
        ({"seeds": "3..5"}, "seeds", [3, 4, 5]),
        ({"contexts": 11}, "contexts", 11),
        ({"match": "entropy=1.5"}, "match", ["entropy=1.5"]),
        ({"against": "top_k(k=3)"}, "against", "top_k(k=3)"),
        ({"scorer": NamedModel(ToyModel(end=False), "other")}, "scorer", "other"),
        ({"reference": ["the cat sat"]}, "reference", "1 text given"),
        ({"samplers": ["greedy"]}, "samplers", None),
    ],
)
def test_a_report_with_other_settings_is_another_report(changes, name, value):
    before, after = of().as_json(), of(**changes).as_json()
    changed = {key for key in before if before[key] != after[key]}
    assert name in changed
    # A scorer brings its weights, and human texts their digest.
    assert changed - {f"weights of the {name}", f"texts of the {name}"} <= {name}
    assert after[name] == value or value is None


@pytest.mark.parametrize(
    ("prompts", "note"),
    [
        (["cat", "the", "cat"], "1 of 3 prompts repeats an earlier one and is left out"),
        (parse_prompts('{"prompt": "the"}\n' * 3, "p.jsonl"),
         "2 of 3 prompts repeat earlier ones and are left out"),
    ],
)  # fmt: skip
def test_prompts_that_are_left_out_are_counted(prompts, note):
    assert of(prompts=prompts).warnings == (note,)


def test_a_report_that_keeps_more_texts_is_the_same():
    assert of(texts=1).as_json() == of(texts="all").as_json()
