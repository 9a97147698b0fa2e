"""Sessions on another engine's key/value cache, against full passes without a cache."""

from __future__ import annotations

import numpy as np
import pytest
from small_models import numbered_words

import corelm
from corelm import CorelmError
from corelm.abilities import can
from corelm.contracts.language_model import window_start
from corelm.errors import UsageError
from corelm.interop import CachedSession, check_session
from corelm.interop.session_trial import session_faults
from corelm.testing import LAWS

SIZE, CONTEXT, WIDTH = 30, 8, 4
rng = np.random.default_rng(0)
EMBEDDING, PLACE, HEAD = (rng.normal(size=(n, WIDTH)) for n in (SIZE, CONTEXT, SIZE))
VOCABULARIES = {"plain": numbered_words(SIZE), "with a start": numbered_words(SIZE, end=True)}


class Engine:
    """A cache of a network that sums what its tokens say, each at its place in the window."""

    def __init__(self, rewinds=True):
        self.rewinds, self.processed = rewinds, 0
        self.cache = None  # (batch, time, width), as of an engine with attention

    def process(self, tokens, count):
        assert tokens.dtype == np.int64
        assert 1 <= count <= tokens.shape[1]
        old = self.cache if self.cache is not None else np.empty((len(tokens), 0, WIDTH))
        length = old.shape[1] + tokens.shape[1]
        assert length <= CONTEXT
        self.processed += tokens.size
        new = EMBEDDING[tokens] * PLACE[old.shape[1] : length]
        self.cache = np.concatenate([old, new], axis=1)
        hidden = np.tanh(np.cumsum(self.cache, axis=1))[:, -count:].astype(np.float32)
        return (hidden @ HEAD.T).astype(np.float32), hidden

    def truncate(self, length):
        assert self.cache is not None
        assert length >= 0
        kept = length if self.rewinds else 0
        self.cache = self.cache[:, :kept] if kept else None
        return kept

    def select(self, rows):
        assert rows.dtype == np.int64
        self.cache = self.cache[rows]


class WithHiddenStates(CachedSession):
    def hidden_states(self, count):
        return self.last_outputs(count)[1]


@pytest.fixture(params=VOCABULARIES)
def vocabulary(request):
    return VOCABULARIES[request.param]


@pytest.fixture(params=[True, False], ids=["rewinds", "empties"])
def engine(request):
    return Engine(request.param)


def start(engine, tokens, vocabulary):
    return WithHiddenStates(engine, tokens, vocabulary, CONTEXT)


class Model:
    """The engine's network as a language model."""

    context_length = CONTEXT

    def __init__(self, vocabulary, rewinds):
        self.vocabulary, self._rewinds = vocabulary, rewinds

    def start(self, tokens):
        return start(Engine(self._rewinds), tokens, self.vocabulary)

    def next_token_distribution(self, tokens):
        return corelm.softmax(self.start(tokens).next_logits())


def full_pass(texts, vocabulary):
    """Return the outputs after a text, from one pass over its window."""
    texts = np.asarray(texts)
    if vocabulary.start is not None:
        texts = np.insert(texts, 0, vocabulary.start, axis=1)
    window = texts[:, window_start(texts.shape[1], CONTEXT) :]
    return tuple(output[:, 0] for output in Engine().process(window, 1))


def assert_same(session, texts, vocabulary, count=1):
    """Compare the outputs after each of the last tokens with full passes."""
    length = np.shape(texts)[1]
    passes = [full_pass(texts[:, : length - i], vocabulary) for i in reversed(range(count))]
    logits, hidden = (np.stack(outputs, axis=1) for outputs in zip(*passes, strict=True))
    np.testing.assert_allclose(session.next_logits(), logits[:, -1], atol=1e-5)
    np.testing.assert_allclose(session.last_logits(count), logits, atol=1e-5)
    np.testing.assert_allclose(session.hidden_states(count), hidden, atol=1e-5)
    np.testing.assert_allclose(session.next_logits(), logits[:, -1], atol=1e-5)


@pytest.mark.parametrize("law", LAWS["model"])
def test_a_model_with_such_sessions_obeys_the_laws(vocabulary, engine, law):
    law(Model(vocabulary, engine.rewinds))


def test_each_token_of_a_window_is_processed_once(engine):
    session = start(engine, [[3, 4]], VOCABULARIES["plain"])
    for token in range(5, 9):
        session.next_logits()
        session.next_logits()
        session.extend([token])
    assert engine.processed == 5  # the last one waits
    session.next_logits()
    assert engine.processed == 6


def test_forks_share_what_was_processed(engine):
    session = start(engine, [[3, 4, 5]], VOCABULARIES["plain"])
    session.select([0, 0, 0])
    assert session.next_logits().shape == (3, SIZE)
    assert engine.processed == 3


def test_tokens_that_are_dropped_before_an_answer_are_not_processed(engine):
    session = start(engine, [[3, 4, 5, 6]], VOCABULARIES["plain"])
    session.rewind(2)
    session.next_logits()
    assert engine.processed == 2


