"""Every sampler on the same positions: figures by hand, what a sampler reads there, failures."""

from __future__ import annotations

import math

import numpy as np
import pytest
from documents import compare
from small_models import SMALL, small_model

import corelm
from corelm import Sampler
from corelm.errors import ModelOutputError, UsageError
from corelm.runs import ModelRows
from corelm.testing import ToyModel

LN2, LN3 = math.log(2), math.log(3)
COMPASS = ToyModel(
    ("north", "south", "east", "west"), logits=[9.0, 9.0, *np.log([4, 2, 1, 1])], end=False
)
"""A model of four words that always have 1, 2, 3 and 3 bits."""


def on_texts(model, texts, *samplers, **asked):
    """A report on the positions of these texts; without a start token, the first is a prompt."""
    return compare(samplers, model=model, reference=texts, n=1, length=asked.pop("length", 40),
                   prompts=asked.pop("prompts", "north"), contexts=999, **asked)  # fmt: skip


def figures(*asked, **more):
    """The figures of one sampler."""
    [row] = on_texts(*asked, **more)["samplers"]
    return row["teacher_forced"]


# Numbers by hand


def test_the_figures_of_one_sampler():
    """A text of three positions and one of one; an unknown word follows the second position."""
    own = figures(COMPASS, ["north south up west", "west west"], "top_k(k=2)")
    expected = {
        "n": 4,
        "kl_to_model": -math.log(0.75),
        "mass_kept": 0.75,
        "tokens_kept": 2,
        "model_entropy": 1.75 * LN2,
        "expected_surprisal": 4 / 3 * LN2,
        "top_probability": 2 / 3,
        "varentropy": 2 / 9 * LN2**2,
        "total_variation": 0.25,
        "jensen_shannon": (math.log(2 / 1.75) + 0.75 * math.log(1.5 / 1.75) + 0.25 * LN2) / 2,
        # Of three words that the model can draw, it keeps the one of 2 bits.
        "human_recall": 1 / 3,
        "human_surprisal": LN3,
    }
    assert {name: own[name] for name in expected} == pytest.approx(expected)
    assert own["entropy"]["mean"] == pytest.approx(LN3 - 2 / 3 * LN2)


def test_the_entropy_of_the_model_and_the_surprisal_of_the_words():
    made = on_texts(COMPASS, ["north south up west", "west west"], "stochastic")
    human, [row] = made["reference"]["teacher_forced"], made["samplers"]
    assert made["header"]["contexts"]["positions"] == human["n"] == 4
    assert human["surprisal"] == pytest.approx(8 / 3 * LN2)  # an unknown word cannot be drawn
    assert human["ci95"]["surprisal"] is None  # of two texts
    assert human["by_position"] == [
        {"position": i, "n": n, "entropy": pytest.approx(1.75 * LN2)}
        for i, n in enumerate((2, 1, 1))
    ]
    assert row["teacher_forced"]["human_recall"] == 1.0
    assert row["teacher_forced"]["human_surprisal"] == pytest.approx(8 / 3 * LN2)


