"""Beam search, also in groups: what exhaustive search finds, and numbers worked out by hand."""

import itertools
from collections import Counter

import numpy as np
import pytest
from corelm_beam import Beam
from corelm_diverse_beam import DiverseBeam

import corelm
from corelm import DecodingTask, ParameterError, RandomStream
from corelm.testing import ToyModel, obeys_the_laws

INF = float("inf")
PADDING, UNKNOWN, END, A, B, C = range(6)


def model_of(**after):
    """A model of the words a, b and c: the probabilities of the end, a, b, c after each."""
    table = np.full((6, 6), -INF)
    table[:, A] = 0
    for word, probabilities in after.items():
        with np.errstate(divide="ignore"):
            table["..^abc".index(word), END:] = np.log(probabilities)
    return ToyModel(["a", "b", "c"], table)


def random_model(seed):
    return ToyModel(["a", "b", "c"], np.random.default_rng(seed).normal(size=(6, 6)) * 1.5)


def texts(model, sampler="stochastic", n=1, length=4, decoder=Beam, **parameters):
    """The tokens of the texts found."""
    results = corelm.generate(
        model, "a", sampler=sampler, length=length, n=n, seed=1, decoder=decoder(**parameters)
    )
    return [text.tokens for text in results]


def exhaustive(model, sampler, prompt, length, penalty):
    """All texts and their costs, the best first: every one is written and weighed."""
    first, sampler = model.vocabulary.encode(prompt), corelm.sampler(sampler)

    def cost(text):
        nats = 0.0
        for i, token in enumerate(text):
            past = [*first, *text[:i]]
            logits = model.start([past]).next_logits().copy()
            logits[:, [PADDING, UNKNOWN]] = -INF
            [p] = corelm.sampling_distribution(sampler, logits, past)
            nats -= np.log(p[token]) if p[token] > 0 else -INF
        return nats / len(text) ** penalty

    words = (A, B, C)
    whole = [[*t, END] for n in range(length) for t in itertools.product(words, repeat=n)]
    cut = map(list, itertools.product(words, repeat=length))
    costs = sorted((cost(text), text) for text in [*whole, *cut])
    return [(nats, text) for nats, text in costs if nats < INF]


@pytest.mark.slow
@pytest.mark.parametrize("penalty", [0.0, 0.7, 1.0])
@pytest.mark.parametrize(
    "sampler",
    [
        "stochastic",
        "temperature(t=0.5)",
        "repetition_penalty(penalty=1.5)",
        "no_repeat_ngram(n=2)",
        "uniform | frequency_penalty(penalty=0.3)",
    ],
)
def test_a_beam_as_wide_as_all_texts_is_exhaustive_search(sampler, penalty):
    for seed in range(3):
        model = random_model(seed)
        expected = exhaustive(model, sampler, "a b", 4, penalty)
        n = min(len(expected), 10)
        results = corelm.generate(
            model, "a b", sampler=sampler, length=4, n=n,
            decoder=Beam(width=200, length_penalty=penalty),
        )  # fmt: skip
        nats = [sum(s.surprisal for s in text.steps) for text in results]
        costs = [n / len(text.tokens) ** penalty for n, text in zip(nats, results, strict=True)]
        assert costs == pytest.approx([cost for cost, _ in expected[:n]])
        known = {tuple(text): cost for cost, text in expected}
        assert costs == pytest.approx([known[tuple(text.tokens)] for text in results])
        assert len({tuple(text.tokens) for text in results}) == n


# After a: b is likelier than c, but what follows c is surer.
MISLEADING = {"a": [0, 0, 0.6, 0.4], "b": [0, 0.4, 0.3, 0.3], "c": [0, 0, 0, 1.0]}


def test_the_first_tokens_that_it_keeps():
    model, sampler = model_of(a=(0.1, 0.2, 0.5, 0.2)), corelm.sampler("temperature(t=0.5)")
    task = DecodingTask(model, np.array([A]), sampler, RandomStream(1, [0]), 4)
    results = Beam(width=2).next_tokens(task)
    assert list(results) == [B, A]
    # squared: 0.01 + 0.04 + 0.25 + 0.04 = 0.34
    assert list(results.values()) == pytest.approx([np.log(0.25 / 0.34), np.log(0.04 / 0.34)])


def test_a_beam_finds_what_greedy_decoding_misses():
    model = model_of(**MISLEADING)
    assert texts(model, "greedy", length=2, width=1) == [[B, A]]  # 0.6 x 0.4 = 0.24
    assert texts(model, length=2, width=2) == [[C, C]]  # 0.4 x 1 = 0.4
    assert texts(model, length=2, width=2, n=2) == [[C, C], [B, A]]
    assert texts(model, length=2, width=4, n=4) == [[C, C], [B, A], [B, B], [B, C]]


