"""Metrics of plugins in a report: their figures, intervals and differences, and their failures."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from corelm_report.document.figures import VARIETY
from corelm_report.document.gate import condition
from corelm_report.measure import plugin_metrics
from corelm_report.metrics.estimates import Estimate
from corelm_report.plan import plan
from corelm_report.render import overview
from corelm_report.render.html import tables
from documents import typed

import corelm
from corelm.errors import PluginError, UnknownNameError, UsageError
from corelm.registry.offers import Offer, Source, check_metric
from corelm.registry.registry import Registry
from corelm.testing import ToyModel

Document = dict[str, Any]


def tokens_per_text(tokens, texts):
    return np.float32(sum(map(len, tokens)) / len(texts))


def several(tokens, texts):
    """Fail on a sampler that always writes the same text."""
    if len(texts) > 3 and len(set(texts)) == 1:
        raise ValueError("one text\nalone")
    return len(texts)


METRICS = {
    "per_text": corelm.Metric("the mean number of tokens in a text", tokens_per_text),
    "loops": corelm.Metric("a name that corelm has itself", lambda tokens, texts: 0.5),
    "fails": corelm.Metric("a metric that fails on greedy <b>text</b>", several),
    "undefined": corelm.Metric("never defined", lambda tokens, texts: None),
}
PEOPLE = ["the cat sat on the mat", "the dog sat", "the mat", "the cat", "a dog ran"]
NAMES = [f"my-package:{name}" for name in METRICS]


@pytest.fixture(scope="module")
def report() -> corelm.Report:
    plugins = Registry([])
    plugins.register(SimpleNamespace(corelm_metrics=corelm.hookimpl(corelm_metrics)), "my-package")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "registry", lambda: plugins)
        return corelm.compare(
            ToyModel(), ["greedy", "temperature(t=0.5)", "uniform"], prompts="the", n=25, length=12,
            reference=5 * PEOPLE,
            against="uniform", texts="all",
            metrics=[*METRICS, "per_text"],
        )  # fmt: skip


def corelm_metrics():
    return METRICS


@pytest.fixture
def document(report: corelm.Report) -> Document:
    return report.to_dict()


def test_figures_and_intervals_by_full_name(document):
    assert [each["name"] for each in document["header"]["metrics"]] == NAMES
    own = document["samplers"][1]["generated_texts"]
    lengths = [len(text["text"].split()) for text in document["samplers"][1]["texts"]]
    assert own[NAMES[0]] == pytest.approx(np.mean(lengths))
    without = [np.mean(lengths[:i] + lengths[i + 1 :]) for i in range(25)]
    assert own["ci95"][NAMES[0]] == pytest.approx(
        Estimate.of_left_out("texts", own[NAMES[0]], without).interval()
    )
    assert own["loops"] != own["my-package:loops"] == 0.5
    assert own["my-package:undefined"] is None


def test_people_have_them_too(document):
    own = document["reference"]["generated_texts"]
    assert own[NAMES[0]] == pytest.approx((6 + 3 + 2 + 2 + 2) / 5, abs=1e-6)


def test_the_difference_is_paired(document):
    first, _, other = (row["generated_texts"][NAMES[0]] for row in document["samplers"])
    found = document["samplers"][0]["differences"]["generated_texts"][NAMES[0]]
    assert found["value"] == pytest.approx(first - other)
    low, high = found["ci95"]
    assert low < found["value"] < high


@pytest.mark.slow
def test_a_failure_leaves_one_figure_missing_and_says_why(report, document):
    reason = "ValueError: one text"
    assert report.failed == {"greedy.my-package:fails": reason}
    assert document["samplers"][0]["generated_texts"]["my-package:fails"] is None
    assert document["samplers"][0]["failed_metrics"] == {"my-package:fails": reason}
    assert document["samplers"][2]["generated_texts"]["my-package:fails"] == 25.0
    assert f"| `greedy.my-package:fails` | failed: {reason} |" in report.to_markdown()
    assert f"<bdi>greedy.my-package:fails</bdi> failed: <bdi>{reason}</bdi>" in report.to_html()


@pytest.mark.slow
def test_every_form_has_them(report, document):
    assert corelm.Report(document).to_dict() == document
    lines = [line.split(",") for line in report.to_csv().splitlines()]
    row = next(row for row in lines if row[0] == "greedy" and row[2] == NAMES[0])
    assert float(row[3]) == document["samplers"][0]["generated_texts"][NAMES[0]]
    frame = report.to_pandas()
    assert set(frame[frame["metric"] == NAMES[0]]["sampler"]) == {
        "human", "greedy", "temperature(t=0.5)", "uniform",
    }  # fmt: skip
    titles = ["per_text", "my-package:loops", "fails"]
    line = next(iter(tables.lines(typed(report.to_dict()), VARIETY)))
    assert [cell.title for cell in line.cells][-3:] == titles
    chosen = [column.title for column in overview.overview_columns(typed(report.to_dict()))]
    assert [title for title in chosen if title in titles] == titles
    assert "per\\_text: the mean number of tokens in a text" in report.to_markdown()
    page = report.to_html()
    assert (
        "<bdi>a metric that fails on greedy &lt;b&gt;text&lt;/b&gt;: a metric of a plugin" in page
    )


def offered(name, metric):
    return Offer(name, metric, Source("p", "1", name))


def test_repetitions_are_averaged_and_widen_the_interval():
    metric = corelm.Metric("repeated", lambda tokens, texts: [1.0, 2.0, 3.0], limits=(0.0, 2.5))
    found = plugin_metrics.measure([offered("repeated", metric)], [[3], [4]], ["a", "b"])
    assert found.values == {"p:repeated": 2.0}
    assert found.noise == {"p:repeated": pytest.approx(1 / 3)}
    noisy = Estimate(2.0).with_noise(found.noise["p:repeated"])
    low, high = noisy.interval(limits=metric.limits)
    assert (low, high) == (pytest.approx(2 - 1.96 / 3**0.5, abs=1e-4), 2.5)


def long_enough(tokens, text):
    return float(len(tokens)) if len(tokens) >= 12 else None


def test_a_metric_of_a_text_counts_the_texts_that_have_it(monkeypatch):
    """The others are left out, and a metric that no text has is named in a warning."""
    metrics = {
        "long": corelm.Metric("tokens of a long text", of_text=long_enough),
        "longer": corelm.Metric("never defined", of_text=lambda tokens, text: None),
    }
    plugins = Registry([])
    hook = corelm.hookimpl(lambda: metrics)
    plugins.register(SimpleNamespace(corelm_metrics=hook), "my-package")
    monkeypatch.setattr(plan, "registry", lambda: plugins)
    report = corelm.compare(
        ToyModel(), ["stochastic"], prompts="the", n=32, length=12, metrics=[*metrics]
    )
    own = report.to_dict()["samplers"][0]["generated_texts"]
    used = own["texts_used"]["my-package:long"]
    assert 0 < used < own["n"] == 32
    assert own["my-package:long"] == 12.0
    # All of them have 12, which says nothing of the next text: there is no interval.
    assert f"stochastic,generated_texts,my-package:long,12.0,,,{used}," in report.to_csv()
    assert f"of {used} texts" in report.to_html()
    assert own["my-package:longer"] is None
    [warning] = [each for each in report.to_dict()["warnings"] if "my-package:longer" in each]
    assert warning.startswith("my-package:longer could not be measured for stochastic: it is undef")


def share_of_the_likeliest(logits):
    return corelm.softmax(logits).max(axis=-1)


def spoil(logits):
    logits[:] = 0
    return logits[:, 0]


def test_a_metric_of_distributions_reads_the_model_behind_the_prompts(monkeypatch):
    """Each text is read once, without its end token; a reference isn't needed."""
    metrics = {
        "surest": corelm.Metric(
            "a", of_token=share_of_the_likeliest, of_text=lambda p, text: max(p, default=None)
        ),
        "tokens": corelm.Metric(
            "a", of_token=share_of_the_likeliest, of_text=lambda p, text: len(p)
        ),
        "spoils": corelm.Metric("a", of_token=spoil, of_text=lambda p, text: 1),
        "one": corelm.Metric("a", of_token=lambda logits: 1.0, of_text=lambda p, text: 1),
    }
    plugins = Registry([])
    hook = corelm.hookimpl(lambda: metrics)
    plugins.register(SimpleNamespace(corelm_metrics=hook), "my-package")
    monkeypatch.setattr(plan, "registry", lambda: plugins)
    model = ToyModel()
    report = corelm.compare(
        model, ["temperature(t=2)"], prompts="the dog", n=12, length=6, seed=1, texts="all",
        metrics=[*metrics],
    )  # fmt: skip
    texts = corelm.generate(model, "the dog", sampler="temperature(t=2)", n=12, length=6, seed=1)
    [entry] = report.to_dict()["samplers"]
    own = entry["generated_texts"]
    ends = model.vocabulary.ends
    words = [[token for token in text.tokens if token not in ends] for text in texts]
    assert own["my-package:tokens"] == np.mean([len(text) for text in words])
    before = model.vocabulary.encode("the dog")
    surest = [
        max(_surest(model, [*before, *text[:i]]) for i in range(len(text)))
        for text in words
        if text
    ]
    assert own["my-package:surest"] == pytest.approx(np.mean(surest), rel=1e-6)
    assert entry["failed_metrics"] == {
        "my-package:spoils": "ValueError: assignment destination is read-only",
        "my-package:one": f"of_token returned 1.0; expected {len(surest)} finite numbers",
    }


