"""Tokens drawn in the background, several in one call: the texts and sessions of single steps."""

from __future__ import annotations

import itertools
import os
from dataclasses import replace

import numpy as np
import pytest
from small_models import SMALL, numbered_words, random_weights, small_model

import corelm
import corelm.decoding.draws
from corelm import native
from corelm.errors import ModelOutputError
from corelm.models.networks import base
from corelm.models.numpy_model import NumpyModel
from corelm.native.ahead import NetworkAhead
from corelm.native.cpu import cpu_limit
from corelm.registry.registry import Registry
from corelm.runs import ContinuousBatch, Endings, Strategy, Texts

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


@pytest.fixture
def begun(monkeypatch):
    """The runs of draws that were begun."""
    runs = []
    begin = NetworkAhead._begin
    note = lambda run: (runs.append(run), begin(run))[1]  # noqa: E731
    monkeypatch.setattr(NetworkAhead, "_begin", note)
    return runs


@pytest.fixture
def unobserved(monkeypatch):
    """No observer, which an installed plugin may be, reads each step."""
    monkeypatch.setattr(Registry, "load_observers", lambda registry: False)


def model_of(kind, end=False, context=24):
    return small_model(replace(SMALL[kind], context_length=context), end)


def step_by_step(function, *arguments, **options):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base, "IN_VAIN", 0)
        return function(*arguments, **options)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("chain", CHAINS)
def test_texts_are_those_of_single_steps(kind, chain, cores):
    """Also beyond the window, with ends, and of rows that end one after the other."""
    for end, n in itertools.product((False, True), (1, 5)):
        arguments = {"sampler": chain, "n": n, "seed": 7, "length": 60}
        texts = corelm.generate(model_of(kind, end), "w1 w2", **arguments)
        assert texts == step_by_step(corelm.generate, model_of(kind, end), "w1 w2", **arguments)


def test_steps_are_those_of_single_steps():
    model = model_of("gpt2")
    arguments = {"sampler": "top_k(k=9) | temperature(t=0.9)", "seed": 3, "length": 40}
    steps = corelm.stream(model, "w1", **arguments)
    expected = step_by_step(list, corelm.stream(model, "w1", **arguments))
    for step, other in zip(steps, expected, strict=True):
        assert step.model_logits.tobytes() == other.model_logits.tobytes()
        assert step.logits.tobytes() == other.logits.tobytes()
        for name in ("tokens", "surprisal", "entropy", "model_entropy", "model_surprisal", "text"):
            assert getattr(step, name) == getattr(other, name)
        for array in (step.tokens, step.logits, step.model_logits, step.surprisal):
            assert not array.flags.writeable


@pytest.mark.parametrize("kind", ["book", "default", "gpt2"])
def test_networks_draw_ahead(kind, begun):
    corelm.generate(model_of(kind), "w1", sampler="temperature(t=0.7)", length=20)
    assert begun


@pytest.mark.parametrize(
    "chain", ["dry(multiplier=1)", "repetition_penalty(penalty=1.3)", "ban(words=('w4',))"]
)
def test_what_depends_on_the_text_or_is_a_mask_is_not_drawn_ahead(chain, begun):
    corelm.generate(model_of("gpt2"), "w1", sampler=chain, length=20)
    assert not begun


def test_a_large_batch_is_not_drawn_ahead(monkeypatch, begun):
    """Its step takes so long that little is gained, and much may be in vain."""
    model = model_of("gpt2")
    each = sum(inputs * units for inputs, units, _ in model.matrices)
    monkeypatch.setattr(base, "IN_VAIN", 8 * each - 1)
    corelm.generate(model, "w1", sampler="stochastic", n=4, length=20)
    assert not begun
    corelm.generate(model, "w1", sampler="stochastic", n=2, length=20)
    assert begun


def drawing(model, n=2, length=30, chain="temperature(t=0.7)"):
    prompt, stream = np.array([3, 4]), corelm.RandomStream(1, range(n))
    return corelm.DecodingTask(model, prompt, corelm.sampler(chain), stream, length).start()


def drawn_steps(decoding, count):
    for _ in range(count):
        decoding.draw(extend=True)
        decoding.advance()


