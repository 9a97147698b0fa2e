"""Every sampler on the same positions: numbers by hand, merging, and the laws on a real model."""

from __future__ import annotations

import copy
import json
import math

import numpy as np
import pytest
from corelm_report.measure.contexts import Contexts, human_contexts, model_contexts
from corelm_report.measure.entries import model_on_contexts, teacher_forced
from corelm_report.measure.on_contexts import curve, measure, merge, numbered_from, temperatures
from corelm_report.metrics.estimates import mean_interval
from corelm_report.metrics.inference import Inference
from small_models import SMALL, small_model

import corelm
from corelm import Sampler
from corelm.testing import ToyModel

LN2, LN3 = math.log(2), math.log(3)
WORDS = ("north", "south", "east", "west")
NORTH, SOUTH, EAST, WEST = 2, 3, 4, 5


@pytest.fixture
def model():
    """A model of four words that always have 1, 2, 3 and 3 bits."""
    return ToyModel(WORDS, logits=[9.0, 9.0, *np.log([4, 2, 1, 1])], end=False)


@pytest.fixture
def contexts(model):
    """A text of three positions and one of one; an unknown word follows the second position."""
    return human_contexts(model, ["north south up west", "west west"], "directions")


def measured(model, contexts, *expressions):
    samplers = [corelm.sampler(expression) for expression in expressions]
    return measure(model, contexts, samplers)


# Numbers by hand


def test_the_figures_of_one_sampler_at_each_position(model, contexts):
    [record] = measured(model, contexts, "top_k(k=2)")["samplers"]
    expected = {
        "entropy": LN3 - 2 / 3 * LN2,
        "model_entropy": 1.75 * LN2,
        "kl_to_model": -math.log(0.75),
        "mass_kept": 0.75,
        "tokens_kept": 2,
        "expected_surprisal": 4 / 3 * LN2,
        "top_probability": 2 / 3,
        "varentropy": 2 / 9 * LN2**2,
        "total_variation": 0.25,
        "jensen_shannon": (math.log(2 / 1.75) + 0.75 * math.log(1.5 / 1.75) + 0.25 * LN2) / 2,
    }
    assert record.keys() == {"text", "token_surprisal", *expected}
    # The second word is kept, the unknown one and the fourth cannot be drawn.
    assert record["token_surprisal"] == [[pytest.approx(LN3), None, None], [None]]
    assert record["text"] == [0, 1]
    for name, value in expected.items():
        assert [len(text) for text in record[name]] == [3, 1]
        assert [x for text in record[name] for x in text] == pytest.approx([value] * 4)


def test_the_entropy_of_the_model_and_the_surprisal_of_the_tokens(model, contexts):
    unit = measured(model, contexts)
    assert unit["samplers"] == []
    assert unit["model"]["entropy"] == [
        pytest.approx([1.75 * LN2] * 3),
        pytest.approx([1.75 * LN2]),
    ]
    [first, second] = unit["model"]["surprisal"]
    assert first[1] is None  # an unknown word cannot be drawn
    assert [first[0], first[2], *second] == pytest.approx([2 * LN2, 3 * LN2, 3 * LN2])
    figures = model_on_contexts(
        unit["model"], Inference.of_names(range(len(unit["model"]["entropy"])))
    ).to_dict()
    assert figures["n"] == 4
    assert figures["surprisal"] == pytest.approx(8 / 3 * LN2)
    assert figures["ci95"]["surprisal"] is None  # of two texts
    assert figures["by_position"] == [
        {"position": 0, "n": 2, "entropy": pytest.approx(1.75 * LN2)},
        {"position": 1, "n": 1, "entropy": pytest.approx(1.75 * LN2)},
        {"position": 2, "n": 1, "entropy": pytest.approx(1.75 * LN2)},
    ]


