"""Human text against human text, where both halves have a known distribution."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from corelm_report.measure.generated_texts import draw
from corelm_report.measure.human import halves, human_against_human
from corelm_report.plan.plan import plan

import corelm
from corelm.registry.offers import Offer, Source
from corelm.runs import Endings, Strategy, Texts
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


def test_the_halves_are_disjoint_and_hold_the_copies_of_a_text_together():
    texts = [[i // 2] for i in range(40)]
    first, second = halves(texts)
    assert sorted(first + second) == list(range(40))
    assert not {texts[i][0] for i in first} & {texts[i][0] for i in second}
    assert halves([[0]] * 40) is halves([[i] for i in range(15)]) is None


def test_the_row_follows_human_text_and_compares_with_the_other_half(report):
    document = report.to_dict()
    row = document["human_halves"]
    assert row["name"] == "human against human"
    assert row["generated_texts"]["n"] == row["generated_texts"]["set_size"] == 16
    assert row["differences"]["generated_texts"]["distinct_3"]["ci95"]
    for form in (report.to_markdown(), report.to_html(), report.to_latex(), report.to_csv()):
        assert "human against human" in form
    assert corelm.Report(document).to_json() == report.to_json()  # it follows the schema


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


class Shared(corelm.HumanMetric):
    """The share of the words of texts that human texts have too."""

    meaning = "the share of words that human texts have"

    def compare(self, texts, human, model):
        known = {word for text in human for word in text.split()}

        def figure(rows):
            words = [word for i in rows for word in texts[i].split()]
            return sum(word in known for word in words) / len(words)

        return figure


def test_a_metric_that_compares_with_human_text_reads_the_other_half():
    """Each half has a word of its own in every text, so they share all but one of ten words."""
    asked = plan(ToyModel(), "toy", ["greedy"], prompts="the", n=8, length=9)
    offer = Offer("shared", Shared(), Source("corelm-shared", "1", "shared"))
    texts = Texts(
        "the", Strategy(corelm.sampler("uniform")), length=9, n=32, seed=1, endings=Endings()
    )
    records = draw(ToyModel(), texts, range(32))
    for record, text in zip(records, people(32), strict=True):
        record["tokens"] = [WORDS.index(word) for word in text.split()[1:]]
        record["text"] = text
    first, _ = halves([record["tokens"] for record in records])
    for i, record in enumerate(records):
        record["text"] += " one" if i in first else " two"
    found = human_against_human(replace(asked, metrics=(offer,)), records, [], None)
    assert found.generated_texts.figures["corelm-shared:shared"] == pytest.approx(10 / 11)
    # It is a distance already, so it has no difference.
    assert "corelm-shared:shared" not in found.differences.generated_texts
