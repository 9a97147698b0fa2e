"""The NumPy model: batch-invariant, with a cache, beyond its context."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
from compiled_kernels import kernels, no_kernels
from programs import python
from small_models import SMALL, numbered_words, random_weights, small_model

import corelm
from corelm.bundles import Architecture
from corelm.errors import ModelFileError, UsageError
from corelm.models.numpy_model import NumpyModel

# Large enough for several blocks of columns, and for BLAS to think about threads.
MIDDLE = {
    kind: Architecture(kind, 3000, context_length=24, width=64, dense=256, heads=2, blocks=2)
    for kind in ("book", "default", "gpt2", "rnn")
}
STEPS = 40  # past the context, twice over its edge


def digest():
    """A fingerprint of what is decoded, for processes to compare."""
    seen = hashlib.sha256()
    for a in MIDDLE.values():
        session = small_model(a).start(np.arange(60).reshape(3, 20))
        for token in range(9):
            session.extend([token, 7, 8])
            seen.update(session.next_logits().tobytes())
    return seen.hexdigest()


@pytest.fixture(params=["kernels", "NumPy"], scope="module")
def arithmetic(request):
    """Both ways to compute: with the kernels where there are some, and without."""
    with no_kernels(request.param == "NumPy"):
        yield request.param


@pytest.fixture(params=MIDDLE, scope="module")
def model(request, arithmetic):
    return small_model(MIDDLE[request.param])


@pytest.fixture(scope="module")
def texts():
    return np.random.default_rng(1).integers(0, 3000, (64, STEPS))


@pytest.mark.slow
def test_a_row_is_the_same_to_the_last_bit_alone_and_in_any_batch(model, texts):
    few = [5, 0, 63]
    alone, three, all_64 = (model.start(texts[rows, :3]) for rows in ([5], few, slice(None)))
    for position in range(3, STEPS):
        assert np.array_equal(all_64.next_logits()[few], three.next_logits())
        assert np.array_equal(all_64.next_logits()[[5]], alone.next_logits())
        alone.extend(texts[[5], position])
        three.extend(texts[few, position])
        all_64.extend(texts[:, position])


def test_a_session_says_what_the_stateless_hook_says_to_the_last_bit(model, texts):
    session = model.start(texts[:2, :1])
    for length in range(1, STEPS):
        assert np.array_equal(session.next_logits(), model.start(texts[:2, :length]).next_logits())
        session.extend(texts[:2, length])


def test_rows_may_be_forked_and_dropped_at_any_time(model, texts):
    session = model.start(texts[:3, :2])
    session.select([2, 0, 2, 1])
    before = texts[[2, 0, 2, 1], :2]
    session.extend(texts[[9, 8, 7, 6], 2:20])
    session.select([3, 1])
    whole = np.concatenate([before, texts[[9, 8, 7, 6], 2:20]], axis=1)[[3, 1]]
    for position in range(20, STEPS):
        assert np.array_equal(session.next_logits(), model.start(whole).next_logits())
        session.extend(texts[:2, position])
        whole = np.concatenate([whole, texts[:2, position : position + 1]], axis=1)


def one_by_one(model, texts, first, last, of=lambda session: session.next_logits()):
    """Return the logits of new sessions at some lengths of the texts."""
    return np.stack([of(model.start(texts[:, :n])) for n in range(first, last + 1)], axis=1)


@pytest.mark.parametrize("count", [1, 2, 5, 30])  # 30 tokens pass the edge of the context
def test_the_logits_after_each_of_the_last_tokens_are_those_of_one_at_a_time(model, texts, count):
    session = model.start(texts[:2, :1])
    session.extend(texts[:2, 1:34])
    expected = one_by_one(model, texts[:2], 35 - count, 34)
    assert np.array_equal(session.last_logits(count), expected)
    assert np.array_equal(session.next_logits(), expected[:, -1])
    assert np.array_equal(session.last_logits(1), expected[:, -1:])


@pytest.mark.slow
@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("count", [0, 1, 3, 9, 20, 31])
def test_after_going_back_it_says_what_it_would_have_said(model, texts, count, asked):
    session = model.start(texts[:2, :2])
    for position in range(2, 32):
        session.extend(texts[:2, position])
        if asked:
            session.last_logits(min(position, 3))
    session.rewind(count)
    kept = texts[:2, : 32 - count]
    if asked:
        assert np.array_equal(session.next_logits(), model.start(kept).next_logits())
    session.extend(texts[5:7, :4])
    kept = np.concatenate([kept, texts[5:7, :4]], axis=1)
    expected = one_by_one(model, kept, kept.shape[1] - 3, kept.shape[1])
    assert np.array_equal(session.next_logits(), expected[:, -1])
    assert np.array_equal(session.last_logits(4), expected)


@pytest.fixture
def rows_read(model, arithmetic, monkeypatch):
    """The number of rows at every pass of the network."""
    rows, network = [], model._network
    in_kernels = kernels and arithmetic == "kernels"
    for name in ("begin", "process_with_logits") if in_kernels else ("process",):
        read = getattr(network, name)

        def noted(window, *rest, read=read):
            found = read(window, *rest)
            if found is not None:  # as where nothing can be read ahead
                rows.append(len(window))
            return found

        monkeypatch.setattr(network, name, noted)
    return rows


def test_the_shared_part_of_forks_is_read_once(model, texts, rows_read):
    session = model.start(texts[:1, :9])
    session.select([0] * 16)
    assert session.next_logits().shape == (16, 3000)
    session.extend(texts[:16, 9:11])
    session.select([3])  # before it is read
    assert session.next_logits().shape == (1, 3000)
    assert rows_read == [1, 1]


def test_forks_are_read_once_until_their_tokens_differ(model, texts, rows_read):
    session = model.start(texts[:1, :9])
    session.select([0] * 4)
    session.next_logits()
    session.extend(texts[[1] * 4, 9])
    session.extend(texts[[1] * 4, 10:12])
    session.select([3, 0, 1])
    session.next_logits()
    assert set(rows_read) == {1}
    session.rewind(1)
    session.extend(texts[1:4, 11])
    whole = np.concatenate([texts[[0] * 3, :9], texts[[1] * 3, 9:11], texts[1:4, 11:12]], axis=1)
    fresh = model.start(whole)
    assert np.array_equal(session.next_logits(), fresh.next_logits())
    assert rows_read[-2:] == [3, 3]
    assert np.array_equal(session.last_logits(4), fresh.last_logits(4))
    assert np.array_equal(session.hidden_states(2), fresh.hidden_states(2))


def test_forks_that_share_a_text_are_rows(model, texts):
    session, fresh = model.start(texts[:1, :9]), model.start(texts[[0] * 3, :9])
    session.select([0] * 3)
    for ask in ("next_logits", "last_logits", "hidden_states"):
        how_many = () if ask == "next_logits" else (2,)
        answer, expected = getattr(session, ask)(*how_many), getattr(fresh, ask)(*how_many)
        assert np.array_equal(answer, expected)
        answer[0] = 0  # the caller's own: the other rows don't change
        assert np.array_equal(answer[1:], expected[1:])
    for wrong in (5, [1, 2], [[3], [4]], [0.5] * 3, [-1] * 3):
        with pytest.raises(UsageError):
            session.extend(np.array(wrong))
    session.select([])
    session.extend(np.empty(0, dtype=int))
    assert session.next_logits().shape == (0, 3000)


def test_a_token_after_others_that_were_read_is_read_at_once(model, texts):
    session = model.start(texts[:4, :5])
    session.extend(texts[:4, 5])
    assert session._background is None  # the others were not
    for i in range(6, 40):  # the window slides meanwhile
        fresh = model.start(texts[:4, :i])
        assert np.array_equal(session.next_logits(), fresh.next_logits())
        if i % 3:
            assert np.array_equal(session.hidden_states(3), fresh.hidden_states(3))
        session.extend(texts[:4, i])
        assert bool(session._background) == bool(getattr(model._network, "_plan", None))


@pytest.mark.parametrize(
    "change",
    [
        lambda session, ids: session.extend(ids),
        lambda session, ids: session.rewind(2) or session.extend(np.stack([ids] * 2, axis=1)),
        lambda session, ids: session.select([2, 0, 0]) or session.extend(ids[:3]),
        lambda session, ids: session.select([3, 1]) or session.rewind(1),
        lambda session, ids: session.extend(np.empty((4, 0), dtype=np.int64)),
        lambda session, ids: session.hidden_states(3),
    ],
)
def test_tokens_that_were_read_ahead_may_be_changed(model, texts, change):
    plain, ahead = (model.start(texts[:4, :5]) for _ in range(2))
    assert ahead.next_logits().shape == (4, 3000)  # so that the next one is
    for session in (plain, ahead):
        session.extend(texts[:4, 5])
        change(session, texts[:4, 6])
    assert np.array_equal(ahead.next_logits(), plain.next_logits())


def test_reading_that_fails_is_done_again(model, texts, monkeypatch):
    session = model.start(texts[:2, :5])
    before = session.next_logits().copy()
    session.extend(texts[:2, 5])
    if session._background is None:
        pytest.skip("nothing is read ahead here")

    def fail(ahead):
        kernels.wait(ahead.run)
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(type(session._background), "wait", fail)
        with pytest.raises(MemoryError):
            _ = session.next_logits()
    assert np.array_equal(session.next_logits(), model.start(texts[:2, :6]).next_logits())
    session.rewind(1)
    assert np.array_equal(session.next_logits(), before)


def test_hidden_states_are_those_that_the_logits_come_from(model, texts):
    session = model.start(texts[:2, :1])
    session.extend(texts[:2, 1:34])
    hidden = session.hidden_states(30)
    expected = one_by_one(model, texts[:2], 5, 34, of=lambda s: s.hidden_states(1)[:, 0])
    assert np.array_equal(hidden, expected)
    assert np.ptp(hidden, axis=1).min() > 0  # no two positions are the same


@pytest.mark.parametrize("count", [-1, 0, 4])
def test_tokens_that_are_not_there_cannot_be_looked_at(model, texts, count):
    session = model.start(texts[:2, :3])
    for ask in (session.last_logits, session.hidden_states):
        with pytest.raises(UsageError, match=f"there are no last {count} tokens in a text of 3"):
            ask(count)


def test_the_caller_owns_the_next_logits(model, texts):
    session = model.start(texts[:3, :2])
    expected = session.next_logits().copy()
    session.next_logits()[:] = 0
    assert (expected.shape, expected.dtype) == ((3, 3000), np.float32)
    assert np.array_equal(session.next_logits(), expected)
    session.extend(texts[:3, 2])
    assert np.array_equal(session.next_logits(), model.start(texts[:3, :3]).next_logits())


@pytest.mark.slow
@pytest.mark.parametrize("threads", ["1", "4"])
def test_the_number_of_threads_makes_no_difference(threads):
    here = Path(__file__).parent
    code = f"import sys; sys.path[:0] = {[str(here), str(here.parent)]!r}; import test_numpy_model"
    environment = {"OPENBLAS_NUM_THREADS": threads, "OMP_NUM_THREADS": threads}
    found = python("-c", code + "; print(test_numpy_model.digest())", env=environment, check=True)
    assert found.stdout.strip() == digest()


# The window


def test_past_its_context_a_model_sees_the_window_alone():
    model, text = small_model(SMALL["default"]), np.arange(2, 22)[None]
    # 13 tokens and a context of 8: the window moves by 4, to token 8 (13 - 8 rounded up to 4s)
    assert np.array_equal(
        model.start(text[:, :13]).next_logits(), model.start(text[:, 8:13]).next_logits()
    )
    assert np.array_equal(
        model.start(text[:, :12]).next_logits(), model.start(text[:, 4:12]).next_logits()
    )


@pytest.mark.parametrize("kind", SMALL)
def test_a_model_with_an_end_token_begins_every_text_with_it(kind):
    ending, plain = small_model(SMALL[kind], end=True), small_model(SMALL[kind])
    empty = np.empty((2, 0), dtype=int)
    assert np.array_equal(ending.start(empty).next_logits(), plain.start([[2], [2]]).next_logits())
    text = np.arange(3, 23)[None]
    session, same = ending.start(text[:, :5]), plain.start(np.insert(text[:, :5], 0, 2, axis=1))
    for position in range(5, 20):
        assert np.array_equal(session.next_logits(), same.next_logits())
        session.extend(text[:, position])
        same.extend(text[:, position])


def test_a_model_without_one_needs_a_token():
    with pytest.raises(UsageError, match="this model cannot continue an empty text"):
        small_model(SMALL["book"]).start(np.empty((1, 0), dtype=int))


def test_ids_outside_the_vocabulary_are_refused():
    session = small_model(SMALL["book"]).start([[3]])
    with pytest.raises(UsageError, match="there is no token 30; the ids are 0 to 29"):
        session.extend([30])


# The model


def test_the_stateless_hook_gives_probabilities():
    model = small_model(SMALL["default"])
    probabilities = model.next_token_distribution([[3, 4], [5, 6]])
    assert probabilities.shape == (2, 30)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    logits = model.start([[3, 4], [5, 6]]).next_logits()
    np.testing.assert_allclose(probabilities, corelm.softmax(logits))


def test_probabilities_by_hand():
    # A recurrent network of zeros but for the last bias: softmax of that bias for any input.
    a = Architecture("rnn", vocabulary_size=4, context_length=6, width=2, dense=2, heads=1)
    weights = {name: 0 * weight for name, weight in random_weights(a).items()}
    weights["probabilities/bias"] = np.log(np.array([1, 2, 3, 4], np.float32))
    model = NumpyModel(a, numbered_words(4), weights)
    probabilities = model.next_token_distribution([[2, 3]])
    np.testing.assert_allclose(probabilities, [[0.1, 0.2, 0.3, 0.4]], rtol=1e-6)


def test_weights_of_another_network_are_refused():
    a = SMALL["default"]
    with pytest.raises(ModelFileError, match="'embedding/token_embeddings/embeddings' are missing"):
        NumpyModel(a, numbered_words(30), random_weights(SMALL["rnn"]))
    narrow = dataclasses.replace(a, width=8)
    with pytest.raises(ModelFileError, match=r"scale' are \(16,\) instead of \(8,\)"):
        NumpyModel(narrow, numbered_words(30), random_weights(narrow) | {"norm/scale": np.ones(16)})


@pytest.mark.parametrize("a", MIDDLE.values(), ids=MIDDLE)
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_model_may_be_copied_and_pickled(a, duplicate):
    model = small_model(a)
    tokens = np.arange(60).reshape(3, 20)
    expected = model.start(tokens).next_logits()
    assert duplicate(model).start(tokens).next_logits().tobytes() == expected.tobytes()