def test_the_summary_of_a_sampler():
    """A model that is certain after an even number and tosses a coin after an odd one."""
    after = np.full((4, 4), -np.inf)
    after[2, 3] = 0  # even, then odd
    after[3, [2, 3]] = 0  # odd, then either
    model = ToyModel(["even", "odd"], logits=after, end=False)
    own = figures(model, ["even odd even odd", "odd odd"], "stochastic", prompts="odd")
    half = pytest.approx(LN2 / 2)
    assert own["entropy"] == {
        "mean": half, "ci95": None, "median": half, "p05": pytest.approx(0),
        "p95": pytest.approx(LN2),
    }  # fmt: skip
    assert own["effective_choices"] == pytest.approx(math.sqrt(2))
    assert (own["n"], own["tokens_kept"], own["kl_to_model"], own["mass_kept"]) == (4, 1.5, 0, 1)
    assert own["top_probability"] == pytest.approx(0.75)
    assert own["bits"] == pytest.approx(
        {"entropy": 0.5, "model_entropy": 0.5, "kl_to_model": 0, "expected_surprisal": 0.5}
    )
    assert own["ci95"]["tokens_kept"] is None
    assert own["by_position"] == [
        {"position": i, "n": n, "entropy": pytest.approx(nats), "mass_kept": 1.0,
         "model_entropy": pytest.approx(nats)}
        for i, (n, nats) in enumerate([(2, LN2 / 2), (1, LN2), (1, 0.0)])
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "sampler", "kept"),
    [
        # No word may repeat: after north, south and west only east is left.
        ("north south west east", "no_repeat_ngram(n=1)", [1 / 2, 1 / 4, 1 / 8]),
        # mu begins at 3 bits, twice tau, and moves by 1.5 bits less what each token had: all four
        # stay; west has 3 bits, so north of 1 bit stays alone; west could not have been drawn and
        # moves nothing; north alone has 0 bits, so mu rises by 1.5 to 3.
        ("north west west north north", "mirostat(tau=1.5, eta=1)", [1, 1 / 2, 1 / 2, 1]),
    ],
)
def test_a_sampler_sees_the_past(text, sampler, kept):
    places = figures(COMPASS, [text], sampler)["by_position"]
    assert [place["mass_kept"] for place in places] == pytest.approx(kept)


def test_tokens_behind_the_prompt_count_as_drawn():
    """South after north, then south and west, are penalised; north, the prompt, is not."""
    sampler = "presence_penalty(penalty=99, skip_prompt=True)"
    own = figures(COMPASS, ["north south west east"], sampler)
    assert own["top_probability"] == pytest.approx((4 / 8 + 4 / 6 + 4 / 5) / 3)


@pytest.mark.parametrize(
    ("model", "texts", "contexts"),
    [
        (ToyModel(), ["the cat sat", "the"], (2, 4)),  # from the first token
        # Without a start token, the first token is the prompt, and a text of one is left out.
        (ToyModel(["a", "b"], end=False), ["a b a", "b", ""], (1, 2)),
        (small_model(SMALL["default"]), ["w1 w2 " * 50], (1, 7)),  # cut to its context of 8
        (ToyModel(), ["the unicorn sat"], (1, 3)),  # unknown words stay
    ],
)
def test_human_texts_as_contexts(model, texts, contexts):
    header = on_texts(model, texts, "greedy", prompts="a")["header"]["contexts"]
    assert (header["texts"], header["positions"]) == contexts
    assert header["source"] == "human"


def test_human_texts_without_a_position_are_refused():
    with pytest.raises(UsageError, match="none of its texts has words to measure"):
        on_texts(ToyModel(["a", "b"], end=False), ["b", "a"], "greedy", prompts="a")


# The end of a text is no word


def by_hand(q, p, ends):
    """The expected surprisal of one row, from probabilities."""
    others = np.delete(np.arange(len(p)), ends)
    mass = q[others].sum()
    nats = -np.log(np.where(p > 0, p, 1))
    return (q[others] * nats[others]).sum() / mass if mass else np.nan


@pytest.mark.parametrize("ends", [[1], [0, 3]])
def test_expected_surprisal_is_of_tokens_that_are_no_end(ends):
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 2, (7, 5)).astype(np.float32)
    kept = logits.copy()
    kept[0, 1] = kept[1, 2] = -np.inf
    kept[6] = -np.inf
    kept[6, ends] = 0  # it can only end the text
    found = ModelRows(logits, ends).compare_logits(kept, np.zeros(7, np.int64))
    whole = ModelRows(logits).compare_logits(kept, np.zeros(7, np.int64))
    [differ] = np.flatnonzero((found.figures != whole.figures).any(axis=0))
    p, q = corelm.softmax(logits.astype(float)), corelm.softmax(kept.astype(float))
    expected = [by_hand(*rows, ends) for rows in zip(q, p, strict=True)]
    assert found.figures[:, differ] == pytest.approx(expected, rel=1e-5, nan_ok=True)


