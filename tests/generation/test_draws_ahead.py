"""Tokens drawn in the background, several in one call: the texts and sessions of single steps."""

from __future__ import annotations

import itertools
import os
from dataclasses import replace

import numpy as np
import pytest
from small_models import SMALL, numbered_words, random_weights, small_model

import corelm
from corelm import native
from corelm.errors import ModelOutputError
from corelm.models.networks import base
from corelm.models.numpy_model import NumpyModel
from corelm.native.cpu import cpu_limit
from corelm.registry.registry import Registry
from corelm.runs import ContinuousBatch, Endings, Strategy, Texts
from corelm.testing.draw_checks import (
    SingleSteps,
    check_requests,
    check_sessions,
    tokens_ahead,
)

pytestmark = pytest.mark.skipif(not native.kernels, reason="there are no kernels here")

CHAINS = [
    "stochastic",
    "temperature(t=0.7)",
    "greedy",
    "top_k(k=5) | min_p(p=0.02) | temperature(t=1.4)",
    "logit_bias(bias={'w3': 2}) | temperature(t=0.9)",
    "ban(words=('w4',))",
    "repetition_penalty(penalty=1.3) | temperature(t=0.8)",
    "edt | top_p(p=0.9)",
]
KINDS = ("book", "default", "gpt2", "rnn")


@pytest.fixture(params=[1, 2], ids=["one core", "two cores"])
def cores(request):
    native.kernels.use_cores(request.param)
    yield
    native.kernels.use_cores(cpu_limit())


def model_of(kind, end=False, context=24):
    return small_model(replace(SMALL[kind], context_length=context), end)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.usefixtures("cores")
def test_texts_are_those_of_single_steps(kind, chain):
    """Also beyond the window, with ends, and of rows that end one after the other."""
    for end, n in itertools.product((False, True), (1, 5)):
        arguments, model = {"sampler": chain, "n": n, "seed": 7, "length": 60}, model_of(kind, end)
        texts = corelm.generate(model, "w1 w2", **arguments)
        assert texts == corelm.generate(SingleSteps(model), "w1 w2", **arguments)


def test_steps_are_those_of_single_steps():
    model = model_of("gpt2")
    arguments = {"sampler": "top_k(k=9) | temperature(t=0.9)", "seed": 3, "length": 40}
    steps, others = (corelm.stream(m, "w1", **arguments) for m in (model, SingleSteps(model)))
    for step, other in zip(steps, others, strict=True):
        assert step.model_logits.tobytes() == other.model_logits.tobytes()
        assert step.logits.tobytes() == other.logits.tobytes()
        for name in ("tokens", "surprisal", "entropy", "model_entropy", "model_surprisal", "text"):
            assert getattr(step, name) == getattr(other, name)
        for array in (step.tokens, step.logits, step.model_logits, step.surprisal):
            assert not array.flags.writeable


@pytest.mark.parametrize("kind", ["book", "default", "gpt2"])
def test_networks_draw_ahead(kind):
    assert tokens_ahead(model_of(kind), [3], "temperature(t=0.7)", n=2) == 7


@pytest.mark.parametrize(
    "chain", ["dry(multiplier=1)", "repetition_penalty(penalty=1.3)", "ban(words=('w4',))"]
)
def test_what_depends_on_the_text_or_is_a_mask_is_not_drawn_ahead(chain):
    assert tokens_ahead(model_of("gpt2"), [3], chain) == 0


def test_a_large_batch_is_not_drawn_ahead(monkeypatch):
    """Its step takes so long that little is gained, and much may be in vain."""
    model = model_of("gpt2")
    each = sum(inputs * units for inputs, units, _ in model.matrices)
    monkeypatch.setattr(base, "IN_VAIN", 8 * each - 1)
    assert [tokens_ahead(model, [3], n=n) for n in (8, 4, 2, 1)] == [0, 0, 2, 6]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("cores")
def test_a_session_can_do_anything_in_the_middle_of_draws(kind):
    """Tokens that were drawn and not appended are forgotten."""
    check_sessions(model_of(kind), [3, 4])
    check_sessions(model_of(kind), [3, 4], sampler="mirostat", counts=[3])


PROMPTS = [[3], [3, 4, 5], [7, 8], [9]]


@pytest.mark.parametrize("again", [None, 8])
@pytest.mark.parametrize("observed", [True, False])
@pytest.mark.parametrize("kind", ["default", "gpt2"])
def test_requests_that_come_and_go_write_their_own_texts(kind, again, observed, monkeypatch):
    """Tokens that were drawn before one comes are taken first."""
    monkeypatch.setattr(Registry, "load_observers", lambda registry: observed)
    check_requests(model_of(kind, end=True), PROMPTS, length=30, again=again)


