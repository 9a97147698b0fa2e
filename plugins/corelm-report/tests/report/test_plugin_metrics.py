"""Metrics of plugins in a report: their figures, intervals and differences, and their failures."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from documents import compare, tripped
from page_reader import rows_of

import corelm
from corelm.errors import PluginError, UnknownNameError, UsageError
from corelm.registry.registry import Registry
from corelm.testing import ToyModel
from corelm_report import Estimate

BETWEEN = "between -1e+60 and 1e+60"
Document = dict[str, Any]


class PerText(corelm.SetMetric):
    meaning = "the mean number of tokens in a text"

    def figure(self, tokens, texts):
        return np.float32(sum(map(len, tokens)) / len(texts))


class Loops(corelm.SetMetric):
    meaning = "a name that corelm has itself"

    def figure(self, tokens, texts):
        return 0.5


class Fails(corelm.SetMetric):
    """Fail on a sampler that always writes the same text."""

    meaning = "a metric that fails on greedy <b>text</b>"

    def figure(self, tokens, texts):
        if len(texts) > 3 and len(set(texts)) == 1:
            raise ValueError("one text\nalone")
        return len(texts)


class Undefined(corelm.SetMetric):
    meaning = "never defined"

    def figure(self, tokens, texts):
        return None


METRICS = {"per_text": PerText, "loops": Loops, "fails": Fails, "undefined": Undefined}
PEOPLE = ["the cat sat on the mat", "the dog sat", "the mat", "the cat", "a dog ran"]
NAMES = [f"my-package:{name}" for name in METRICS]


def offered(patch: pytest.MonkeyPatch, metrics: dict[str, Any]) -> None:
    """Offer these metrics, and no other ones."""
    plugins = Registry([])
    hook = corelm.hookimpl(lambda: metrics)
    plugins.register(SimpleNamespace(corelm_metrics=hook), "my-package")
    patch.setattr("corelm.registry.plugins.registry", lambda: plugins)


@pytest.fixture
def offer(monkeypatch):
    """A function that offers metrics under their names."""
    return lambda **metrics: offered(monkeypatch, metrics)


@pytest.fixture(scope="module")
def report() -> corelm.Report:
    with pytest.MonkeyPatch.context() as patch:
        offered(patch, METRICS)
        return corelm.compare(
            ToyModel(), ["greedy", "temperature(t=0.5)", "uniform"], prompts="the", n=25, length=12,
            reference=5 * PEOPLE, against="uniform", texts="all", metrics=[*METRICS, "per_text"],
        )  # fmt: skip


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
    page, markdown = report.to_html(), report.to_markdown()
    for cells in rows_of(page, "varied").values():
        assert [title for title in cells if title in titles] == titles
    heading = markdown.replace("\\", "").split("| sampler |")[1].splitlines()[0]
    assert [title for title in heading.split(" | ") if title.strip(" |") in titles]
    assert "per\\_text: the mean number of tokens in a text" in markdown
    assert (
        "<bdi>a metric that fails on greedy &lt;b&gt;text&lt;/b&gt;: a metric of a plugin" in page
    )


class Repeated(corelm.SetMetric):
    meaning = "three repetitions"
    limits = (0.0, 2.5)

    def figure(self, tokens, texts):
        return [1.0, 2.0, 3.0]


def figures_of(metrics, *samplers, **asked):
    """The figures of the texts of a sampler."""
    row = compare(samplers or ["stochastic"], metrics=metrics, **asked)["samplers"][0]
    return row["generated_texts"], row["failed_metrics"]


def test_repetitions_are_averaged_and_widen_the_interval(offer):
    offer(repeated=Repeated)
    own, _ = figures_of("repeated")
    assert own["my-package:repeated"] == 2.0
    low, high = own["ci95"]["my-package:repeated"]
    assert (low, high) == (pytest.approx(2 - 1.96 / 3**0.5, abs=1e-4), 2.5)


class LongTexts(corelm.TextMetric):
    least: int = corelm.param(12, "tokens that a text has at least", ge=1)

    @property
    def meaning(self):
        return f"tokens of a text with {self.least} at least"

    def of_text(self, tokens, text):
        return float(len(tokens)) if len(tokens) >= self.least else None


def test_a_metric_of_a_text_counts_the_texts_that_have_it(offer):
    """The others are left out, and a metric that no text has is named in a warning."""
    offer(long=LongTexts)
    report = corelm.compare(
        ToyModel(), ["stochastic"], prompts="the", n=32, length=12,
        metrics=["long", "long(least=13)"],
    )  # fmt: skip
    own = report.to_dict()["samplers"][0]["generated_texts"]
    used = own["texts_used"]["my-package:long"]
    assert 0 < used < own["n"] == 32
    assert own["my-package:long"] == 12.0
    # All of them have 12, which says nothing of the next text: there is no interval.
    assert f"stochastic,generated_texts,my-package:long,12.0,,,{used}," in report.to_csv()
    assert f"of {used} texts" in report.to_html()
    longer = "my-package:long(least=13)"
    assert own[longer] is None
    [warning] = [each for each in report.to_dict()["warnings"] if longer in each]
    assert warning.startswith(f"{longer} could not be measured for stochastic: it is undefined")


def test_two_settings_of_one_metric_are_two_figures(offer):
    """The default parameters leave the bare name; a condition may name either."""
    offer(long=LongTexts)
    names = ["long(least=12)", "long(least=1)", "long(1)", "long"]
    document = corelm.compare(
        ToyModel(), ["stochastic"], prompts="the", n=32, length=12, metrics=names
    ).to_dict()
    found = [(each["name"], each["meaning"]) for each in document["header"]["metrics"]]
    assert found == [
        ("my-package:long", "tokens of a text with 12 at least"),
        ("my-package:long(least=1)", "tokens of a text with 1 at least"),
    ]
    own = document["samplers"][0]["generated_texts"]
    assert own["my-package:long(least=1)"] < own["my-package:long"] == 12
    said = tripped(document, "stochastic.long(least=1) > 0", [name for name, _ in found])
    assert f"it is {own['my-package:long(least=1)']:.4g}" in said


def test_a_parameter_outside_its_rule_and_a_chain_are_refused(offer):
    offer(long=LongTexts)
    for text, reason in (
        ("long(least=0)", "least must be at least 1, not 0"),
        ("long(most=1)", "long has no parameter 'most'; it has: least"),
        ("long | long", "is a chain; a metric is one name with its parameters"),
    ):
        with pytest.raises(UsageError, match=re.escape(reason)):
            corelm.compare(ToyModel(), ["greedy"], metrics=text)


class Surest(corelm.TokenMetric):
    meaning = "a"

    def of_token(self, logits):
        return corelm.softmax(logits).max(axis=-1)

    def of_text(self, numbers, text):
        return max(numbers, default=None)


class Tokens(Surest):
    def of_text(self, numbers, text):
        return len(numbers)


class Spoils(Tokens):
    def of_token(self, logits):
        logits[:] = 0
        return logits[:, 0]


class One(Tokens):
    def of_token(self, logits):
        return 1.0


def test_a_metric_of_distributions_reads_the_model_behind_the_prompts(offer):
    """Each text is read once, without its end token; a reference isn't needed."""
    offer(surest=Surest, tokens=Tokens, spoils=Spoils, one=One)
    model = ToyModel()
    report = corelm.compare(
        model, ["temperature(t=2)"], prompts="the dog", n=12, length=6, seed=1, texts="all",
        metrics=["surest", "tokens", "spoils", "one"],
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
        "my-package:one": f"of_token returned 1.0; expected {len(surest)} numbers {BETWEEN}",
    }


