"""`corelm.compare`: its settings, its failures, and everything that the result depends on."""

from __future__ import annotations

import math
import operator
import re
import statistics

import jsonschema
import numpy as np
import pytest
from documents import TEXTS, carrier, compare, tripped
from pictures import chart_of

import corelm
from corelm import Sampler
from corelm.errors import UsageError
from corelm.testing import ToyModel
from corelm_report import schema


def same(a, b):
    """True if two reports are equal except for the time."""
    return all(a[key] == b[key] for key in a.keys() | b.keys() if key != "header")


# Measuring


def test_the_report_has_a_row_for_each_sampler():
    document = compare(
        ["greedy", "top_k(k=2) | temperature(t=0.5)", "temperature(t=0.5)", "uniform"]
    )
    jsonschema.validate(document, schema())
    assert [row["sampler"] for row in document["samplers"]] == [
        "greedy", "top_k(k=2) | temperature(t=0.5)", "temperature(t=0.5)", "uniform",
    ]  # fmt: skip
    means = [row["teacher_forced"]["entropy"]["mean"] for row in document["samplers"]]
    assert means[0] == 0
    assert means == sorted(means)
    assert math.isclose(means[-1], document["bounds"]["max"])
    assert document["drawable"] == 11
    assert math.isclose(document["bounds"]["max"], math.log(11))


def test_without_human_texts_the_contexts_are_the_models():
    document = compare()
    assert document["reference"] is None
    assert document["header"]["contexts"]["source"] == "model"
    drawn = corelm.generate(ToyModel(), "the", sampler="stochastic", length=8, n=8, seed=1)
    assert document["header"]["contexts"]["positions"] == sum(len(text.tokens) for text in drawn)


def test_a_row_has_the_plugin_of_its_sampler():
    class Mine(Sampler):
        """A sampler that changes nothing."""

        words: tuple[str, ...] = corelm.param(("a",), "some")
        t: float = corelm.param(math.inf, "any")

        def __call__(self, logits, context):
            return logits

    chain = corelm.sampler("top_k(k=3)") | Mine()
    document = compare(["temperature(t=inf)", chain])
    one, two = document["samplers"]
    assert (one["name"], one["params"]) == ("temperature", {"t": "inf"})
    assert one["plugin"]["distribution"] == "corelm"
    assert one["plugin"]["entry_point"] == "temperature"
    assert (two["name"], two["params"], two["plugin"]) == ("top_k | mine", {}, None)
    assert [stage["name"] for stage in two["stages"]] == ["top_k", "mine"]
    mine = two["stages"][1]
    assert mine["params"] == {"words": ["a"], "t": "inf"}
    assert mine["plugin"]["distribution"] == "this process"
    assert document["header"]["settings_tried"] == {"temperature": 1, "top_k | mine": 1}


def test_a_model_may_be_named():
    document = compare(["greedy"], model="imdb", n=1, length=2)
    assert document["header"]["model"]["name"] == "imdb"
    assert len(document["header"]["model"]["sha256"]) == 64
    assert compare(["greedy"])["header"]["model"] == {"name": "ToyModel", "sha256": None}


def test_without_samplers_there_is_a_set_that_shows_the_range():
    names = [row["sampler"] for row in compare(None, n=1)["samplers"]]
    assert names == [
        "greedy", "temperature(t=0.2)", "temperature(t=0.5)", "temperature(t=0.7)",
        "temperature(t=1.0)", "temperature(t=1.5)", "uniform", "top_p(p=0.9)",
    ]  # fmt: skip


def test_a_sampler_named_twice_is_measured_once():
    document = compare(["greedy", "temperature(t=1.0)", "temperature", "greedy"])
    assert [row["sampler"] for row in document["samplers"]] == ["greedy", "temperature(t=1.0)"]
    assert document["warnings"][:2] == [
        "greedy was named more than once; it is measured once",
        "temperature(t=1.0) was named more than once; it is measured once",
    ]


