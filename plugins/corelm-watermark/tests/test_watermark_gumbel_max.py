"""gumbel_max: its random numbers, its draws, its detector, and how it meets vLLM's."""

from __future__ import annotations

import numpy as np
import pytest
from corelm_watermark import GreenList, GumbelMax, detect
from corelm_watermark.philox import philox, uniforms, vocabulary_uniforms
from scipy import stats

import corelm
from corelm import Context
from corelm.testing import ToyModel, obeys_the_laws

MODEL = ToyModel([f"w{i}" for i in range(60)], end=False)
VOCABULARY = MODEL.vocabulary


@obeys_the_laws(
    GumbelMax(key="a"), GumbelMax(key="a", scope="text", context=1), GumbelMax(key="a", history=0)
)
def test_law(sampler, law):
    law(sampler)


# The random numbers


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([2**32 - 1] * 4, [2**32 - 1] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ],
)
def test_philox_has_the_published_answers(counter, key, words):
    """The known answers of Random123 for philox4x32 with 10 rounds."""
    arrays = [np.array([word], np.uint64) for word in (*counter, *key)]
    assert [int(word[0]) for word in philox(arrays[:4], arrays[4:])] == words


def test_the_numbers_are_those_of_vllm():
    """The vector that vLLM's own tests hold its PhiloxPRF to."""
    expected = (np.array([[1661833, 10571167], [9742331, 13375724]]) + 1.0) / (2**24 + 1)
    contexts, ids = np.array([[1, 2, 3, 4], [4, 5, 6, 7]]), np.array([[7, 8], [7, 8]])
    assert np.array_equal(uniforms(42, contexts, ids), expected.astype(np.float32))
    assert np.array_equal(
        vocabulary_uniforms(42, contexts, 11)[:, 7:9], uniforms(42, contexts, ids)
    )


@pytest.mark.parametrize("width", [1, 4, 5, 17])
@pytest.mark.parametrize("key", [1, 2**32, 2**64 - 1])
def test_the_numbers_equal_a_plain_calculation(key, width):
    """Python's integers, a word at a time, for contexts that begin before the text."""
    mask, rng = 2**32 - 1, np.random.default_rng(width)

    def block(counter, left, right):
        a, b, c, d = counter
        for _ in range(10):
            p, q = a * 0xD2511F53, c * 0xCD9E8D57
            a, b, c, d = (q >> 32) ^ b ^ left, q & mask, (p >> 32) ^ d ^ right, p & mask
            left, right = (left + 0x9E3779B9) & mask, (right + 0xBB67AE85) & mask
        return a, b, c, d

    def plain(context, token):
        left, right, state = key & mask, key >> 32, (0x574D4358, width, 0, 0)
        for i in range(0, width, 4):
            four = [t & mask for t in context[i : i + 4]]
            four += [mask - j for j in range(len(four), 4)]
            state = block([s ^ t for s, t in zip(state, four, strict=True)], left ^ i, right)
        words = block((token >> 2, *state[:3]), left ^ state[3], right ^ 0x574D544B)
        return np.float32(((words[token & 3] >> 8) + 1) / (2**24 + 1))

    contexts = rng.integers(0, 200_000, (3, width))
    contexts[0, 0] = -1
    ids = rng.integers(0, 200_000, (3, 6))
    expected = [
        [plain(c, t) for t in row] for c, row in zip(contexts.tolist(), ids.tolist(), strict=True)
    ]
    assert np.array_equal(uniforms(key, contexts, ids), np.array(expected))


# The draw


def test_the_largest_sum_of_log_probability_and_noise_is_drawn():
    sampler, p = GumbelMax(key="42", context=2), np.array([0.5, 0.3, 0.15, 0.05])
    for past in ([4, 5], [5, 4], [9, 4, 5], [1, 3]):
        u = uniforms(42, np.array([past[-2:]]), np.arange(4)[None])[0].astype(float)
        drawn = sampler(np.log(p)[None], Context.of([past], prompt_length=0))[0]
        # u ** (1 / p) is Aaronson's form of the same rule
        assert np.flatnonzero(drawn > -np.inf).tolist() == [int(np.argmax(u ** (1 / p)))]
        assert drawn.max() == np.log(p)[np.argmax(drawn)]


def test_over_keys_the_texts_have_the_distribution():
    """600 keys: texts of two tokens come as often as the product of their probabilities."""
    first, second = np.array([0.25, 0.75]), np.array([[0.6, 0.4], [0.1, 0.9]])
    counts = np.zeros((2, 2))
    for key in range(600):
        sampler, tokens = GumbelMax(key=str(key), context=1, scope="text"), []
        for p in (first, second):
            p = p[tokens[0]] if tokens else p
            past = Context.of(np.array([tokens], dtype=np.int64), prompt_length=0)
            tokens.append(int(sampler(np.log(p)[None], past).argmax()))
        counts[tuple(tokens)] += 1
    expected = 600 * first[:, None] * second
    assert ((counts - expected) ** 2 / expected).sum() < stats.chi2.isf(0.001, 3)


