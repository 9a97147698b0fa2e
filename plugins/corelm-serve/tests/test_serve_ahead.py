"""Tokens that an engine draws ahead on its own thread, several in one call."""

import threading

import numpy as np
import pytest
from corelm_serve.engine_thread import EngineThread, OneThreadModel
from serve_client import ToyModel

import corelm
from corelm import native
from corelm.errors import UsageError
from corelm.runs import ContinuousBatch, Endings, Strategy, Texts

pytestmark = pytest.mark.skipif(not native.kernels, reason="there are no kernels here")


@pytest.fixture(scope="module")
def model():
    """Return a model whose sessions draw ahead."""
    return corelm.load("gpt2")


@pytest.fixture
def ours(model):
    """Return the model on a thread of its own."""
    return OneThreadModel(model, EngineThread())


@pytest.fixture
def begun(monkeypatch):
    """Return a list that gets the work of each call of a thread."""
    found, begin = [], EngineThread.begin

    def noted(self, work, *values):
        found.append(getattr(work, "__name__", ""))
        return begin(self, work, *values)

    monkeypatch.setattr(EngineThread, "begin", noted)
    return found


@pytest.mark.parametrize("chain", ["stochastic", "top_k(k=5)", "repetition_penalty(penalty=1.3)"])
@pytest.mark.parametrize("n", [1, 3])
def test_texts_are_those_without_the_thread(model, ours, chain, n, begun):
    arguments = {"sampler": chain, "n": n, "seed": 4, "length": 60}
    texts = corelm.generate(ours, "This movie", **arguments)
    assert ("_block" in begun) == ("penalty" not in chain)
    assert texts == corelm.generate(model, "This movie", **arguments)


def drawing(model):
    prompt, stream = np.array([7, 8]), corelm.RandomStream(1, range(2))
    return corelm.DecodingTask(model, prompt, corelm.sampler("stochastic"), stream, 40).start()


CHANGES = {
    "nothing": lambda decoding: None,
    "rewind": lambda decoding: decoding.rewind(2),
    "select": lambda decoding: decoding.select(np.array([1])),
    "fork": lambda decoding: decoding.select(np.array([1, 0, 1])),
    "next": lambda decoding: decoding.next(),
    "extend": lambda decoding: decoding.advance(np.array([5, 6])),
    "draw": lambda decoding: decoding.draw(),
    "join": lambda decoding: decoding.session.join(decoding.session.fork()),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("count", range(3, 20))
def test_a_session_can_do_anything_in_the_middle_of_draws(model, ours, change, count):
    """Tokens that were drawn and not taken are forgotten."""

    def logits_after(decoding):
        for _ in range(count):
            decoding.draw(extend=True)
            decoding.advance()
        CHANGES[change](decoding)
        session, fork = decoding.session, decoding.session.fork()
        states = session.hidden_states(1), session.last_logits(2), session.next_logits()
        fork.extend(np.full(len(states[0]), 9))
        return decoding.context.tokens.tolist(), [*states, fork.next_logits()]

    tokens, found = logits_after(drawing(ours))
    expected_tokens, expected = logits_after(drawing(model))
    assert tokens == expected_tokens
    assert [each.tobytes() for each in found] == [each.tobytes() for each in expected]


@pytest.mark.parametrize("after", range(1, 10))
@pytest.mark.parametrize("event", ["join", "cancel", "other chain", "stop"])
def test_requests_that_come_and_go_write_their_own_texts(model, ours, event, after):
    def texts(prompt, seed, chain="temperature(t=0.7)", **endings):
        return Texts(prompt, Strategy.of(chain), 30, 1, seed, Endings.of(**endings))

    asked = [texts("This", 1), texts("The movie is", 5), texts("I saw", 3)]
    if event == "stop":
        [full] = corelm.generate(model, "This", sampler="temperature(t=0.7)", length=30, seed=1)
        asked[0] = texts("This", 1, stop=(full.text.split()[after],))
    batch = ContinuousBatch(ours)
    added = [batch.add(each, each_step=False) for each in asked]
    for _ in range(after):
        batch.step()
    if event == "cancel":
        added.pop(1).finish()
    elif event != "stop":
        added.append(batch.add(texts("He", 7, *(["min_p(p=0.1)"] if event != "join" else []))))
    while batch:
        batch.step()
    for each in added:
        endings = {name: value for name, value in each.texts.endings.settings.items() if value}
        [alone] = corelm.generate(
            model, each.texts.prompt, sampler=each.texts.strategy.sampler, length=30,
            seed=each.texts.seed, **endings,
        )  # fmt: skip
        assert each.open_texts.generations()[0].tokens == alone.tokens


@pytest.mark.parametrize("others", [0, 1])
def test_a_block_begins_at_once_unless_others_wait(ours, others):
    session, told = drawing(ours).session, threading.Event()
    draws = drawing(ours)._next_draws
    session.next_logits()
    session._thread.begin(told.wait, 60)
    session.extend(np.array([5, 6]), draws)
    waiting = [session._thread.begin(abs, -1) for _ in range(others)]
    told.set()
    found = session._begun.result()
    assert len(found.drawn) > 1
    assert (found.following is None) == bool(waiting)
    tokens = [session.drawn_ahead(True).tokens.tolist() for _ in range(len(found.drawn) + 1)]
    assert len(tokens) == len(found.drawn) + 1  # of the next block too
    session.next_logits()


def test_nothing_more_is_drawn_where_nothing_more_is_wanted(ours):
    session = drawing(ours).session
    session.next_logits()
    session.extend(np.array([5, 6]), drawing(ours)._next_draws)
    assert session._thread.call(abs, -1) == 1
    taken = [*iter(lambda: session.drawn_ahead(True, more=False), None)]
    assert 0 < len(taken) <= 2 * 8  # a block, and the one after it
    assert not session.has_drawn_ahead
    assert session.next_logits().shape[0] == 2


def test_a_token_that_is_not_appended_is_the_last(model, ours):
    session, other = drawing(ours).session, drawing(model).session
    for each in (session, other):
        each.next_logits()
        each.extend(np.array([5, 6]), drawing(model)._next_draws)
        for _ in range(3):
            assert each.drawn_ahead(True).goes_on
        assert not each.drawn_ahead(False).goes_on
        assert each.drawn_ahead(True) is None
    assert session.next_logits().tobytes() == other.next_logits().tobytes()


def test_an_error_is_raised_by_the_next_call(ours):
    session = drawing(ours).session
    session.next_logits()
    session.extend(np.array([5, -6]), drawing(ours)._next_draws)
    with pytest.raises(UsageError, match="no token -6"):
        session.drawn_ahead(True)
    assert session.next_logits().shape[0] == 2


def test_a_session_draws_ahead_only_if_the_engines_does():
    session = OneThreadModel(ToyModel(), EngineThread()).start([[3]])
    assert not hasattr(session, "drawn_ahead")
    assert not session.has_drawn_ahead


def test_two_blocks_are_drawn_before_the_first_is_taken(ours, begun):
    session = drawing(ours).session
    session.next_logits()
    begun.clear()
    session.extend(np.array([5, 6]), drawing(ours)._next_draws)
    first = session._begun.result()
    assert first.following.result().following is None
    begun.clear()
    for _ in range(len(first.drawn) + 1):
        assert session.drawn_ahead(True).goes_on
    assert begun == ["_block"]  # the third, when the second was taken