def test_a_likely_mistake_in_a_chain_is_a_warning():
    document = compare(["temperature(t=1.5) | min_p(p=0.05)"])
    assert "put the temperature last" in document["warnings"][0]


def test_without_a_prompt_a_model_that_begins_no_text_continues_words():
    model = ToyModel()
    model.vocabulary.start = None
    model.default_prompt = "the dog"  # one prompt is no sample of beginnings
    header = compare(model=model, prompts=None)["header"]
    assert len(header["prompts"]) > 4
    assert header["beginnings"] == "drawn from the model, each after a word of its vocabulary"


def test_words_of_prompts_that_the_model_lacks_are_a_warning():
    found = compare(prompts=["the", "the zebra", "the gnu"])["warnings"]
    assert found[0] == ("the model does not know 'zebra', 'gnu'; it reads unknown words as [UNK]")
    assert not any("does not know" in text for text in compare()["warnings"])


def test_several_prompts_each_have_their_texts():
    document = compare(["greedy"], prompts=["the", "the cat", "the"], n=2)
    [row] = document["samplers"]
    assert document["header"]["prompts"] == ["the", "the cat"]
    assert [(t["prompt"], t["sample"]) for t in row["texts"]] == [
        ("the", 0), ("the", 1), ("the cat", 0), ("the cat", 1),
    ]  # fmt: skip
    assert row["generated_texts"]["n"] == 4


class Reads(Sampler):
    """Record the texts that are read."""

    def __call__(self, logits, context):
        read.append(context.tokens.tolist())
        return logits


read: list[list[list[int]]] = []


def test_contexts_are_of_every_prompt():
    read.clear()
    compare([Reads()], prompts=["the cat", "the dog", "mat"], n=2, length=2, contexts=4)
    # Of two tokens and of one: prompts of one length are read together.
    begins = [ToyModel().vocabulary.decode(text) for text in read[0] + read[1]]
    assert set(begins) == {"the cat", "the dog", "mat"}


def test_progress_goes_from_nothing_to_all():
    calls = []
    compare(progress=lambda *call: calls.append(call))
    stages = list(dict.fromkeys(stage for stage, _, _ in calls))
    assert stages == ["contexts", "teacher forcing", "generated texts", "figures"]
    for stage in stages:
        done = [(count, total) for name, count, total in calls if name == stage]
        assert done == sorted(done)
        assert done[0][0] == 0
        assert done[-1][0] == done[-1][1] > 0


# Sweeps


@pytest.mark.slow
def test_every_setting_of_a_sweep_is_a_row_that_knows_it():
    document = compare(["top_k(k=1,2) | temperature(t=0.5..1.5/2)", "greedy"])
    jsonschema.validate(document, schema())
    rows = [(row["sampler"], row["sweep"]) for row in document["samplers"]]
    assert rows == [
        ("top_k(k=1) | temperature(t=0.5)", "top_k(k=1) | temperature(t=0.5..1.5/2)"),
        ("top_k(k=1) | temperature(t=1.5)", "top_k(k=1) | temperature(t=0.5..1.5/2)"),
        ("top_k(k=2) | temperature(t=0.5)", "top_k(k=2) | temperature(t=0.5..1.5/2)"),
        ("top_k(k=2) | temperature(t=1.5)", "top_k(k=2) | temperature(t=0.5..1.5/2)"),
        ("greedy", None),
    ]
    assert document["header"]["settings_tried"] == {"top_k | temperature": 4, "greedy": 1}


def test_the_settings_of_a_sweep_are_matched_each():
    document = compare(["top_k(k=3,4) | temperature"], match="entropy=0.5")
    first, second = document["samplers"]
    assert [row["sampler"].split(" |")[0] for row in (first, second)] == [
        "top_k(k=3)",
        "top_k(k=4)",
    ]
    assert first["sweep"] == second["sweep"] == "top_k(k=3,4) | temperature"
    assert abs(second["teacher_forced"]["entropy"]["mean"] - 0.5) <= 0.01


