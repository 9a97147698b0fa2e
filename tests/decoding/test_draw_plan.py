"""A plan draws with the same bits as the stages one after the other.

`CORELM_PLAN_STEPS=100000 pytest tests/decoding/test_draw_plan.py` compares 100,000 steps.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Callable, Iterable
from copy import copy
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

import corelm
from corelm import Context, CorelmError, Sampler, native
from corelm.contracts.chain_stages import (
    StageResult,
    masks_of,
    run_stages,
)
from corelm.contracts.step import Drawn, Figures
from corelm.contracts.validation import invalid_result
from corelm.decoding.draws import DrawPlan
from corelm.errors import ModelOutputError, SamplerError
from corelm.numerics.distributions import draw_checked
from corelm.runs import ModelLogits, plugins
from corelm.testing import ToyModel

STEPS = int(os.environ.get("CORELM_PLAN_STEPS", "3000"))
VOCABULARY = ToyModel().vocabulary
SIZE = len(VOCABULARY)
LARGE = ToyModel([*VOCABULARY.words[3:], *(f"w{i}" for i in range(400))]).vocabulary
"""Its rows are some blocks of 128 logits, the last one not whole."""

KERNELS = [
    "greedy", "temperature(t={p})", "temperature(t={n})", "temperature(t=0)", "uniform",
    "top_k(k={k})", "top_p(p={p})", "min_p(p={p})", "typical(p={p})", "top_h(h={p})",
    "tail_free(z={p})", "quadratic(factor={p}, curve=2)", "xtc(probability={p}, threshold={p})",
]  # fmt: skip
OTHERS = [
    "top_a(a={p})", "epsilon(epsilon={p})", "eta(epsilon={p})", "top_n_sigma(n={n})",
    "dynamic_temperature(t_min={p}, t_max={n})", "edt(t={n})",
    "repetition_penalty(penalty={n})", "presence_penalty(penalty={n})",
    "frequency_penalty(penalty={p})", "dry(multiplier={n})", "mirostat(tau={n})",
    "no_repeat_ngram(n=1)", "no_repeat_ngram(n=2, last=3)", "min_length(n={k})",
    "ban(words=['cat', {id}, 'the dog'])", "force(words=['the dog'], at={k})",
    "length_bias(weight={n})", "adaptive_p(target={p})",
    "phase(start='the', inside=top_k(k={k}), outside=temperature(t={n}))",
    "repetition_penalty(penalty={n}, normalised=True)",
    "phase(start='the', end='cat', inside=force(words=['dog']), outside=ban(words=['cat']))",
    "schedule(first=temperature(t={n}), last=temperature(t={p}), over={k})",
    "schedule(first=temperature(t={n}), last=greedy, over={k})", "logit_bias(bias={{'cat': {n}}})",
]  # fmt: skip

compiled = pytest.mark.skipif(native.kernels is None, reason="the kernels are not compiled here")


def stage(chance: random.Random, size: int) -> str:
    number = partial(chance.uniform, 0.01, 3)
    return chance.choice(KERNELS if chance.random() < 0.6 else OTHERS).format(
        p=round(chance.random() * 0.98 + 0.01, 3), n=round(number(), 3), k=chance.randint(1, size),
        id=chance.randrange(size),
    )  # fmt: skip


def chain(chance: random.Random, size: int) -> Sampler:
    return corelm.sampler(" | ".join(stage(chance, size) for _ in range(chance.randint(1, 10))))


def random_logits(rng: np.random.Generator, batch: int, size: int) -> np.ndarray:
    logits = rng.normal(0, rng.choice([0.1, 3, 40]), (batch, size))
    if rng.random() < 0.3:
        logits = np.round(logits)
    logits[rng.random(logits.shape) < rng.choice([0, 0.5])] = -np.inf
    logits[np.arange(batch), rng.integers(3, size, batch)] = 1.0
    return logits.astype(np.float32 if rng.random() < 0.9 else np.float64)


def by_stages(
    sampler: Sampler, logits: np.ndarray, uniforms: np.ndarray, context: Context
) -> tuple[np.ndarray, ...]:
    """The same draw, one stage after the other, what its masks allow, and a step's figures."""
    trace: list[StageResult] = []
    assert context.vocabulary is not None
    model = ModelLogits(context.vocabulary)(logits, context.position)
    result = run_stages(sampler, model, context, trace)
    tokens, surprisal, valid = draw_checked(result, uniforms)
    if not valid:
        raise invalid_result(sampler._last_stage, result, context.position)
    drawn = model, result, tokens, surprisal
    of_masks = masks_of(trace, result.shape)
    return *drawn, *(of_masks if sampler.has_masks else ()), *figures_of(*drawn)


