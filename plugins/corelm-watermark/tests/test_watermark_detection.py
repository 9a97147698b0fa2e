"""The detector: what counts, its null distributions, texts that try to deceive it."""

from __future__ import annotations

import numpy as np
import pytest
from corelm_watermark import GreenList, SynthID, detect
from corelm_watermark.power import PowerPlan, human_texts, p_values, repetitive, tables
from scipy import stats

import corelm
from corelm.errors import UsageError
from corelm.testing import ToyModel

WORDS = [f"w{i}" for i in range(60)]
MODEL = ToyModel(WORDS, end=False)
VOCABULARY = MODEL.vocabulary
KEY = GreenList(key="a key")


def chain_of(colour, length):
    """A text of different pairs of tokens, all of them green or all red."""
    tokens = [2]
    seen = set()
    while len(tokens) < length:
        green = KEY.green(np.array([[tokens[-1]]]), np.arange(62)[None], 62)[0]
        fits = np.flatnonzero(green == (colour == "green"))
        following = next(t for t in fits.tolist() if t > 1 and (tokens[-1], t) not in seen)
        seen.add((tokens[-1], following))
        tokens.append(following)
    return tokens


def test_a_text_of_green_tokens_alone():
    detection = detect(KEY, chain_of("green", 11), VOCABULARY)
    assert (detection.tokens, detection.scored, detection.score, detection.chance) == (
        11,
        10,
        1.0,
        0.25,
    )
    assert detection.z == pytest.approx((10 - 2.5) / 1.875**0.5)
    assert detection.p_value == pytest.approx(0.25**10)


def test_a_text_of_red_tokens_alone():
    detection = detect(KEY, chain_of("red", 11), VOCABULARY)
    assert (detection.score, detection.p_value) == (0.0, 1.0)


def test_one_green_pair_many_times_counts_once():
    """Nobody can forge a watermark by repeating a phrase that was once marked."""
    detection = detect(KEY, chain_of("green", 2) * 100, VOCABULARY)
    assert (detection.tokens, detection.scored) == (200, 2)
    assert detection.p_value >= 0.25**2


def test_unknown_words_do_not_count():
    tokens = chain_of("green", 11)
    split = [*tokens[:6], VOCABULARY.unknown, *tokens[6:]]
    assert detect(KEY, split, VOCABULARY).scored == 9
    text = VOCABULARY.decode(tokens[:6]) + " zebra " + VOCABULARY.decode(tokens[6:])
    assert detect(KEY, text, VOCABULARY).scored == 9


@pytest.mark.parametrize("text", ["", "w1", "zebra zebra zebra", [0, 0, 0]])
def test_a_text_without_an_n_gram_is_refused(text):
    message = r"the text is too short: \d tokens, and not 2 known ones in a row"
    with pytest.raises(UsageError, match=message):
        detect(KEY, text, VOCABULARY)


def test_synthid_weighs_its_layers():
    """Ten for the first layer, one for the last; only the first token after a context counts."""
    sampler = SynthID(keys=[654, 400, 836], context=1)
    tokens = [2, 5, 7, 2, 9, 11]  # the second token after 2 does not count
    grams = np.array([[2, 5], [5, 7], [7, 2], [9, 11]])
    weights = np.array([10, 5.5, 1]) / 16.5
    score = sampler.marks(grams, 62).mean(axis=0) @ weights
    chance = 32743 / 65536  # the ones in the table of g-values
    detection = detect(sampler, tokens, VOCABULARY)
    assert detection.scored == 4
    assert (detection.score, detection.chance) == (pytest.approx(score), chance)
    deviation = np.sqrt(chance * (1 - chance) * (weights**2).sum() / 4)
    assert detection.z == pytest.approx((score - chance) / deviation)
    assert detection.p_value == pytest.approx(stats.norm.sf(detection.z))