@pytest.mark.slow
def test_the_best_of_a_sweep_and_the_fronts_are_given():
    document = compare(["temperature(t=0.2..1.8/5)", "greedy"], reference=TEXTS, n=12)
    jsonschema.validate(document, schema())
    [best] = document["best"]
    people = document["reference"]["generated_texts"]["surprisal"]
    rows = {row["sampler"]: row["generated_texts"] for row in document["samplers"]}
    swept = [name for name in rows if name != "greedy"]
    assert (best["name"], best["tried"], best["target"]) == ("temperature", 5, people)
    assert best["sampler"] == min(swept, key=lambda name: abs(rows[name]["surprisal"] - people))
    assert best["ci95"][0] < best["corrected"] < best["ci95"][1]
    quality, recall = document["fronts"]
    for name in quality["rows"]:
        assert not any(
            other["diversity"] > rows[name]["diversity"]
            and other["surprisal"] < rows[name]["surprisal"]
            for other in rows.values()
        )
    assert "greedy" in recall["rows"]
    report = corelm.Report(document)
    sentence = f"Of 5 settings of temperature, {best['sampler']} comes nearest to human "
    sentence += "text in this sample, with "
    assert sentence in report.evidence
    assert sentence in report.to_html()
    assert compare()["best"] == []


# Seeds


@pytest.mark.slow
def test_several_seeds_are_pooled_and_their_spread_is_given():
    asked = {"samplers": ["temperature(t=0.5)", "uniform"], "against": "uniform", "n": 9}

    def words(row):
        ends = sum(text["finish_reason"] == "end" for text in row["texts"])
        return row["generated_texts"]["tokens"] - ends

    alone = [compare(seed=seed, texts="all", **asked)["samplers"] for seed in (1, 2, 7)]
    document = compare(seeds="1..2,7", **asked)
    jsonschema.validate(document, schema())
    assert document["header"]["seeds"] == [1, 2, 7]
    first, own = document["samplers"][0], document["samplers"][0]["generated_texts"]
    assert own["n"] == 27
    for name, kind in (("loops", "mean"), ("distinct_2", "set"), ("perplexity", "ratio")):
        each = [rows[0]["generated_texts"][name] for rows in alone]
        assert own["by_seed"][name]["values"] == pytest.approx(each)
        assert own["by_seed"][name]["sd"] == pytest.approx(statistics.stdev(each))
        if kind != "ratio":
            assert own[name] == pytest.approx(statistics.mean(each))
    # Of the words alone: these are the seeds' tokens without the ends of their texts.
    tokens = [words(rows[0]) for rows in alone]
    surprisal = [rows[0]["generated_texts"]["surprisal"] for rows in alone]
    pooled = sum(map(operator.mul, surprisal, tokens)) / sum(tokens)
    assert own["surprisal"] == pytest.approx(pooled)
    # Three independent sets vary less than one of them.
    low, high = own["ci95"]["zipf"]
    widths = [np.ptp(rows[0]["generated_texts"]["ci95"]["zipf"]) for rows in alone]
    assert high - low < min(widths)
    pairs = [rows[0]["generated_texts"]["ci95"]["distinct_2"] for rows in alone]
    together = math.hypot(*(high - low for low, high in pairs)) / 3
    assert np.ptp(own["ci95"]["distinct_2"]) == pytest.approx(together, rel=0.15)
    assert [text["seed"] for text in first["texts"]] == [1] * 5
    paired = first["differences"]["generated_texts"]["distinct_2"]
    assert paired["value"] == pytest.approx(
        own["distinct_2"] - document["samplers"][1]["generated_texts"]["distinct_2"]
    )
    assert paired["ci95"] is not None


