"""Decoders as rows of a report: what they write, and what that costs."""

from __future__ import annotations

import numpy as np
import pytest
from documents import tripped

import corelm
from corelm import Ancestral, Decoder, param
from corelm.abilities import can
from corelm.testing import ToyModel
from corelm_report.measure.counted import CountedModel


class Search(Decoder):
    """Read each token with several rows, and write the likeliest."""

    is_deterministic = True
    rows: int = param(3, "rows that are read", ge=1)

    def __call__(self, task):
        text = []
        decoding = task.with_samples([0]).start()
        decoding.select(np.zeros(self.rows, dtype=np.int64))
        for position in range(task.length):
            text.append(int(decoding.next().logits[0].argmax()))
            if position + 1 < task.length:
                decoding.advance(np.full(self.rows, text[-1]))
        yield from task.replay([text for _ in task.random_stream.samples])


class Twice(Decoder):
    """Write every text twice, or fail."""

    fails: bool = param(False, "raise an exception")

    def __call__(self, task):
        if self.fails:
            raise ZeroDivisionError("no more")
        for _ in Ancestral()(task):
            pass
        yield from Ancestral()(task)


@pytest.fixture(scope="module")
def document():
    report = corelm.compare(
        ToyModel(end=False),
        ["stochastic", Search(), Search(rows=1), Twice(), Twice(fails=True)],
        prompts=["the", "the cat"], n=6, length=10, texts="all",
        reference=["the cat sat on the mat", "the dog sat"],
    )  # fmt: skip
    return report.to_dict()


def rows(document):
    return {row["sampler"]: row for row in document["samplers"]}


def test_their_rows_have_texts_and_no_teacher_forcing(document):
    corelm.Report(document)
    found = rows(document)
    assert list(found) == [
        "stochastic", "search(rows=3)", "search(rows=1)", "twice(fails=False)", "twice(fails=True)",
    ]  # fmt: skip
    search = found["search(rows=3)"]
    assert (search["name"], search["params"]) == ("search", {"rows": 3})
    assert [stage["kind"] for stage in search["stages"]] == ["decoder"]
    assert search["teacher_forced"] is None
    assert search["temperature"] is None
    [text, other] = search["texts"]
    options = {"sampler": "greedy", "length": 10}
    assert text["text"] == corelm.generate(ToyModel(end=False), "the", **options)[0].text
    assert (other["prompt"], other["sample"]) == ("the cat", 0)
    assert search["generated_texts"]["n"] == 2


def test_decoding_the_first_text_alone_changes_no_text(document):
    options = {"sampler": "stochastic", "length": 10, "n": 6, "seed": 1}
    texts = corelm.generate(ToyModel(end=False), "the", **options)
    for name in ("stochastic", "twice(fails=False)"):
        kept = [t["text"] for t in rows(document)[name]["texts"] if t["prompt"] == "the"]
        assert kept == [text.text for text in texts]


@pytest.mark.parametrize(
    ("name", "calls", "read"),
    [
        # One call to read the prompt and one for each token but the last; a second time to replay.
        ("stochastic", 10, 10),
        ("search(rows=3)", 20, (1 + 9 * 3) + 10),
        ("search(rows=1)", 20, 20),
        ("twice(fails=False)", 20, 20),
    ],
)
def test_the_cost_of_a_token(document, name, calls, read):
    own = rows(document)[name]["generated_texts"]
    assert own["model_calls"] == calls / 10
    assert own["tokens_read"] == pytest.approx(read / 10)
    assert own["ci95"]["tokens_read"] is None  # of one text of each prompt
    known = [text["figures"]["tokens_read"] for text in rows(document)[name]["texts"]]
    assert sum(value is not None for value in known) == 2  # the first text of each prompt


def test_the_cost_counts_the_texts_that_it_was_measured_on(document):
    report = corelm.Report(document)
    own = rows(document)["stochastic"]["generated_texts"]
    assert own["n"] == 12
    counted = {"model_calls", "tokens_read"}
    lines = [line.split(",") for line in report.to_csv().splitlines()]
    used = {
        line[2]: int(line[6]) for line in lines if line[:2] == ["stochastic", "generated_texts"]
    }
    assert {name for name, n in used.items() if n == 2} == counted  # the first of each prompt
    assert {used[name] for name in used.keys() - counted} == {12}
    assert {own["texts_used"][name] for name in counted} == {2}
    assert "of 2 texts" in report.to_html()