@pytest.mark.parametrize(
    ("drawn", "settings", "marked"),
    [
        ([5, 6, 7], {}, True),
        ([5], {}, False),  # fewer tokens than a context
        ([5], {"scope": "text"}, True),
        ([], {"scope": "text"}, True),
        ([5, 6, 7, 5, 6], {}, False),  # (5, 6) came before
        ([5, 6, 7, 5, 6], {"history": 2}, True),  # and is forgotten
        ([5, 6, 7, 5, 6], {"history": 3}, False),
        ([1, 2], {}, False),  # it came in the prompt
        ([1, 2], {"scope": "text"}, True),
    ],
)
def test_a_context_that_repeats_is_not_marked_again(drawn, settings, marked):
    sampler, logits = GumbelMax(key="a", context=2, **settings), np.zeros((1, 50))
    changed = sampler(logits, Context.of([[1, 2, 9, *drawn]], prompt_length=3))
    assert np.isfinite(changed).sum() == (1 if marked else 50)


def test_an_impossible_token_is_never_drawn():
    logits = np.full((1, 50), -np.inf)
    logits[0, [3, 9]] = 0.0
    for key in range(40):
        out = GumbelMax(key=str(key), scope="text")(logits, Context.of(np.empty((1, 0))))
        assert np.flatnonzero(np.isfinite(out[0]))[0] in (3, 9)


# The detector


def test_the_score_is_the_mean_of_the_marks():
    sampler, tokens = GumbelMax(key="42", context=1), [2, 5, 7, 2, 9, 11]
    grams = np.array([[2, 5], [5, 7], [7, 2], [9, 11]])  # (2, 9) repeats a context
    marks = -np.log1p(-uniforms(42, grams[:, :1], grams[:, 1:]).astype(float))
    detection = detect(sampler, tokens, VOCABULARY)
    assert (detection.tokens, detection.scored, detection.chance) == (6, 4, 1.0)
    assert detection.score == pytest.approx(marks.mean())
    assert detection.z == pytest.approx((marks.sum() - 4) / 2)
    assert detection.p_value == pytest.approx(stats.gamma.sf(marks.sum(), 4))


@pytest.mark.parametrize(("tokens", "scored"), [([2] * 5, 2), ([2, 3, 2, 4], 3), ([2, 3, 4, 5], 4)])
def test_the_same_tokens_count_as_in_vllm(tokens, scored):
    """The numbers that vLLM's tests expect of contexts of one token, the start included."""
    assert detect(GumbelMax(key="42", context=1, scope="text"), tokens, VOCABULARY).scored == scored


def test_the_p_values_of_other_texts_are_uniform():
    """Kolmogorov and Smirnov's distance of 400 p-values, with a key each; then of loops."""
    rng = np.random.default_rng(1)
    for text in (lambda: rng.integers(2, 62, 80), lambda: np.tile(rng.integers(2, 62, 16), 5)):
        detection = [detect(GumbelMax(key=str(i)), text(), VOCABULARY).p_value for i in range(400)]
        assert stats.kstest(detection, "uniform").pvalue > 0.001


def test_a_repeated_phrase_forges_nothing():
    marked = [2, 3, 4, 5, 6]
    once = detect(GumbelMax(key="a", context=2), [*marked, 2, 3], VOCABULARY)
    many = detect(GumbelMax(key="a", context=2), marked * 50, VOCABULARY)
    assert (many.scored, many.p_value) == (once.scored, once.p_value) == (5, once.p_value)


@pytest.mark.parametrize("scope", ["all", "text"])
def test_the_key_finds_its_own_texts_and_no_others(scope):
    watermark = corelm.sampler("gumbel_max", key="a key", scope=scope)
    texts = corelm.generate(MODEL, "w1", sampler=watermark, length=60, n=4, seed=1)
    assert max(detect(watermark, text.text, VOCABULARY).p_value for text in texts) < 1e-3
    other = corelm.sampler("gumbel_max", key="another key", scope=scope)
    assert min(detect(other, text.text, VOCABULARY).p_value for text in texts) > 1e-3
    assert detect(GumbelMax(key="a key", scope="text"), texts[0].text, VOCABULARY).p_value < 1e-3
    assert len({text.text for text in texts}) == (4 if scope == "all" else 1)


def test_a_step_has_no_entropy():
    [text] = corelm.generate(MODEL, "w1", sampler=GumbelMax(key="a"), length=8, seed=1)
    assert [step.entropy > 0 for step in text.steps] == [True] * 4 + [False] * 4


def test_other_watermarks_are_told_apart():
    text = corelm.generate(MODEL, "w1", sampler=GumbelMax(key="a"), length=60, seed=1)[0].text
    assert detect(GreenList(key="a"), text, VOCABULARY).p_value > 1e-3