def test_the_units_of_few_prompts_are_texts_and_of_many_the_prompts():
    few = compare(["uniform"], prompts=["the", "the cat"], n=9)["samplers"][0]["generated_texts"]
    assert (few["n"], few["units"]) == (18, 9)
    prompts = [f"the {word}" for word in ToyModel().vocabulary.decode(range(3, 12)).split()]
    many = corelm.compare(ToyModel(), ["uniform"], prompts=prompts, n=2, length=8)
    own = many.to_dict()["samplers"][0]["generated_texts"]
    assert (own["n"], own["units"]) == (2 * len(prompts), len(prompts))
    assert len(prompts) >= 8
    assert own["ci95"]["surprisal"] is not None
    assert f"{len(prompts)} independent units for intervals" in many.to_markdown()


@pytest.mark.slow
def test_the_spread_over_seeds_is_shown_in_words():
    report = corelm.Report(compare(["uniform"], seeds=[1, 2]))
    assert (
        "from 16 texts of at most 8 tokens that each sampler wrote, prompt" in report.to_markdown()
    )
    assert ", seeds 1 and 2. Model" in report.to_markdown()
    assert re.search(r"<em>sd [\d.]+ over seeds</em>", report.to_html())
    assert "per prompt, seed and sampler" in report.to_html()


# Reproducibility


def test_two_runs_are_equal():
    assert same(compare(), compare())
    assert not same(compare(), compare(seed=2))


def test_the_division_of_the_work_changes_nothing(monkeypatch):
    asked = {"samplers": ["temperature(t=0.5)", "mirostat"], "n": 6, "reference": TEXTS}
    whole = compare(**asked)
    monkeypatch.setattr("corelm_report.measure.run.UNIT", 1)
    one_by_one = lambda n: (range(i, i + 1) for i in range(n))  # noqa: E731
    monkeypatch.setattr("corelm.runs.ContinuousBatch.batches", one_by_one)
    assert same(whole, compare(**asked))


@pytest.mark.parametrize(("n", "warned"), [(1, 2), (6, 1), (8, 0)])
def test_too_little_to_measure_is_a_warning(n, warned):
    found = compare(["stochastic"], n=n, length=12)["warnings"]
    expected = [
        "intervals need at least 8 texts of each prompt (-n), or as many prompts",
        "the samplers were compared at 12 positions only",
    ]
    starts = sorted(found)
    assert len(starts) == warned
    assert all(text.startswith(start) for text, start in zip(starts, expected, strict=False))


def test_a_row_does_not_depend_on_the_others():
    together = compare(["greedy", "temperature(t=0.7)", "uniform"])
    alone = compare(["temperature(t=0.7)"])
    row = together["samplers"][1] | {"differences": None}  # there is nothing to compare with alone
    assert row == alone["samplers"][0]


class WritesThroughTorch(Sampler):
    """Keep three tokens in place, as a sampler that is at home in torch does."""

    def __call__(self, logits, context):
        import torch

        tensor = torch.from_numpy(logits)
        tensor[tensor < tensor.topk(3).values[..., -1:]] = -torch.inf
        return tensor.numpy()


@pytest.mark.engines("torch")
@pytest.mark.filterwarnings("ignore:The given NumPy array is not writable")
def test_a_sampler_that_writes_through_torch_changes_no_other_row():
    document = compare([WritesThroughTorch(), "temperature(t=1)"])
    alone = compare(["temperature(t=1)"])
    row = document["samplers"][1] | {"differences": None}
    assert row == alone["samplers"][0]


# Matching


def test_samplers_are_matched_to_an_entropy():
    document = compare(["temperature", "top_k(k=2)", "min_p", "greedy"], match="entropy=0.5")
    matched = [row for row in document["samplers"] if row["name"] in ("temperature", "min_p")]
    assert [row["sampler"] for row in document["samplers"]][1::2] == ["top_k(k=2)", "greedy"]
    target = {"figure": "entropy", "asked": "entropy=0.5", "target": 0.5}
    assert document["header"]["matched"] == [target]
    assert [row["matched"] for row in document["samplers"]] == [
        {"open": "temperature", **target}, None, {"open": "min_p", **target}, None,
    ]  # fmt: skip
    assert abs(matched[0]["teacher_forced"]["entropy"]["mean"] - 0.5) <= 0.01