@pytest.mark.parametrize("name", ["green_list", "gumbel_max", "synthid"])
def test_the_p_values_of_other_texts_are_uniform(name):
    rng = np.random.default_rng(1)
    watermark = corelm.sampler(name, key="a key")
    detection = [detect(watermark, rng.integers(2, 62, 200), VOCABULARY) for _ in range(400)]
    z = np.array([f.z for f in detection])
    assert z.mean() == pytest.approx(0, abs=0.2)  # four deviations
    assert z.std() == pytest.approx(1, abs=0.15)
    assert np.mean([f.p_value <= 0.05 for f in detection]) == pytest.approx(0.05, abs=0.044)


def test_the_p_values_of_synthid_are_uniform_over_the_keys():
    """With a key for each text, though the texts share phrases; a wrong deviation shows."""
    texts = corelm.generate(MODEL, "w1", sampler="temperature(t=0.8)", length=80, n=400, seed=1)
    detection = [
        detect(corelm.sampler("synthid", key=f"key {i}"), text.tokens, VOCABULARY)
        for i, text in enumerate(texts)
    ]
    z = np.array([each.z for each in detection])
    assert stats.kstest([each.p_value for each in detection], "uniform").pvalue > 0.01
    assert stats.kstest(stats.norm.sf(1.5 * z), "uniform").pvalue < 0.01


@pytest.mark.parametrize("name", ["green_list", "gumbel_max", "synthid"])
def test_the_key_finds_its_own_texts_and_no_others(name):
    watermark = corelm.sampler(name, key="a key")
    texts = corelm.generate(MODEL, "w1", sampler=watermark, length=60, n=8, seed=1)
    assert max(detect(watermark, text.text, VOCABULARY).p_value for text in texts) < 1e-3
    other = corelm.sampler(name, key="another key")
    assert min(detect(other, text.text, VOCABULARY).p_value for text in texts) > 1e-3


def test_the_watermark_is_found_in_a_chain():
    chain = corelm.sampler("top_k(k=3)") | KEY | corelm.sampler("stochastic")
    tokens = chain_of("green", 11)
    assert detect(chain, tokens, VOCABULARY) == detect(KEY, tokens, VOCABULARY)
    for wrong, count in ((corelm.sampler("stochastic"), 0), (KEY | KEY, 2)):
        with pytest.raises(UsageError, match=f"expected one watermark, .*, not {count}"):
            detect(wrong, tokens, VOCABULARY)


def test_p_values_by_length():
    tokens = [chain_of("green", 60), chain_of("red", 60), [2] * 30]
    detection = p_values([(KEY, text) for text in tokens], MODEL)
    assert [np.mean(p <= 0.01) for p in detection[:2]] == [1 / 3, 0.5]
    assert [len(p) for p in detection] == [3, 2, 0, 0]
    assert p_values([(KEY, [VOCABULARY.unknown] * 25)], MODEL)[0].tolist() == [1.0]


def test_a_repetitive_text_has_each_phrase_three_times():
    assert repetitive(list(range(10)), 3) == [0, 1, 2, 0, 1, 2, 0, 1, 2, 3]


def test_human_texts_are_spread_over_the_folder(tmp_path):
    for i in range(9):
        (tmp_path / f"{i}.txt").write_text(f"text {i}")
    assert human_texts(tmp_path, 3) == ["text 0", "text 4", "text 8"]
    assert len(human_texts(tmp_path, 100)) == 9
    with pytest.raises(UsageError, match=r"there are no \.txt files in"):
        human_texts(tmp_path / "none", 3)


@pytest.mark.slow
def test_the_tables(tmp_path):
    (tmp_path / "a.txt").write_text(" ".join(WORDS))
    plan = PowerPlan(
        texts=2,
        unmarked=2,
        human=str(tmp_path),
        temperatures=(1.0,),
        repeat=4,
        levels=(0.01, 0.001),
    )
    lines = list(tables(ToyModel(WORDS), plan))
    assert lines[0].split("  ")[0] == "detected at p <= 0.01 and 0.001"
    assert lines[0].split()[-2:] == ["200", "tokens"]
    assert [line.split("  ")[0] for line in lines[1:7:2]] == [
        "1 human texts, green_list",
        "1 human texts, gumbel_max",
        "1 human texts, synthid",
    ]
    assert lines[1].split()[-4].endswith("%")  # of two lengths; no human text has more tokens
    assert sum("%" in line for line in lines) == 2 * (3 + 3 * 2)