def _surest(model, tokens):
    p = model.next_token_distribution(np.array([tokens]))[0].copy()
    p[[model.vocabulary.unknown, model.vocabulary.padding]] = 0
    return float((p / p.sum()).max())


def test_a_condition_names_them_by_either_name(document):
    for name in ("per_text", "my-package:per_text"):
        said = tripped(document, f"uniform.{name} > 0", NAMES)
        assert said.startswith(f"uniform.{name} > 0: it is ")
    assert "it is 0.5" not in tripped(document, "uniform.loops > -1", NAMES)
    failed = tripped(document, "greedy.fails > 0", NAMES)
    assert failed == "greedy.fails > 0: the metric failed: ValueError: one text"


def test_an_unknown_name_suggests(offer):
    offer(**METRICS)
    with pytest.raises(UnknownNameError, match="no metric 'per_txt'; did you mean 'per_text'"):
        corelm.compare(ToyModel(), ["greedy"], metrics="per_txt")
    with pytest.raises(UsageError, match="a metric is the name of one, such as 'mattr', not 3"):
        corelm.compare(ToyModel(), ["greedy"], metrics=[3])


def test_a_metric_cannot_change_the_texts(offer):
    class Greedy(corelm.SetMetric):
        meaning = "one, and no text left"

        def figure(self, tokens, texts):
            tokens.clear()
            texts.clear()
            return 1

    class Clears(corelm.HumanMetric):
        meaning = "the texts of both"

        def compare(self, texts, human, model):
            count = len(texts) + len(human)
            texts.clear()
            human.clear()
            return lambda rows: count

    offer(own=Greedy, per_text=PerText, clears=Clears, again=Clears)
    own, _ = figures_of(["own", "clears", "again", "per_text"], reference=PEOPLE)
    assert own["my-package:own"] == 1.0
    assert own["my-package:clears"] == own["my-package:again"] == own["n"] + len(PEOPLE)
    assert own["my-package:per_text"] == figures_of("per_text")[0]["my-package:per_text"]