@pytest.mark.slow
def test_every_open_sampler_gets_a_row_for_each_target():
    document = compare(
        ["temperature", "greedy", "top_k"],
        match=["entropy=0.5", "tokens_kept=3", "human_recall=0.9"],
        reference=TEXTS,
        against="top_k at tokens_kept=3",
    )
    jsonschema.validate(document, schema())
    rows = [(row["name"], (row["matched"] or {}).get("asked")) for row in document["samplers"]]
    targets = ["entropy=0.5", "tokens_kept=3", "human_recall=0.9"]
    assert rows == [
        *(("temperature", each) for each in targets),
        ("greedy", None),
        *(("top_k", each) for each in targets),
    ]
    assert document["samplers"][5]["sampler"] == "top_k(k=3)"
    assert document["samplers"][5]["differences"] is None
    assert document["samplers"][0]["differences"]["against"] == "top_k(k=3)"
    words = (
        "matched to a mean entropy of 0.50 nats, a mean number of tokens kept of 3.00 and a human "
        "recall of 90.0%. Model: "
    )
    report = corelm.Report(document)
    assert words in report.to_markdown()
    assert "| `top_k(k=3)` | tokens kept 3.00 | " in report.to_markdown()
    assert "human recall 90.0%" in report.to_html()
    assert tripped(document, "top_k(k=3).entropy > 99") == ""


def test_human_surprisal_can_be_matched():
    document = compare(["temperature"], match="surprisal=human", reference=TEXTS)
    [row] = document["samplers"]
    human = document["reference"]["teacher_forced"]["surprisal"]  # the contexts are people's
    assert document["header"]["matched"][0]["target"] == pytest.approx(human, rel=1e-9)
    # At the positions of the words that the model can draw, as the human surprisal.
    assert abs(row["differences"]["teacher_forced"]["expected_surprisal"]["value"]) <= 0.01


def test_people_are_matched_on_other_contexts_by_their_share_of_the_models_entropy():
    document = compare(["temperature", "stochastic"], match="surprisal=human", model=carrier())
    matched, model = (row["teacher_forced"] for row in document["samplers"])
    target = 1.1 / 1.2 * model["entropy"]["mean"]
    assert document["header"]["matched"][0]["target"] == pytest.approx(target, rel=1e-6)
    assert abs(matched["expected_surprisal"] - target) <= 0.01
    fit = document["reference"]["temperature"]
    assert fit["surprisal"] == pytest.approx(target, rel=1e-6)
    assert fit["estimated"]
    chart = chart_of(document, "surprisal-against-temperature")
    assert "measured on other texts and converted to these" in chart.caption
    assert fit["t"] == pytest.approx(document["samplers"][0]["params"]["t"], abs=0.02)


# Failures


@pytest.mark.parametrize(
    ("returned", "says"),
    [
        (lambda logits: None, "returned NoneType instead of an array"),
        (lambda logits: logits[:, :3], "returned the shape"),
        (lambda logits: logits * float("nan"), "returned NaN"),
        (lambda logits: 0 * corelm.softmax(logits), "restored"),
    ],
)
def test_a_sampler_that_returns_nonsense(returned, says):
    class Nonsense(Sampler):
        """A sampler that returns no logits."""

        def __call__(self, logits, context):
            return returned(logits)

    document = compare([Nonsense(), "greedy"])
    assert says in document["samplers"][0]["error"]["message"]
    assert document["samplers"][1]["error"] is None