def figures_of(
    model: np.ndarray, logits: np.ndarray, tokens: np.ndarray, surprisal: np.ndarray,
    figures: Figures | None = None,
) -> tuple[np.ndarray, ...]:  # fmt: skip
    drawn = Drawn(model, logits, tokens, surprisal, figures=figures)
    step = drawn.step(0, np.arange(len(tokens)))
    return step.entropy, step.model_surprisal, step.model_entropy


def by_plan(
    plan: DrawPlan, logits: np.ndarray, uniforms: np.ndarray, context: Context
) -> tuple[np.ndarray, ...]:
    drawn = plan.draw(logits, uniforms, lambda: context, measured=True)
    of_masks = () if drawn.allowed is None else (drawn.allowed, drawn.fell_back)
    return *drawn[:4], *of_masks, *figures_of(*drawn[:4], drawn.figures)


def past_of(
    rng: np.random.Generator, batch: int, vocabulary: corelm.Vocabulary = VOCABULARY
) -> Context:
    time = int(rng.integers(0, 6))
    tokens = rng.integers(3, SIZE, (batch, 1 + time))
    nats = rng.exponential(2.0, tokens.shape)
    nats[:, 0] = np.nan
    return Context(tokens, nats, nats * 0.9, 1, vocabulary)


def outcome(draw: Callable[..., Iterable[np.ndarray]], *arguments: Any) -> list[Any]:
    """The bits of the results, or the error."""
    try:
        return [(array.dtype, array.tobytes()) for array in draw(*arguments)]
    except CorelmError as error:
        return [type(error), str(error)]