def test_a_step_takes_several_tokens_where_nobody_reads_each_step(monkeypatch):
    monkeypatch.setattr(Registry, "load_observers", lambda registry: False)
    model = model_of("gpt2", context=40)

    def steps(*each_step, **endings):
        batch = ContinuousBatch(model)
        for seed, each in enumerate(each_step):
            texts = Texts("w1 " * (seed + 1), Strategy.of("stochastic"), 20, 1, seed)
            batch.add(replace(texts, endings=Endings.of(**endings)), each_step=each)
        return sum(1 for _ in iter(lambda: batch.step() if batch else None, None))

    assert steps(False, False) <= 6
    assert steps(False, True) == steps(False, False, stop_regex=("zzz",)) == 20


@pytest.mark.parametrize("at", [2, 6, 10])
def test_logits_that_are_no_distribution_are_named_where_they_come(at):
    """The embedding of a position is not a number; the texts so far are kept."""
    a = replace(SMALL["gpt2"], context_length=24)
    weights = random_weights(a)
    weights["embedding/position_embeddings/embeddings"][at] = np.nan  # the prompt has position 0
    model = NumpyModel(a, numbered_words(a.vocabulary_size), weights)
    with pytest.raises(ModelOutputError, match=f"step {at} hold NaN") as raised:
        corelm.generate(model, "w1", sampler="stochastic", seed=1, length=20)
    assert [len(text.tokens) for text in raised.value.generations] == [at]


def window_pass(count):
    """Passes over two rows, and the window that they write tokens into."""
    network = model_of("gpt2")._network
    window, states = np.full((2, 12), 3), np.zeros((2, 1, 16), "f4")
    plan, cache = network._plan, np.zeros_like(network.new_cache(2))
    return native.kernels.window_pass(plan, window, cache, states, None, count), window


def draw_with(draw, passes, numbers, tokens):
    """Draw tokens of two rows; some arguments may not fit."""
    logits = tuple(np.zeros((2, 30), "f4") for _ in range(tokens))
    return draw(
        passes, np.zeros((numbers, 2)), np.zeros((tokens, 2), int), np.zeros((tokens, 2)),
        None, logits, logits, np.array([0]), (), np.array([0]),
    )  # fmt: skip


@pytest.mark.parametrize(("numbers", "tokens"), [(0, 5), (2, 3), (9, 9)])
def test_the_kernels_refuse_fewer_random_numbers_than_tokens(numbers, tokens):
    passes, _ = window_pass(9)
    for draw in (native.kernels.draw_ahead, native.kernels.begin_ahead):
        with pytest.raises(ValueError, match=r"uniforms|tokens"):
            draw_with(draw, passes, numbers, tokens)


def test_passes_are_made_once():
    """Again, they would write after the end of the window."""
    passes, window = window_pass(4)
    assert draw_with(native.kernels.draw_ahead, passes, 4, 4) == 4
    after_four = window.copy()
    for draw in (native.kernels.draw_ahead, native.kernels.begin_ahead):
        with pytest.raises(ValueError, match="expected 1 to 0 tokens"):
            draw_with(draw, passes, 4, 4)
    np.testing.assert_array_equal(window, after_four)


@pytest.mark.parametrize(("count", "times"), [(0, None), (13, None), (3, [11, 10])])
def test_passes_need_room_in_the_window(count, times):
    network = model_of("gpt2")._network
    window, states = np.full((2, 12), 3), np.zeros((2, 1, 16), "f4")
    lengths = None if times is None else np.array(times)
    with pytest.raises(ValueError, match="window: expected room for the tokens"):
        native.kernels.window_pass(
            network._plan, window, network.new_cache(2), states, lengths, count
        )


@pytest.mark.parametrize("passes", [None, 3, "corelm.pass"])
def test_draws_ahead_need_passes(passes):
    empty = np.zeros((1, 1))
    with pytest.raises(TypeError, match=r"pass: expected a capsule called corelm\.pass"):
        native.kernels.draw_ahead(
            passes, empty, empty.astype(int), empty, None, (), (), np.array([0]), (), np.array([0])
        )


def test_a_text_that_nobody_reads_on_is_dropped():
    for _ in range(20):
        steps = corelm.stream(model_of("gpt2"), "w1", sampler="stochastic", length=200)
        next(steps), next(steps)
        steps.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_goes_on_with_its_parents_draws():
    model, arguments = model_of("gpt2"), {"sampler": "stochastic", "seed": 1, "length": 20}
    expected = [step.tokens[0] for step in corelm.stream(SingleSteps(model), "w1", **arguments)]
    steps = corelm.stream(model, "w1", **arguments)
    first = [next(steps).tokens[0] for _ in range(2)]
    child = os.fork()
    tokens = first + [step.tokens[0] for step in steps]
    if not child:
        os._exit(tokens != expected)
    assert os.waitpid(child, 0)[1] == 0
    assert tokens == expected
