"""Human text against human text, where both halves have a known distribution."""

from __future__ import annotations

import numpy as np
import pytest

import corelm
from corelm.testing import ToyModel

WORDS = ["cat", "dog", "mat", "sat", "ran", "saw"]


def people(count: int, seed: int = 0) -> list[str]:
    """Texts whose words are equally likely, all different."""
    rng, found = np.random.default_rng(seed), set[str]()
    while len(found) < count:
        found.add(" ".join(["the", *rng.choice(WORDS, 9)]))
    return sorted(found)


@pytest.fixture(scope="module")
def report():
    return corelm.compare(
        ToyModel(), ["temperature(t=1.0)"], prompts="the", n=24, length=9, reference=people(96)
    )


def test_the_row_follows_human_text_and_compares_with_the_other_half(report):
    document = report.to_dict()
    row = document["human_halves"]
    assert row["name"] == "human against human"
    assert row["generated_texts"]["n"] == row["generated_texts"]["set_size"] == 16
    assert row["differences"]["generated_texts"]["distinct_3"]["ci95"]
    for form in (report.to_markdown(), report.to_html(), report.to_latex(), report.to_csv()):
        assert "human against human" in form
    assert "one half; its differences are from the other half" in report.to_html()
    assert corelm.Report(document).to_json() == report.to_json()  # it follows the schema
    document["samplers"][0]["differences"]["against"] = "another"  # the half has none from that
    other = corelm.Report(document)
    assert other.to_html().count("<i ") < report.to_html().count("<i ")
    assert other.to_markdown().split("human against human")[1].count("| - |") > 0


def test_the_halves_of_people_who_write_alike_do_not_differ():
    """At most 5 % of the intervals exclude 0: a half has the distribution of the other half."""
    wrong = []
    for seed in range(12):
        document = corelm.compare(
            ToyModel(), ["greedy"], prompts="the", n=8, length=9, reference=people(32, seed)
        ).to_dict()
        found = document["human_halves"]["differences"]["generated_texts"]
        ends = [found[name]["ci95"] for name in ("surprisal", "distinct_3", "compression")]
        wrong += [not low <= 0 <= high for low, high in filter(None, ends)]
    assert len(wrong) >= 24
    assert np.mean(wrong) <= 0.15


def test_too_few_human_texts_have_no_row():
    document = corelm.compare(
        ToyModel(), ["greedy"], prompts="the", n=2, length=4, reference=people(15)
    ).to_dict()
    assert "human_halves" not in document


METRIC = """
import corelm

class Shared(corelm.HumanMetric):
    meaning = "the share of texts that human texts have"

    def compare(self, texts, human, model):
        return lambda rows: sum(texts[i] in human for i in rows) / max(len(rows), 1)

@corelm.hookimpl
def corelm_metrics():
    return {"shared": Shared}
"""


def test_a_metric_that_compares_with_human_text_reads_the_other_half(installed_plugin):
    """Copies of a text are in one half, so no text of a half is in the other one."""
    installed_plugin("corelm-shared", {"shared": "corelm_shared"}, METRIC)
    asked = {"prompts": "the", "n": 8, "length": 9, "metrics": "shared"}
    row = corelm.compare(ToyModel(), ["greedy"], reference=people(32) * 2, **asked).to_dict()[
        "human_halves"
    ]
    assert row["generated_texts"]["corelm-shared:shared"] == 0.0
    # It is a distance already, so it has no difference.
    assert "corelm-shared:shared" not in row["differences"]["generated_texts"]
    few = corelm.compare(ToyModel(), ["greedy"], reference=["the cat"] * 40, **asked).to_dict()
    assert "human_halves" not in few