CHANGES = {
    "nothing": lambda decoding: None,
    "rewind": lambda decoding: decoding.rewind(2),
    "select": lambda decoding: decoding.select(np.array([1])),
    "fork": lambda decoding: decoding.select(np.array([1, 0, 1])),
    "next": lambda decoding: decoding.next(),
    "extend": lambda decoding: decoding.advance(np.array([5, 6])),
    "draw": lambda decoding: decoding.draw(),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("count", range(12))
def test_a_session_can_do_anything_in_the_middle_of_draws(change, count, cores):
    """Tokens that were drawn and not taken are forgotten."""
    model = model_of("default")

    def session_after(decoding):
        drawn_steps(decoding, count)
        if count > 2 or change != "rewind":
            CHANGES[change](decoding)
        return decoding

    decoding, expected = session_after(drawing(model)), step_by_step(session_after, drawing(model))
    tokens = decoding.context.tokens
    assert tokens.tolist() == expected.context.tokens.tolist()
    fresh = model.start(tokens.copy())
    other = decoding.session.fork()
    for session in (decoding.session, other):
        assert session.hidden_states(2).tobytes() == fresh.hidden_states(2).tobytes()
        assert session.next_logits().tobytes() == fresh.next_logits().tobytes()
    other.join(decoding.session)
    assert len(other.next_logits()) == 2 * len(tokens)


class Again(corelm.Ancestral):
    """The ordinary decoder, for which requests have a session of their own."""


SESSION_CHANGES = {
    "nothing": lambda session: session,
    "rewind": lambda session: session.rewind(1) or session,
    "select": lambda session: session.select([2, 0]) or session,
    "drop the longest": lambda session: session.select([0, 2]) or session,
    "fork": lambda session: session.fork(),
    "extend": lambda session: session.extend([[5, 6], [7, 8], [9, 3]]) or session,
    "join": lambda session: session.join(session.fork()) or session,
}


@pytest.mark.parametrize("change", SESSION_CHANGES)
@pytest.mark.parametrize(("count", "more"), [*itertools.product(range(9), (True, False))])
def test_rows_of_several_lengths_are_drawn_ahead(change, count, more, cores, begun):
    model, prompts = model_of("gpt2"), [[3], [4, 5, 6, 7], [8, 9]]
    plan = corelm.decoding.draws.DrawPlan(corelm.sampler("top_k(k=9)"), model.vocabulary)
    numbers = np.random.default_rng(1).random((12, 3))

    def tokens_of(session):
        session.next_logits()
        session.extend([10, 11, 12], lambda: plan.ahead(lambda: numbers, 3))
        taken = [session.drawn_ahead(True, more) for _ in range(count)]
        return [each for each in taken if each]

    session = model.start(prompts)
    taken = tokens_of(session)
    assert begun[0]._times is not None
    assert len(taken) == count if more else len(taken) <= count
    texts = [[*prompt, 10 + i] for i, prompt in enumerate(prompts)]
    for numbers_of_step, each in zip(numbers, taken, strict=False):
        expected = plan.draw(model.start(texts).next_logits(), numbers_of_step, 0, lambda: None)
        assert each.logits.tobytes() == expected.logits.tobytes()
        assert each.tokens.tolist() == expected.tokens.tolist()
        if each.goes_on:
            texts = [[*text, int(token)] for text, token in zip(texts, each.tokens, strict=True)]
    fresh = SESSION_CHANGES[change](model.start(texts))
    assert SESSION_CHANGES[change](session).next_logits().tobytes() == fresh.next_logits().tobytes()


@pytest.mark.parametrize("after", range(1, 14))
@pytest.mark.parametrize("each_step", [True, False])
@pytest.mark.parametrize("event", ["join", "cancel", "other chain", "other decoder", "stop"])
@pytest.mark.usefixtures("unobserved")
def test_requests_that_come_and_go_write_their_own_texts(event, after, each_step, begun):
    """Tokens that were drawn before one comes are taken first."""
    model = model_of("gpt2", end=True, context=40)

    def texts(prompt, seed, chain="temperature(t=0.7)", decoder=None, **endings):
        strategy = Strategy(corelm.sampler(chain), decoder)
        return Texts(prompt, strategy, 20, 1, seed, Endings.of(**endings))

    asked = [texts("w1", 1), texts("w1 w2 w3", 5), texts("w5 w6", 3)]
    if event == "stop":
        [full] = corelm.generate(model, "w1", sampler="temperature(t=0.7)", length=20, seed=1)
        asked[0] = texts("w1", 1, stop=(full.text.split()[min(after, len(full.tokens)) - 1],))
    batch = ContinuousBatch(model)
    added = [batch.add(each, each_step=each_step) for each in asked]
    for _ in range(after):
        batch.step()
    if event == "cancel":
        added.pop(1).finish()
    elif event == "other decoder":
        added.append(batch.add(texts("w7", 7, decoder=Again())))
    elif event != "stop":
        added.append(batch.add(texts("w7", 7, *(["min_p(p=0.1)"] if event != "join" else []))))
    while batch:
        batch.step()
    assert any(run._times is not None for run in begun)
    for each in added:
        [text], asked = each.open_texts.generations(), each.texts
        strategy, endings = asked.strategy, asked.endings.settings.items()
        [alone] = corelm.generate(
            model, asked.prompt, sampler=strategy.sampler, decoder=strategy.decoder, length=20,
            seed=asked.seed, **{name: value for name, value in endings if value},
        )  # fmt: skip
        assert text == replace(alone, steps=[])


@pytest.mark.usefixtures("unobserved")
def test_a_step_takes_several_tokens_where_nobody_reads_each_step():
    model = model_of("gpt2", context=40)

    def steps(*each_step, **endings):
        batch = ContinuousBatch(model)
        for seed, each in enumerate(each_step):
            texts = Texts("w1 " * (seed + 1), Strategy.of("stochastic"), 20, 1, seed)
            batch.add(replace(texts, endings=Endings.of(**endings)), each_step=each)
        return sum(1 for _ in iter(lambda: batch.step() if batch else None, None))

    assert steps(False, False) <= 6
    assert steps(False, True) == steps(False, False, stop_regex=("zzz",)) == 20


def test_copies_of_one_text_are_drawn_after_a_draw_ahead():
    model = model_of("gpt2")
    decoding = drawing(model, n=1)
    drawn_steps(decoding, 3)
    decoding.session.select(np.zeros(3, np.int64))
    assert len(decoding.session.next_logits()) == 3


def test_draws_with_and_without_extending_take_turns():
    model, orders = model_of("gpt2"), np.random.default_rng(4).random((6, 25)) < 0.6

    def tokens(order):
        decoding, found = drawing(model), []
        for extend in order.tolist():
            found.append(decoding.draw(extend=extend).tokens.tolist())
            decoding.advance()
        return found, decoding.session.next_logits().tobytes()

    for order in orders:
        assert tokens(order) == step_by_step(tokens, order)


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
    plan, cache = network._plan, network.new_cache(2)
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


@pytest.mark.parametrize(("chain", "most"), [("dry(multiplier=1)", 2**28), ("stochastic", 0)])
def test_numbers_are_prepared_only_for_draws_ahead(chain, most, monkeypatch):
    """Not at each step of a large batch, or of a chain that reads the text."""
    monkeypatch.setattr(base, "IN_VAIN", most)
    monkeypatch.setattr(corelm.RandomStream, "following", None)
    corelm.generate(model_of("gpt2"), "w1", sampler=chain, n=2, length=9)


def test_a_text_that_nobody_reads_on_is_dropped():
    for _ in range(20):
        steps = corelm.stream(model_of("gpt2"), "w1", sampler="stochastic", length=200)
        next(steps), next(steps)
        steps.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_goes_on_with_its_parents_draws():
    def rest(decoding):
        drawn_steps(decoding, 12)
        return decoding.context.tokens.tolist()

    decoding = drawing(model_of("gpt2"))
    drawn_steps(decoding, 2)
    expected = step_by_step(rest, drawing(model_of("gpt2"), length=30))
    child = os.fork()
    if not child:
        drawn_steps(decoding, 10)
        os._exit(decoding.context.tokens.tolist() != expected)
    assert os.waitpid(child, 0)[1] == 0
    drawn_steps(decoding, 10)
    assert decoding.context.tokens.tolist() == expected