def test_a_word_that_the_model_lacks_fails_only_its_sampler():
    document = compare(["ban(words=('zebra',))", "greedy"])
    assert "zebra" in document["samplers"][0]["error"]["message"]
    assert document["samplers"][1]["error"] is None


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"samplers": []}, "a report needs at least one sampler"),
        ({"samplers": ["nucleus"]}, "there is no sampler or decoder 'nucleus'"),
        ({"samplers": ["greedy("]}, "cannot read"),
        ({"n": 0}, "n must be at least 1, not 0"),
        ({"length": 0}, "length must be at least 1, not 0"),
        ({"length": 2.5}, "length must be a whole number, not 2.5"),
        ({"seed": -1}, "seed must be at least 0, not -1"),
        ({"prompts": []}, "a report needs at least one prompt"),
        ({"reference": []}, "the reference must be a path of texts, or a list of texts"),
        ({"reference": [5]}, "the reference must be a path of texts, or a list of texts"),
        ({"reference": ["", "  "]}, "the reference must be a path of texts, or a list of texts"),
        ({"seed": 1, "seeds": [2]}, "seed and seeds contradict each other; give one of them"),
        ({"seeds": "1..x"}, "cannot read the range '1..x'"),
        ({"seeds": "1,x"}, "seed must be a whole number, not 'x'"),
        ({"seeds": []}, "a report needs at least one seed"),
        ({"match": "entropy"}, "cannot read the target 'entropy'; write FIGURE=NUMBER, such as "
         "entropy=3 or mass_kept=0.9, or surprisal=human"),
        ({"match": "xyz=3"}, "'xyz' cannot be matched; the figures are: surprisal, entropy, "),
        ({"match": "entropy=3=4"}, "entropy must be a number or 'human', not '3=4'"),
        ({"match": "entropy=inf"}, "entropy must be at least 0, not inf"),
        ({"match": [3]}, "cannot read the target 3"),
        ({"match": "entropy=people"}, "entropy must be a number or 'human', not 'people'"),
        ({"match": "entropy=-1"}, "entropy must be at least 0, not -1"),
        ({"match": "entropy=nan"}, "entropy must be at least 0, not nan"),
        ({"match": "mass_kept=90"}, "mass_kept must be between 0 and 1, not 90"),
        ({"match": "mass_kept=human"}, "the mass_kept of human text is not known; only "
         "surprisal can be matched to it, and every figure to a number"),
        ({"match": "entropi=3"}, "'entropi' cannot be matched; did you mean 'entropy'?"),
        ({"match": "human_recall=0.9"}, "human_recall needs human contexts"),
        ({"match": "surprisal=human", "samplers": ["temperature"]}, "there are no human texts to"),
        ({"match": "entropy=human", "samplers": ["temperature"]}, "human text has no entropy "
         "under a model, only a surprisal: use surprisal=human"),
        ({"match": "entropy=1", "samplers": ["mirostat"]}, "leaves"),
    ],
)  # fmt: skip
def test_impossible_settings_are_refused(asked, says):
    with pytest.raises(UsageError) as refused:
        compare(**asked)
    assert says in str(refused.value)


def test_a_report_of_one_sampler_and_one_text_counts_in_the_singular():
    toy, prompt, texts = ToyModel(), "the", ["the cat"]
    report = corelm.compare(toy, ["greedy"], prompts=prompt, n=1, length=4, reference=texts)
    assert repr(report).startswith("<corelm report of 1 sampler: ")
    assert "of 1 text (1 text given)." in report.to_markdown()


@pytest.mark.parametrize("texts", [0, 2])
def test_the_figures_do_not_depend_on_the_texts_that_the_report_keeps(texts):
    asked = {"prompts": ["the", "the cat"], "n": 6, "length": 9, "seeds": [1, 2]}
    some, every = (
        corelm.compare(ToyModel(), ["stochastic", "greedy"], texts=count, **asked).to_dict()
        for count in (texts, "all")
    )
    for row, whole in zip(some["samplers"], every["samplers"], strict=True):
        assert row["generated_texts"] == whole["generated_texts"]
        assert row["differences"] == whole["differences"]
        shown = [text for text in whole["texts"] if text["seed"] == 1 and text["sample"] < texts]
        assert row["texts"] == shown
        assert len(shown) == 2 * texts