def test_random_chains_draw_with_the_same_bits():
    chance, rng, in_one_call, failed = random.Random(3), np.random.default_rng(3), 0, 0
    for _ in range(STEPS // 10):
        vocabulary = VOCABULARY if chance.random() < 0.6 else LARGE
        sampler = chain(chance, len(vocabulary))
        plan = DrawPlan(sampler, vocabulary)
        in_one_call += plan.before is None
        for _ in range(10):
            batch = int(rng.integers(1, 5))
            logits = random_logits(rng, batch, len(vocabulary))
            context = past_of(rng, batch, vocabulary)
            uniforms = rng.random(batch)
            expected = outcome(by_stages, sampler, logits.copy(), uniforms, context)
            assert expected == outcome(by_plan, plan, logits, uniforms, context), sampler
            failed += len(expected) == 2
    assert in_one_call > STEPS / 200
    assert failed < STEPS / 20


def test_the_random_chains_have_all_built_in_samplers():
    named = {re.match(r"\w+", expression)[0] for expression in [*KERNELS, *OTHERS, "stochastic"]}
    offers = plugins.registry().offers("corelm_samplers")
    built_in = {offer.name for offer in offers if offer.value._is_built_in}
    assert built_in <= named, "write an expression of it into KERNELS or OTHERS of this file"


@compiled
@pytest.mark.parametrize(
    ("expression", "before", "after"),
    [
        ("stochastic", None, "stochastic"),
        ("temperature(t=1.0) | top_p(p=1.0)", None, None),
        ("top_k(k=3) | temperature(t=0.5)", None, "top_k(k=3) | temperature(t=0.5)"),
        (
            "eta(epsilon=0.1) | edt(t=2.0)",
            None,
            "eta(epsilon=0.1) | edt(t=2.0, theta=0.1, base=0.8)",
        ),
        (
            "schedule(first=greedy, last=top_k(k=3), over=9) | top_k(k=3)",
            "schedule(first=greedy, last=top_k(k=3), over=9, shape='linear')",
            "top_k(k=3)",
        ),
        ("min_length(n=2) | top_p(p=0.5)", None, "min_length(n=2) | top_p(p=0.5)"),
        ("ban(words=[3]) | uniform", None, "ban(words=(3,)) | uniform"),
        ("top_a(a=0.1) | epsilon(epsilon=0.2)", None, "top_a(a=0.1) | epsilon(epsilon=0.2)"),
        ("top_n_sigma(n=1.0) | mirostat", None, "top_n_sigma(n=1.0) | mirostat(tau=5.0, eta=0.1)"),
        (
            " | ".join(["temperature(t=0.5)"] * 10),
            " | ".join(["temperature(t=0.5)"] * 2),
            " | ".join(["temperature(t=0.5)"] * 8),
        ),
    ],
)
def test_the_last_stages_that_are_kernels_are_one_call(expression, before, after):
    plan = DrawPlan(corelm.sampler(expression), VOCABULARY)
    assert (plan.before and str(plan.before)) == before
    assert (plan.after and str(plan.after)) == after


@compiled
@pytest.mark.parametrize(
    "expression",
    [
        "repetition_penalty(penalty=1.3, last=3)", "presence_penalty(penalty=0.5)",
        "frequency_penalty(penalty=0.5, skip_prompt=True)", "length_bias(weight=0.5)",
        "dry(multiplier=0.8, allowed_length=1)", "logit_bias(bias={'cat': 2.0})",
        "mirostat(tau=2)", "adaptive_p(target=0.3)", "min_length(n=3)",
        "no_repeat_ngram(n=1)", "ban(words=['cat', 'the dog'])",
        "repetition_penalty(penalty=1.3, normalised=True)", "force(words=['the dog'], at=1)",
        "force(words=['cat', 'dog', 'cat', 'dog', 'cat', 'dog'])", "eta(epsilon=0.1)",
        "schedule(first=temperature(t=1.5), last=temperature(t=0.5), over=4)",
        "schedule(first=ban(words=['cat']), last=ban(words=['cat']) | top_k(k=3), shape='step')",
        "phase(start=0, end=1, inside=top_k(k=2), outside=edt | min_length(n=3))",
    ],
)  # fmt: skip
def test_what_reads_the_text_is_in_the_call(expression, monkeypatch):
    def refused(*arguments):
        raise AssertionError("a stage ran by itself")

    for one_by_one in ("run_stages", "apply"):
        monkeypatch.setattr(f"corelm.decoding.draws.{one_by_one}", refused)
    rng = np.random.default_rng(5)
    plan = DrawPlan(corelm.sampler(f"{expression} | top_p(p=0.9)"), VOCABULARY)
    for batch in (2, 2, 3, 1):
        logits = rng.normal(0, 1, (batch, SIZE)).astype(np.float32)
        context = past_of(rng, batch)
        drawn = plan.draw(logits, rng.random(batch), lambda c=context: c)
        assert drawn.tokens.shape == (batch,)


@compiled
@pytest.mark.parametrize("expression", ["stochastic", "temperature(t=0.7)"])
def test_a_step_that_is_measured_has_its_figures_from_the_draw(expression, monkeypatch):
    def refused(*arguments):
        raise AssertionError("a figure was computed after the draw")

    model, stream = ToyModel(), corelm.RandomStream(1, range(3))
    task = corelm.DecodingTask(model, np.array([11]), corelm.sampler(expression), stream, length=4)
    later = task.start().draw()
    expected = [later.entropy, later.model_surprisal, later.model_entropy]
    for each in ("surprisals_and_entropy", "entropy_of_logits"):
        monkeypatch.setattr(f"corelm.contracts.step.{each}", refused)
    step = replace(task, measured=True).start().draw()
    found = [step.entropy, step.model_surprisal, step.model_entropy]
    assert [each.tobytes() for each in found] == [each.tobytes() for each in expected]
    with pytest.raises(AssertionError, match="after the draw"):
        _ = task.start().draw().entropy


@compiled
def test_a_strangers_sampler_runs_one_stage_at_a_time():
    class Kept(Sampler):
        """Keep two tokens, with a public filter."""

        reads = frozenset()

        def __call__(self, logits, context):
            return corelm.filters.top_k(logits, 2)

    plan = DrawPlan(Kept() | corelm.sampler("greedy"), VOCABULARY)
    assert str(plan.before) == "kept"
    assert str(plan.after) == "greedy"


def test_logits_that_are_no_distribution_are_the_models_fault():
    plan = DrawPlan(corelm.sampler("top_k(k=2)"), VOCABULARY)
    logits = np.full((1, SIZE), np.nan, dtype=np.float32)
    with pytest.raises(ModelOutputError, match="at step 4"):
        plan.draw(logits, np.array([0.5]), lambda: Context.of([[0] * 4], prompt_length=0))


@compiled
def test_a_parameter_that_the_model_is_too_small_for_is_named():
    plan = DrawPlan(corelm.sampler("top_k(k=3)"), VOCABULARY)
    assert str(plan.after) == "top_k(k=3)"
    small = np.zeros((1, SIZE - 1), dtype=np.float32)
    with pytest.raises(ModelOutputError, match=f"must be \\(batch, {SIZE}\\)"):
        plan.draw(small, np.array([0.5]), lambda: Context.of([[0]]))


def test_a_result_that_is_no_distribution_names_its_stage():
    class Broken(Sampler):
        """Return nothing but nan."""

        reads = frozenset()

        def __call__(self, logits, context):
            return np.full_like(logits, np.nan)

    plan = DrawPlan(Broken() | corelm.sampler("top_k(k=2)"), VOCABULARY)
    logits = np.zeros((1, SIZE), dtype=np.float32)
    with pytest.raises(SamplerError, match=r"broken returned NaN.* at step 0"):
        plan.draw(logits, np.array([0.5]), lambda: Context.of([[0]]))


@pytest.mark.skipif(native.kernels is None, reason="the kernels are not compiled here")
def test_draws_ahead_take_ends_of_any_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    vocabulary = copy(VOCABULARY)
    monkeypatch.setattr(vocabulary, "ends", frozenset(VOCABULARY.ends))
    assert DrawPlan(corelm.sampler("greedy"), vocabulary).stops.tolist() == [*VOCABULARY.ends]