def test_a_comparison_is_made_once_for_all_parts_of_a_set(offer):
    calls = []

    class Longer(corelm.HumanMetric):
        meaning = "letters in those of the first human text"

        def compare(self, texts, human, model):
            calls.append((texts, human, model))
            return lambda rows: sum(len(texts[i]) for i in rows) / len(human[0])

    offer(longer=Longer)
    model, human = ToyModel(), ["the cat sat", "the dog"]
    asked = {"model": model, "n": 2, "texts": "all", "metrics": "longer"}
    row = compare(["uniform"], reference=human, **asked)["samplers"][0]
    texts = [text["text"] for text in row["texts"]]
    assert calls == [(texts, human, model)]
    expected = sum(map(len, texts)) / len("the cat sat")
    assert row["generated_texts"]["my-package:longer"] == pytest.approx(expected)
    with pytest.raises(UsageError, match="longer compares with human text: give some"):
        compare(["uniform"], **asked)


class OutsideItsLimits(PerText):
    limits = (0, 1)


KINDS = "corelm.SetMetric or corelm.TextMetric or corelm.TokenMetric or corelm.HumanMetric"


class Counted:
    """The number of calls so far, of any kind of metric."""

    meaning = "calls"

    def __next__(self):
        self.calls.append(1)
        return float(len(self.calls))

    def of_text(self, tokens, text):
        return next(self)

    def of_token(self, logits):
        return [next(self)] * len(logits)

    def figure(self, tokens, texts):
        return next(self)

    def compare(self, texts, human, model):
        return lambda rows: next(self)


def test_a_figure_outside_the_limits_is_refused(offer):
    offer(outside=OutsideItsLimits)
    own, failed = figures_of("outside")
    assert own["my-package:outside"] is None
    assert failed["my-package:outside"].endswith("expected a number between 0 and 1, or None")


@pytest.mark.parametrize(
    "base", [corelm.SetMetric, corelm.TextMetric, corelm.TokenMetric, corelm.HumanMetric]
)
def test_a_metric_that_counts_its_calls_is_refused(offer, base):
    offer(counted=type("OfKind", (Counted, base), {"calls": []}))
    own, failed = figures_of("counted", reference=PEOPLE)
    assert own["my-package:counted"] is None
    assert re.search(r"it returned .* and then .* for the same texts", failed["my-package:counted"])


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (Tokens(), "not a metric: it is Tokens(), not a class"),
        (corelm.SetMetric.__mro__[1], f"not a metric: Metric does not inherit {KINDS}"),
        (corelm.TokenMetric, "not a metric: TokenMetric has no of_token"),
    ],
)
def test_what_is_no_metric_is_refused_when_it_is_loaded(offer, value, reason):
    with pytest.raises(PluginError) as error:
        offer(it=value)
    assert str(error.value) == reason