def _surest(model, tokens):
    p = model.next_token_distribution(np.array([tokens]))[0].copy()
    p[[model.vocabulary.unknown, model.vocabulary.padding]] = 0
    return float((p / p.sum()).max())


@pytest.mark.parametrize("name", ["per_text", "my-package:per_text"])
def test_a_condition_names_them_by_either_name(document, name):
    rows = [(row["sampler"], row["name"]) for row in document["samplers"]]
    found = condition(f"uniform.{name} > 0", rows, NAMES)
    assert found.metric == NAMES[0]
    assert found.tripped(typed(document)).startswith(f"uniform.{name} > 0: it is ")
    assert condition("uniform.loops > 1", rows, NAMES).metric == "loops"
    failed = condition("greedy.fails > 0", rows, NAMES).tripped(typed(document))
    assert failed == "greedy.fails > 0: the metric failed: ValueError: one text"


def test_an_unknown_name_suggests(monkeypatch):
    plugins = Registry([])
    plugins.register(SimpleNamespace(corelm_metrics=corelm.hookimpl(corelm_metrics)), "my-package")
    monkeypatch.setattr(plan, "registry", lambda: plugins)
    with pytest.raises(UnknownNameError, match="no metric 'per_txt'; did you mean 'per_text'"):
        corelm.compare(ToyModel(), ["greedy"], metrics="per_txt")
    with pytest.raises(UsageError, match="a metric is the name of one, such as 'mattr', not 3"):
        corelm.compare(ToyModel(), ["greedy"], metrics=[3])


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (float("nan"), "it returned nan; expected a finite number, or None"),
        (float("-inf"), "it returned -inf; expected a finite number, or None"),
        (True, "it returned True; expected a finite number, or None"),
        ("0.5", "it returned '0.5'; expected a finite number, or None"),
        (10**400, "OverflowError: int too large to convert to float"),
    ],
)
def test_nonsense_is_refused(value, reason):
    offer = Offer("bad", corelm.Metric("bad", lambda tokens, texts: value), Source("p", "1", "bad"))
    found = plugin_metrics.measure([offer], [[3]], ["a"])
    assert (found.values, found.left_out, found.failures) == (
        {"p:bad": None}, {"p:bad": []}, {"p:bad": reason},
    )  # fmt: skip