def test_positions_where_a_sampler_can_only_end_a_text_are_left_out():
    """After `w0` an end is likeliest: greedy ends the text there."""
    p = np.array([[0, 0, 0, 0.5, 0.5]] * 3 + [[0, 0, 0.5, 0.25, 0.25], [0, 0, 0, 0.75, 0.25]])
    model = ToyModel(["w0", "w1"], np.log(np.maximum(p, 1e-30)))
    own = figures(model, ["w0 w1 w0 w1"] * 8, "greedy", prompts="", length=4)
    assert own["n"] == 32
    # Of the start, and of `w1` but the last one, which is read, not drawn from.
    assert own["expected_surprisal"] == pytest.approx((-np.log(0.5) - np.log(0.75)) / 2)
    # Eight copies of one text are one unit.
    assert own["ci95"]["expected_surprisal"] is None


@pytest.fixture(scope="module")
def of_the_model():
    """A report on human texts that the model itself has written, with the same random numbers.

    A chain of random words; after half of them a text ends 1 time in 3.
    """
    end, words = 2, 8
    p = np.full((words + 3, words + 3), 1e-12)
    p[:, 3:] = np.random.default_rng(2).dirichlet(np.ones(words), words + 3)
    p[3::2, 3:] *= 2 / 3
    p[3::2, end] = 1 / 3
    model = ToyModel([f"w{i}" for i in range(words)], np.log(p))
    asked = {"n": 64, "length": 20, "seed": 3}
    texts = corelm.generate(model, "", sampler="stochastic", **asked)
    assert sum(text.finish_reason == "end" for text in texts) > 50
    written = [text.text for text in texts]
    return corelm.compare(
        model, ["stochastic"], prompts="", reference=written, contexts=64, **asked
    ).to_dict()


def test_texts_that_are_human_text_have_its_figures(of_the_model):
    [entry] = of_the_model["samplers"]
    found = entry["differences"]["generated_texts"]
    values = {name: each["value"] for name, each in found.items()}
    assert {"surprisal", "perplexity", "outside_human_band", "entropy_drift"} <= set(values)
    assert values == pytest.approx(dict.fromkeys(values, 0.0), abs=1e-6)
    low, high = entry["differences"]["teacher_forced"]["expected_surprisal"]["ci95"]
    assert low < 0 < high
    low, high = of_the_model["reference"]["temperature"]["t_ci95"]
    assert low < 1 < high


# Failures


class Restores(Sampler):
    """A sampler that allows everything, even padding."""

    def __call__(self, logits, context):
        return np.zeros_like(logits)


class Fails(Sampler):
    """A sampler that fails from a number of tokens on."""

    after: int = corelm.param(1)

    def __call__(self, logits, context):
        if context.position >= self.after:
            raise RuntimeError("out of ideas")
        return logits


@pytest.mark.parametrize(
    ("sampler", "message"),
    [
        (Fails(), "fails(after=1) failed at step 1: RuntimeError: out of ideas"),
        (Restores(), "restores restored token 0, which is never drawn, at step 0"),
    ],
)
def test_a_failure_on_some_texts_is_a_failure_and_does_not_disturb_the_others(sampler, message):
    """The second text has only one position, which is before a failure at step 1."""
    made = on_texts(COMPASS, ["north south west", "west west"], "greedy", sampler, "uniform")
    greedy, failed, uniform = made["samplers"]
    assert failed["error"]["type"] == "SamplerError"
    assert failed["error"]["message"].startswith(message)
    assert failed["teacher_forced"] is None
    assert greedy["teacher_forced"]["entropy"]["mean"] == 0
    assert uniform["teacher_forced"]["entropy"]["mean"] == pytest.approx(2 * LN2)


def test_unusable_logits_are_refused():
    model = ToyModel(list("ab"), logits=[0, 0, np.nan, 0], end=False)
    with pytest.raises(ModelOutputError, match="the model's logits at step 0 hold NaN in row 0"):
        on_texts(model, ["a b"], "greedy", prompts="a")