@pytest.mark.parametrize("sampler", ["greedy", "stochastic", "repetition_penalty(penalty=1.3)"])
def test_a_beam_of_one_takes_the_likeliest_token_each_time(sampler):
    for seed in range(10):
        model = random_model(seed)
        likeliest = corelm.generate(model, "a", sampler=f"{sampler} | greedy", length=9, seed=1)
        assert texts(model, sampler, length=9, width=1) == [likeliest[0].tokens]


def test_greedy_leaves_one_text_however_wide_the_beam():
    model = random_model(0)
    [likeliest] = corelm.generate(model, "a", sampler="greedy", length=9)
    assert texts(model, "greedy", length=9, width=4, n=3) == [likeliest.tokens, [], []]


def test_the_length_penalty():
    # the end at once: ln 2 = 0.69; b and then the end: ln 2 + ln 1.25 = 0.92, by the length 0.46
    model = model_of(a=[0.5, 0, 0.5, 0], b=[0.8, 0.2, 0, 0])
    assert texts(model, width=4, length_penalty=0) == [[END]]
    assert texts(model, width=4, length_penalty=1, n=2) == [[B, END], [END]]
    assert texts(model, width=4, length=1, length_penalty=0, n=2) == [[END], [B]]


def test_a_text_that_has_ended_leaves_the_beam_narrower():
    # a beam of two: the end (0.5) and b (0.3), then b's one best way on alone
    model = model_of(a=[0.5, 0, 0.3, 0.2], b=[0.1, 0, 0.6, 0.3])
    assert texts(model, width=2, length=3, n=2, length_penalty=0) == [[END], [B, B, B]]


def test_a_model_without_an_end():
    model = ToyModel(["a", "b"], logits=np.log([1, 1, 0.25, 0.75]), end=False)
    first, second = texts(model, width=2, length=3, n=2)
    assert (first, sorted(second)) == ([3, 3, 3], [2, 3, 3])


@obeys_the_laws(
    Beam(width=2), Beam(width=5, length_penalty=0),
    DiverseBeam(), DiverseBeam(groups=1, width=2), DiverseBeam(diversity=9),
)  # fmt: skip
def test_law(decoder, law):
    law(decoder)


# Diverse beam search

PENALTY = corelm.sampler("frequency_penalty(penalty=0.4)")  # few texts have equal costs under it


def written_out(model, groups, width, diversity, length):
    """Return the texts of each group, searched side by side as in the paper's figure."""
    beams = [[(0.0, [])] for _ in range(groups)]
    finished = [[] for _ in range(groups)]
    for _ in range(length):
        counts = Counter()
        for group in range(groups):
            extensions = []
            for cost, text in beams[group]:
                logits = model.start([[A, *text]]).next_logits()
                logits[:, :2] = -np.inf
                p = corelm.sampling_distribution(PENALTY, logits, [A, *text])[0]
                for token in range(END, 6):
                    more = cost - np.log(p[token]) + diversity * counts[token]
                    extensions.append((more, [*text, token]))
            kept = sorted(extensions)[: width - len(finished[group])]
            finished[group] += [(cost, text) for cost, text in kept if text[-1] == END]
            beams[group] = [(cost, text) for cost, text in kept if text[-1] != END]
            counts.update(text[-1] for _, text in kept)
    ranked = (
        sorted((c / len(t), t) for c, t in [*f, *b]) for f, b in zip(finished, beams, strict=True)
    )
    return [[text for _, text in group] for group in ranked]


@pytest.mark.parametrize(
    ("groups", "width", "diversity"),
    [(3, 1, 0.5), (3, 2, 0.7), (2, 3, 5.0), (1, 4, 0.5), (3, 2, 0.0)],
)
def test_diverse_beam_search_is_its_definition(groups, width, diversity):
    for seed in range(5):
        expected = written_out(random_model(seed), groups, width, diversity, length=4)
        results = texts(
            random_model(seed), PENALTY, groups * width, decoder=DiverseBeam,
            groups=groups, width=width, diversity=diversity,
        )  # fmt: skip
        assert results == [expected[i % groups][i // groups] for i in range(groups * width)]


def test_diverse_texts_by_hand():
    # a costs 0.69, b 1.20, c 1.83, and a and b 0.6 more for each group that has them
    model = ToyModel(["a", "b", "c"], np.log([1, 1, 0.04, 0.5, 0.3, 0.16]))
    expected = [[A, A], [B, B], [A, A], [B, B], [C, C]]
    assert texts(model, n=5, length=2, decoder=DiverseBeam, groups=5, diversity=0.6) == expected


def test_at_most_as_many_diverse_texts_as_beginnings():
    with pytest.raises(ParameterError, match=r"groups \* width must be at least 7 to find 7 texts"):
        texts(random_model(0), n=7, decoder=DiverseBeam, groups=3, width=2)