def test_after_going_back_only_the_rest_is_processed():
    engine = Engine()
    session = start(engine, [[3, 4, 5, 6]], VOCABULARIES["plain"])
    session.last_logits(3)
    session.rewind(2)
    assert_same(session, np.array([[3, 4]]), VOCABULARIES["plain"])  # it was computed before
    assert engine.processed == 4
    session.extend([7])
    assert_same(session, np.array([[3, 4, 7]]), VOCABULARIES["plain"])
    assert engine.processed == 5


def test_an_interrupted_pass_leaves_no_half_cache(engine):
    class Interrupted(Engine):
        def process(self, tokens, count):
            outputs = Engine.process(self, tokens, count)
            if tokens[0, -1] == 29:
                raise KeyboardInterrupt
            return outputs

    session = start(Interrupted(engine.rewinds), [[3, 4]], VOCABULARIES["plain"])
    session.next_logits()
    session.extend([29])
    with pytest.raises(KeyboardInterrupt):
        session.next_logits()
    session.extend([5])
    assert_same(session, np.array([[3, 4, 29, 5]]), VOCABULARIES["plain"])


def test_the_protocols_of_sessions(engine):
    session = start(engine, [[3]], VOCABULARIES["plain"])
    assert can(session, "rewind")
    assert can(session, "hidden_states")
    plain = CachedSession(engine, [[3]], VOCABULARIES["plain"], CONTEXT)
    assert not can(plain, "hidden_states")


@pytest.mark.parametrize("count", [0, 4])
def test_other_counts_are_refused(engine, count):
    session = start(engine, [[3, 4, 5]], VOCABULARIES["plain"])
    with pytest.raises(UsageError, match=f"no last {count} tokens"):
        session.last_logits(count)


def test_an_empty_text_begins_with_the_start_token(engine):
    vocabulary = VOCABULARIES["with a start"]
    session = start(engine, np.empty((2, 0), int), vocabulary)
    assert_same(session, np.empty((2, 0), int), vocabulary)
    with pytest.raises(UsageError, match="empty text"):
        start(engine, np.empty((2, 0), int), VOCABULARIES["plain"])


def test_decoding_beyond_the_context(engine, vocabulary):
    [text] = corelm.generate(
        Model(vocabulary, engine.rewinds), "w4 w5", sampler="greedy", length=25
    )
    tokens = vocabulary.encode("w4 w5")
    for token in text.tokens:
        logits = full_pass([tokens], vocabulary)[0][0]
        logits[[vocabulary.padding, vocabulary.unknown]] = -np.inf
        assert token == logits.argmax()
        tokens.append(token)


class ForgetsRows(Engine):
    """An engine whose state doesn't move with the rows, as if kept in the network's layers."""

    def select(self, rows):
        if len(rows) != len(self.cache):
            self.cache = self.cache[[0] * len(rows)]


class KeepsTokens(Engine):
    def truncate(self, length):
        return length


class RefusesToCrop(Engine):
    def truncate(self, length):
        raise RuntimeError("no past states")


class Counted(Engine):
    """Counts its passes."""

    passes = 0

    def process(self, tokens, count):
        self.passes += 1
        return super().process(tokens, count)


class Drifts(Engine):
    """Off by half a logit after the first pass, in itself."""

    def process(self, tokens, count):
        later = self.cache is not None
        logits, hidden = super().process(tokens, count)
        return logits + later * np.linspace(0, 0.5, SIZE, dtype=np.float32), hidden


@pytest.mark.parametrize(
    ("broken", "faults"),
    [
        (Engine, set()),
        (ForgetsRows, {"select", "rewind"}),
        (KeepsTokens, {"rewind"}),
        (RefusesToCrop, {"rewind"}),
        (Drifts, {"extend", "rewind"}),
    ],
)
def test_a_trial_finds_the_operations_that_fail(broken, faults, vocabulary):
    found = session_faults(lambda tokens: start(broken(), tokens, vocabulary), SIZE)
    assert found.keys() == faults
    assert all(error > 0.01 for error in found.values())


def test_a_trial_takes_five_passes(vocabulary):
    engines = []

    def counted(tokens):
        engines.append(Counted())
        return start(engines[-1], tokens, vocabulary)

    assert session_faults(counted, SIZE) == {}
    assert sum(engine.passes for engine in engines) == 5


def test_a_model_whose_sessions_fail_is_refused(vocabulary, caplog):
    with pytest.raises(CorelmError, match="Odd keeps a part of its state outside its cache"):
        check_session(lambda tokens: start(ForgetsRows(), tokens, vocabulary), SIZE, "Odd")
    with pytest.raises(CorelmError, match="Odd does not run on its engine's cache: division"):
        check_session(lambda tokens: 1 / 0, SIZE, "Odd")
    assert not check_session(lambda tokens: start(Engine(), tokens, vocabulary), SIZE, "Even")
    assert not caplog.records


def test_a_trial_accepts_a_cache_that_can_only_be_emptied(vocabulary):
    assert session_faults(Model(vocabulary, rewinds=False).start, SIZE) == {}