def test_human_recall_counts_the_words_that_the_sampler_could_have_drawn(model, contexts):
    """Of three words that the model can draw, `top_k(k=2)` keeps the one of 2 bits."""
    unit = measured(model, contexts, "top_k(k=2)", "stochastic")
    filtered, plain = (
        teacher_forced(record, unit["model"]).to_dict() for record in unit["samplers"]
    )
    assert filtered["human_recall"] == pytest.approx(1 / 3)
    assert filtered["human_surprisal"] == pytest.approx(math.log(3))
    assert plain["human_recall"] == 1.0
    assert plain["human_surprisal"] == pytest.approx(8 / 3 * LN2)
    assert (
        "human_recall" not in teacher_forced(unit["samplers"][0]).to_dict()
    )  # the model wrote the contexts


@pytest.fixture
def changing():
    """A model that is certain after an even number and tosses a coin after an odd one."""
    after = np.full((4, 4), -np.inf)
    after[2, 3] = 0  # even, then odd
    after[3, [2, 3]] = 0  # odd, then either
    return ToyModel(["even", "odd"], logits=after, end=False)


def test_the_summary_of_a_sampler(changing):
    """Entropies 0 and ln 2 after even and odd: two positions of each in all."""
    contexts = human_contexts(changing, ["even odd even odd", "odd odd"], "numbers")
    [record] = measured(changing, contexts, "stochastic")["samplers"]
    assert record["entropy"] == [pytest.approx([0, LN2, 0]), pytest.approx([LN2])]
    figures = teacher_forced(record).to_dict()
    assert figures["n"] == 4
    assert figures["entropy"] == {
        "mean": pytest.approx(LN2 / 2),
        "ci95": None,  # of two texts
        "median": pytest.approx(LN2 / 2),
        "p05": pytest.approx(0),
        "p95": pytest.approx(LN2),
    }
    assert figures["effective_choices"] == pytest.approx(math.sqrt(2))
    assert figures["tokens_kept"] == 1.5
    assert figures["kl_to_model"] == 0.0
    assert figures["mass_kept"] == 1.0
    assert figures["top_probability"] == pytest.approx(0.75)
    assert figures["bits"] == pytest.approx(
        {"entropy": 0.5, "model_entropy": 0.5, "kl_to_model": 0, "expected_surprisal": 0.5}
    )
    assert figures["ci95"]["tokens_kept"] is None
    assert figures["by_position"] == [
        {"position": 0, "n": 2, "entropy": pytest.approx(LN2 / 2), "mass_kept": 1.0,
         "model_entropy": pytest.approx(LN2 / 2)},
        {"position": 1, "n": 1, "entropy": pytest.approx(LN2), "mass_kept": 1.0,
         "model_entropy": pytest.approx(LN2)},
        {"position": 2, "n": 1, "entropy": 0.0, "mass_kept": 1.0, "model_entropy": 0.0},
    ]  # fmt: skip


def test_one_text_has_no_interval(model):
    [record] = measured(model, human_contexts(model, ["north north"], "one"), "greedy")["samplers"]
    assert teacher_forced(record).entropy.ci95 is None


def test_a_sampler_sees_the_past(model):
    """No word may repeat: after north, south and west only east is left."""
    contexts = human_contexts(model, ["north south west east"], "round")
    [record] = measured(model, contexts, "no_repeat_ngram(n=1)")["samplers"]
    assert record["tokens_kept"] == [[3, 2, 1]]
    assert record["mass_kept"] == [pytest.approx([1 / 2, 1 / 4, 1 / 8])]


def test_tokens_behind_the_prompt_count_as_drawn(model):
    contexts = Contexts("model", "d", ((NORTH, SOUTH, WEST, EAST),), (2,))
    unit = measured(model, contexts, "presence_penalty(penalty=99, skip_prompt=True)")
    assert unit["samplers"][0]["top_probability"] == [pytest.approx([4 / 8, 4 / 7])]


