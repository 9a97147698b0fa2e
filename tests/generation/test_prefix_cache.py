"""Prompts that begin alike are read once, and no text depends on it."""

import tracemalloc

import numpy as np
import pytest
from small_models import SMALL, small_model

import corelm
from corelm.generation import prompts
from corelm.generation.prompts import LEAST
from corelm.models.numpy_model import NumpySession
from corelm.runs import ContinuousBatch, Endings, PrefixCache, Strategy, Texts
from corelm.testing import ToyModel

MODEL = ToyModel(end=False)
ONE, OTHER = [3] * 20, [4] * 20


def kept(cache, *prompts):
    for prompt in prompts:
        cache.keep(prompt, MODEL.start([prompt]))
    return cache


def written(batch, ids, seed):
    """Return the tokens of a text, which a batch writes alone."""
    texts = Texts("", Strategy.of("top_p(p=0.9)"), 12, 2, seed, Endings(), ids=ids)
    request = batch.add(texts)
    while batch:
        batch.step()
    return request.open_texts.generations()


def test_the_longest_known_prefix_is_found():
    cache = kept(PrefixCache(100), ONE, ONE + OTHER, [5] * 20)
    session, count = cache.find(ONE + OTHER[:10] + [5])
    assert count == 30
    expected = MODEL.start([ONE + OTHER[:10]]).next_logits()
    np.testing.assert_array_equal(session.next_logits(), expected)
    assert (cache.hits, cache.saved, cache.tokens) == (1, 30, 80)


def test_what_happens_to_a_found_session_does_not_change_the_next():
    cache = kept(PrefixCache(100), ONE)
    for _ in range(2):
        session, count = cache.find(ONE)
        assert count == 20
        expected = MODEL.start([ONE]).next_logits()
        logits = session.next_logits()
        np.testing.assert_array_equal(logits, expected)
        logits[:] = 0
        session.extend(np.array([5]))


def test_the_least_recently_used_prefix_goes_first():
    third = [5] * 20
    cache = kept(PrefixCache(50), ONE, OTHER)
    assert cache.find(ONE)[1] == 20
    kept(cache, third)
    assert [cache.find(prompt)[1] for prompt in (ONE, OTHER, third)] == [20, 0, 20]
    assert cache.tokens == 40


@pytest.mark.parametrize(("tokens", "prompt"), [(0, ONE), (19, ONE), (LEAST - 1, [3]), (100, [])])
def test_empty_and_too_long_prompts_are_not_kept(tokens, prompt):
    cache = kept(PrefixCache(tokens), prompt)
    assert cache.find(prompt) == (None, 0)
    assert cache.tokens == cache.hits == 0


def test_a_short_prompt_is_found_whole():
    short = ONE[: LEAST - 1]
    cache = kept(PrefixCache(100), short)
    assert cache.find(short)[1] == LEAST - 1
    for other in (short[:-1], [*short, 5], ONE):
        assert cache.find(other) == (None, 0)


def test_short_prompts_are_bounded_in_number():
    cache = kept(PrefixCache(10 * LEAST), *([i] for i in range(3, 30)))
    assert cache.tokens == 10
    assert [cache.find([i])[1] for i in (19, 20, 29)] == [0, 1, 1]


@pytest.mark.parametrize("kind", SMALL)
def test_a_kept_prompt_is_not_read_again(kind, monkeypatch):
    model, read = small_model(SMALL[kind], end=True), []
    run = NumpySession._run

    def counted(session, texts, new, *rest):
        read.append(new)
        return run(session, texts, new, *rest)

    monkeypatch.setattr(NumpySession, "_run", counted)
    batch, prompt = ContinuousBatch(model, prefixes=PrefixCache(100)), [5, 9, 4, 7]
    texts = Texts("", Strategy.of("stochastic"), 1, 1, 1, Endings(), ids=prompt)
    for _ in range(3):
        batch.add(texts)
        while batch:
            batch.step()
    assert read == [len(prompt) + 1]  # once, with the start token


def test_sessions_that_cannot_be_copied_are_not_kept():
    class Plain:
        pass

    cache = PrefixCache(100)
    cache.keep(ONE, Plain())
    assert cache.tokens == 0


@pytest.mark.parametrize("kind", SMALL)
def test_texts_are_the_same_with_and_without_the_cache(kind, monkeypatch):
    monkeypatch.setattr(prompts, "LEAST", 2)
    model, rng = small_model(SMALL[kind], end=True), np.random.default_rng(1)
    cache = PrefixCache(30)
    batch = ContinuousBatch(model, piece=3, prefixes=cache)
    history = rng.integers(3, 29, 2).tolist()
    for seed in range(20):  # a conversation that grows beyond the context, and branches of it
        prompt = history
        if seed % 3 == 2:
            prompt = history[: 2 + seed // 2] + rng.integers(3, 29, 3).tolist()
        expected = corelm.generate(model, prompt, sampler="top_p(p=0.9)", length=12, n=2, seed=seed)
        found = written(batch, prompt, seed)
        assert [text.tokens for text in found] == [text.tokens for text in expected]
        history = history + rng.integers(3, 29, 1).tolist()
    assert cache.hits > 3
    assert cache.tokens <= 30


def test_short_prompts_have_no_room_for_a_whole_window():
    model, cache = corelm.load("imdb"), PrefixCache(8_192)
    tracemalloc.start()
    for i in range(3, 103):
        cache.keep([i, i], model.start([[i, i]]))
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size < 100 * 100_000  # a window of keys and values has 614,400 bytes, logits 60,000