def test_without_decoders_nothing_is_counted():
    report = corelm.compare(ToyModel(), "greedy", prompts="the", n=1, length=5)
    assert report.to_dict()["samplers"][0]["generated_texts"]["tokens_read"] is None
    assert "tokens read" not in report.to_markdown()


def test_a_decoder_that_fails_costs_its_row_alone(document):
    error = rows(document)["twice(fails=True)"]["error"]
    assert error == {"type": "PluginError", "message": "ZeroDivisionError: no more"}


@pytest.mark.slow
def test_differences_from_a_row_of_fewer_texts_are_not_paired():
    words = [f"{a} {b}" for a in ("the", "cat", "dog") for b in ("sat", "ran", "mat")]
    report = corelm.compare(
        ToyModel(end=False), ["stochastic", Search(), "uniform"], prompts=words, n=4, length=8,
        against=Search(),
    ).to_dict()  # fmt: skip
    first, search, _ = report["samplers"]
    assert search["differences"] is None
    assert first["differences"]["against"] == "search(rows=3)"
    assert first["differences"]["teacher_forced"] == {}
    one = first["differences"]["generated_texts"]["surprisal"]
    own, other = first["generated_texts"], search["generated_texts"]
    assert one["value"] == pytest.approx(own["surprisal"] - other["surprisal"])
    low = own["ci95"]["surprisal"][0] - other["ci95"]["surprisal"][1]
    high = own["ci95"]["surprisal"][1] - other["ci95"]["surprisal"][0]
    assert low < one["ci95"][0] < one["value"] < one["ci95"][1] < high


def test_a_warning_says_which_rows_have_one_text(document):
    expected = "search(rows=3) draws nothing at random, so it wrote one text for each prompt"
    assert [text for text in document["warnings"] if text.startswith(expected)]
    assert not any(text.startswith("twice") for text in document["warnings"])


def test_the_method_says_which_rows_have_one_text(document):
    said = "search(rows=3) and search(rows=1) wrote one text for each prompt"
    markdown = corelm.Report(document).to_markdown().replace("\\", "")
    assert f". {said}, since nothing is drawn at random. " in markdown


def test_one_text_is_not_closest_by_chance():
    report = corelm.compare(
        ToyModel(end=False), ["uniform", Search()], prompts="the", n=8, length=6,
        reference=[f"the {a} {b} the" for a in ("cat", "dog", "mat") for b in ("sat", "ran", "on")],
        against="human",
    ).to_dict()  # fmt: skip
    assert report["closest"] == ["uniform"]
    assert report["too_few"] == ["search(rows=3)"]


@pytest.mark.slow
def test_every_form_has_decoders(document):
    report = corelm.Report(document)
    assert "search(rows=3)` | - |" in report.to_markdown()
    assert "search(rows=3),generated_texts,tokens_read,3.8," in report.to_csv()
    assert "search(rows=3)" in report.to_html()
    frame = report.to_pandas("text")
    assert frame[frame.name == "search"]["search.rows"].tolist() == [3, 3, 1, 1]
    assert "it is 3.8" in tripped(document, "search(rows=3).tokens_read > 3")
    assert "it was not measured" in tripped(document, "twice(fails=False).entropy > 3")


def test_a_counted_model_offers_what_the_model_does():
    counted = CountedModel(ToyModel(), prompt_length=1)
    session = counted.start([[11], [11]])
    assert can(session, "rewind")
    assert can(session, "hidden_states")
    other = counted.start([[11], [11]]).fork()
    other.join(counted.start([[4, 5]]))
    assert other.next_logits().shape == (3, 13)
    counted.calls = counted.tokens_read = 0
    counted.start([[11], [11]])
    session.extend(np.array([[4, 5], [6, 7]]))
    session.rewind(1)
    assert np.array_equal(session.next_logits(), ToyModel().start([[11, 4], [11, 6]]).next_logits())
    counted.next_token_distribution([[11, 4, 5]])
    assert (counted.calls, counted.tokens_read) == (3, 2 + 4 + 2)
    assert counted.context_length == 100
    assert not hasattr(counted, "manifest")


def test_a_report_makes_few_more_passes_than_its_longest_text_has_tokens():
    model, n, length = CountedModel(ToyModel(end=False), 1), 12, 40
    samplers = ["greedy", "stochastic", "top_p(p=0.9)", "temperature(t=0.7)", "min_p(p=0.1)"]
    report = corelm.compare(model, samplers, n=n, length=length, contexts=n, seed=1, prompts="the")
    assert not report.failed
    # The contexts, then all texts together: 60 fit into a batch.
    assert model.calls <= 1.1 * 2 * length