def test_mirostat_adapts_to_tokens_that_it_could_have_drawn(model):
    """mu begins at 3 bits, twice tau, and moves by 1.5 bits less what each token had."""
    contexts = Contexts("model", "d", ((NORTH, WEST, WEST, NORTH, NORTH),), (1,))
    [record] = measured(model, contexts, "mirostat(tau=1.5, eta=1)")["samplers"]
    # mu = 3: all four stay; west has 3 bits, so mu falls by 1.5 to 1.5
    # north of 1 bit stays alone; west could not have been drawn and moves nothing
    # north alone has 0 bits: mu rises by 1.5 to 3, all four stay again
    assert record["tokens_kept"] == [[4, 1, 1, 4]]


# Splitting and merging


EXPRESSIONS = (
    "greedy", "temperature(t=0.7)", "top_p(p=0.9)", "top_k(k=5)", "typical(p=0.5)", "min_p(p=0.1)",
    "mirostat(tau=2)", "repetition_penalty(penalty=1.5)", "top_h(h=0.5) | temperature(t=2)",
)  # fmt: skip


@pytest.mark.parametrize("kind", ["default", "rnn"])
def test_any_division_gives_the_same_records_bit_for_bit(kind):
    model = small_model(SMALL[kind], end=True)
    contexts = model_contexts(model, ["w1 w2 w3", "w4"], n=5, length=12, seed=1)
    samplers = [corelm.sampler(expression) for expression in EXPRESSIONS]
    grid = [0.5, 1.0, 2.0]
    whole = measure(model, contexts, samplers, grid)
    for parts in (
        [range(10)],
        [range(3), range(3, 10)],
        [[i] for i in (7, 3, 0, 9, 1, 2, 8, 4, 5, 6)],
    ):
        units = [
            numbered_from(part[0], measure(model, contexts.some(part), samplers, grid))
            for part in parts
        ]
        assert merge(json.loads(json.dumps(units))) == whole


def test_a_record_is_strict_json(model, contexts):
    unit = measured(model, contexts, "greedy", "uniform")
    assert json.loads(json.dumps(unit, allow_nan=False)) == unit


# Failures


class Fails(Sampler):
    """A sampler that fails from a number of tokens on."""

    after: int = corelm.param(1)

    def __call__(self, logits, context):
        if context.position >= self.after:
            raise RuntimeError("out of ideas")
        return logits


class Restores(Sampler):
    """A sampler that allows everything, even padding."""

    def __call__(self, logits, context):
        return np.zeros_like(logits)


def test_a_sampler_that_raises_does_not_disturb_the_others(model, contexts):
    samplers = [corelm.sampler("greedy"), Fails(), corelm.sampler("uniform")]
    greedy, fails, uniform = measure(model, contexts, samplers)["samplers"]
    message = "fails(after=1) failed at step 1: RuntimeError: out of ideas"
    assert fails == {"error": {"type": "SamplerError", "message": message}}
    assert greedy["entropy"] == [[0, 0, 0], [0]]
    assert uniform["entropy"] == [pytest.approx([2 * LN2] * 3), pytest.approx([2 * LN2])]


def test_a_failure_on_some_texts_is_a_failure(model, contexts):
    """The second text has only one position, which is before the failure."""
    units = [numbered_from(i, measure(model, contexts.some([i]), [Fails()])) for i in (1, 0)]
    assert "error" not in units[0]["samplers"][0]
    assert "error" in merge(units)["samplers"][0]


def test_restoring_a_token_is_an_error(model, contexts):
    [record] = measure(model, contexts, [Restores()])["samplers"]
    message = "restores restored token 0, which is never drawn, at step 0"
    assert record == {"error": {"type": "SamplerError", "message": message}}


def test_a_word_outside_the_vocabulary_is_an_error(model, contexts):
    [record] = measured(model, contexts, "ban(words=['up'])")["samplers"]
    assert record["error"]["type"] == "UsageError"


# On the shipped model


SHIPPED = (
    "greedy", "temperature(t=0.2)", "temperature(t=0.7)", "temperature(t=1.0)",
    "temperature(t=1.5)", "uniform", "top_p(p=0.9)", "top_k(k=40)", "min_p(p=0.05)",
    "epsilon(epsilon=0.001)", "typical(p=0.5)",
)  # fmt: skip
FILTERS = ("greedy", *SHIPPED[6:])