def test_a_metric_cannot_change_the_texts():
    def greedy(tokens, texts):
        tokens.clear()
        texts.clear()
        return 1

    tokens, texts = [[3, 4], [5]], ["a b", "c"]
    offer = Offer("own", corelm.Metric("own", greedy), Source("p", "1", "own"))
    assert plugin_metrics.measure([offer], tokens, texts).values == {"p:own": 1.0}
    assert (tokens, texts) == ([[3, 4], [5]], ["a b", "c"])


def test_a_comparison_is_made_once_for_all_parts_of_a_set():
    calls = []

    def longer(texts, people, model):
        calls.append((texts, people, model))
        return lambda rows: sum(len(texts[i]) for i in rows) / len(people[0])

    offer = Offer("longer", corelm.Metric("a", compare=longer), Source("p", "1", "longer"))
    model = ToyModel()
    given = [offer], [[3, 4], [5]], ["ab", "c"]
    found = plugin_metrics.measure(*given, plugin_metrics.HumanTexts(["four"], model))
    assert calls == [(["ab", "c"], ["four"], model)]
    assert (found.values, found.left_out) == ({"p:longer": 0.75}, {"p:longer": [0.25, 0.5]})
    assert plugin_metrics.measure(*given).values == {"p:longer": None}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (len, "not a metric: it is <built-in function len>, not a corelm.Metric"),
        (corelm.Metric(" ", len), "not a metric: it has no meaning; define it in a few words"),
        (corelm.Metric("a", 3), "not a metric: the figure of it is not a function"),
        (corelm.Metric("a"), "not a metric: it needs one of figure, compare and of_text"),
        (corelm.Metric("a", len, len), "not a metric: it needs one of figure, compare and of_text"),
        (corelm.Metric("a", len, of_token=len), "not a metric: it needs of_text with of_token"),
        (
            corelm.Metric("a", of_text=len, of_token=3),
            "not a metric: the figure of it is not a function",
        ),
    ],
)
def test_what_is_no_metric_is_refused_when_it_is_loaded(value, reason):
    with pytest.raises(PluginError) as error:
        check_metric(Offer("it", value, Source("p", "1", "it")))
    assert str(error.value) == reason