@pytest.fixture(scope="module")
def shipped():
    """The samplers on 8 texts of 30 words, and the curve on the same positions.

    The end is a word like the others here, so that expected surprisal is H(q, p).
    """
    model = copy.copy(corelm.load("imdb"))
    contexts = model_contexts(model, ["This movie"], n=8, length=30, seed=1)
    model.vocabulary = copy.copy(model.vocabulary)
    model.vocabulary.ends = ()
    samplers = [corelm.sampler(expression) for expression in SHIPPED]
    grid = temperatures(samplers)
    unit = measure(model, contexts, samplers, grid)
    records = dict(zip(SHIPPED, unit["samplers"], strict=True))
    return records, curve(unit["curve"], grid), unit["model"]


def flat(record, name):
    return np.array([value for text in record[name] for value in text])


@pytest.mark.parametrize("expression", SHIPPED)
def test_every_entropy_lies_between_its_bounds(shipped, expression):
    record = shipped[0][expression]
    entropy, kept = flat(record, "entropy"), flat(record, "tokens_kept")
    assert len(entropy) > 200
    assert (entropy >= 0).all()
    assert (entropy <= np.log(kept) + 1e-9).all()
    assert (kept <= 14998).all()
    assert np.allclose(
        flat(record, "expected_surprisal"), entropy + flat(record, "kl_to_model"), atol=1e-12
    )


def test_greedy_has_no_entropy_and_uniform_the_largest(shipped):
    assert (flat(shipped[0]["greedy"], "entropy") == 0).all()
    assert np.allclose(flat(shipped[0]["uniform"], "entropy"), math.log(14998), atol=1e-12)


def test_temperature_one_is_the_model(shipped):
    record, own = shipped[0]["temperature(t=1.0)"], shipped[2]
    assert record["entropy"] == record["model_entropy"] == own["entropy"]
    assert not flat(record, "kl_to_model").any()
    assert (flat(record, "mass_kept") == 1).all()


@pytest.mark.parametrize("expression", FILTERS)
def test_the_divergence_of_a_filter_is_minus_ln_of_the_mass_kept(shipped, expression):
    record = shipped[0][expression]
    mass = flat(record, "mass_kept")
    assert (mass < 1).any()
    exact = 1e-6 if expression.startswith("typical") else 1e-12  # its likeliest token may go
    assert np.allclose(flat(record, "kl_to_model"), -np.log(mass), rtol=0, atol=exact)


def test_temperatures_lie_on_the_curve(shipped):
    records, curve_, _ = shipped
    for t in (0.2, 0.7, 1.0, 1.5):
        at = curve_.t.index(t)
        mean = teacher_forced(records[f"temperature(t={t})"]).entropy.mean
        assert curve_.entropy[at] == pytest.approx(mean, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("expression", ["stochastic", "temperature(t=0.7)", "top_p(p=0.9)"])
def test_the_expected_surprisal_is_that_of_the_texts_that_are_drawn(expression):
    """The expected surprisal on a sampler's own texts lies in the interval of the measured one."""
    model = corelm.load("imdb")
    texts = corelm.generate(model, "This movie", sampler=expression, n=24, length=40, seed=5)
    prompt = model.vocabulary.encode("This movie")
    own = Contexts(
        "model", "generated texts", tuple((*prompt, *text.tokens) for text in texts), (2,) * 24
    )
    unit = measured(model, own, expression)
    nats = [[step.model_surprisal for step in text.steps] for text in texts]
    assert unit["model"]["surprisal"] == [pytest.approx(text) for text in nats]
    low, high = mean_interval([sum(text) for text in nats], [len(text) for text in nats])
    expected = teacher_forced(unit["samplers"][0]).figures["expected_surprisal"]
    assert low < expected < high
    assert high - low < 1
