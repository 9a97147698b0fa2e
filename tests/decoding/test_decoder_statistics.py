"""Every registered decoder that draws writes each text with its probability.

A new decoder is tested without a line here if `is_ancestral` or `is_deterministic` is true;
otherwise it needs the probabilities of its definition.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from itertools import product

import numpy as np
import pytest

import corelm
from corelm import Ancestral, Decoder, DecodingTask, RandomStream
from corelm.runs import Strategy, plugins
from corelm.testing import ToyModel, g_test, text_probabilities

pytestmark = pytest.mark.slow

Text = tuple[int, ...]
WORDS = ["a", "b", "c", "d"]
LOGITS = np.random.default_rng(2).normal(size=(7, 7)) * 1.2 - np.eye(7)[2]  # rarely the end
K, T, LENGTH = 4, 1.0, 2
TEXTS = 1200
MANY = 60_000  # texts of decoders that write them quickly


def probabilities(k: int = K, t: float = T, logits: np.ndarray = LOGITS) -> dict[Text, float]:
    """Return the probability of each text in ancestral sampling, with filter and temperature."""
    return text_probabilities(ToyModel(WORDS, logits), "", sampler=sampler(k, t), length=LENGTH)


def sampler(k: int = K, t: float = T) -> corelm.Sampler:
    """Return a chain that reads the text so far."""
    return corelm.sampler(f"frequency_penalty(penalty=0.5) | top_k(k={k}) | temperature(t={t})")


def to_the_power(k: int, t: float) -> dict[Text, float]:
    p = {text: q**2 for text, q in probabilities(k, t).items()}
    return {text: q / sum(p.values()) for text, q in p.items()}


def guided(k: int, t: float) -> dict[Text, float]:
    """Guide the first token away from those after "c": the toy model looks one token back."""
    nats = LOGITS - np.log(np.exp(LOGITS[:, 2:]).sum(axis=1, keepdims=True))
    after_c = nats[2 + 1 + WORDS.index("c")]
    nats[0] = after_c + 1.5 * (nats[0] - after_c)
    return probabilities(k, t, nats)


def best_of_two(k: int, t: float) -> dict[Text, float]:
    """Keep the likelier of two texts, by the model's own distribution."""
    model = text_probabilities(ToyModel(WORDS, LOGITS), "", sampler="stochastic", length=LENGTH)
    return kept(k, t, 2, lambda texts: [model[text] for text in texts])


def closest_of_three(k: int, t: float) -> dict[Text, float]:
    """Keep the text that is most like the other two."""

    def likeness(texts: Sequence[Text]) -> list[float]:
        a, b, c = texts
        ab, ac, bc = f_score(a, b), f_score(a, c), f_score(b, c)
        return [ab + ac, ab + bc, ac + bc]

    return kept(k, t, 3, likeness)


def elected_of_three(k: int, t: float) -> dict[Text, float]:
    """Keep the likeliest text of those whose last a or b most texts share, the first on ties."""
    model = text_probabilities(ToyModel(WORDS, LOGITS), "", sampler="stochastic", length=LENGTH)
    ids = ToyModel(WORDS, LOGITS).vocabulary.encode("a b")

    def elected(texts: Sequence[Text]) -> list[float]:
        answers = [next((i for i in reversed(text) if i in ids), None) for text in texts]
        counts = Counter(answer for answer in answers if answer is not None)
        winner = max(counts, key=lambda answer: counts[answer]) if counts else None
        alike = [answer == winner for answer in answers]
        return [model[text] if same else 0.0 for text, same in zip(texts, alike, strict=True)]

    return kept(k, t, 3, elected)


@cache
def f_score(a: Text, b: Text) -> float:
    """Return the mean F score of the n-grams of two texts of at most two tokens."""
    scores = [2 * (Counter(a) & Counter(b)).total() / (len(a) + len(b))]
    if LENGTH in (len(a), len(b)):
        scores.append(float(a == b))
    return sum(scores) / len(scores)


def kept(
    k: int, t: float, n: int, score: Callable[[Sequence[Text]], list[float]]
) -> dict[Text, float]:
    """Return the probability that a text is the first with the highest score of n."""
    p = probabilities(k, t)
    found = dict.fromkeys(p, 0.0)
    for texts in product(p, repeat=n):
        found[texts[int(np.argmax(score(texts)))]] += float(np.prod([p[text] for text in texts]))
    return found


DEFINITIONS: dict[str, tuple[str, Callable[[int, float], dict[Text, float]]]] = {
    "backtrack": ("backtrack", probabilities),  # nothing is banned
    "best_of": ("best_of(candidates=2, scorer='total_likelihood')", best_of_two),
    "guidance": ("guidance(negative='c')", guided),
    "mbr": ("mbr(candidates=3)", closest_of_three),
    "power": ("power(alpha=2, block=2, moves=25)", to_the_power),
    "stochastic_beam": ("stochastic_beam(width=1)", probabilities),  # the first has its p
    "vote": ("vote(candidates=3, pattern='a|b', scorer='total_likelihood')", elected_of_three),
}
"""A decoder with parameters, and the probabilities of its texts."""
QUICK = ("ancestral", "backtrack", "guidance")
ONE_A_RUN = ("arithmetic", "stochastic_beam")
"""Decoders whose samples of one run depend on each other."""


@cache
def decoder(name: str) -> Decoder:
    return Strategy.of(DEFINITIONS.get(name, (name,))[0]).decoder or Ancestral()


NAMES = sorted(
    offer.name
    for offer in plugins.registry().offers("corelm_decoders")
    if not decoder(offer.name).is_deterministic
)
ALPHA = 1e-6 / len(NAMES)  # Bonferroni's correction


def exact(name: str, k: int = K, t: float = T) -> dict[Text, float]:
    known = decoder(name).is_ancestral or name in DEFINITIONS
    assert known, f"{name} needs the probabilities of its texts"
    return DEFINITIONS.get(name, (name, probabilities))[1](k, t)


@cache
def counted(name: str) -> Counter[Text]:
    """Count the texts that a decoder writes."""
    many = MANY if name in QUICK else TEXTS
    batch = 1 if name in ONE_A_RUN else 1200
    found: Counter[Text] = Counter()
    for seed in range(many // batch):
        texts = np.full((batch, LENGTH), -1)
        stream = RandomStream(seed, range(batch))
        start = np.array([], dtype=np.int64)
        task = DecodingTask(ToyModel(WORDS, LOGITS), start, sampler(), stream, LENGTH)
        for step in decoder(name)(task):
            texts[step.samples, step.position] = step.tokens
        found.update(tuple(token for token in text if token >= 0) for text in texts.tolist())
    return found


# The scope puts the tests of one name next to each other: a worker counts its texts once.
@pytest.mark.parametrize("name", NAMES, scope="module")
def test_the_texts_follow_the_definition(name):
    assert sum(exact(name).values()) == pytest.approx(1)
    assert g_test(counted(name), exact(name)) > ALPHA


@pytest.mark.parametrize("name", NAMES, scope="module")
def test_a_filter_off_by_one_token_is_caught(name):
    assert g_test(counted(name), exact(name, k=K - 1)) < ALPHA


@pytest.mark.parametrize("name", sorted({*NAMES} & {*QUICK}), scope="module")
@pytest.mark.parametrize("t", [0.95 * T, 1.05 * T])
def test_a_temperature_five_percent_off_is_caught(name, t):
    assert g_test(counted(name), exact(name, t=t)) < ALPHA


@pytest.mark.parametrize(
    "name", sorted({"best_of", "guidance", "mbr", "power", "vote"} & {*NAMES}), scope="module"
)
def test_ancestral_sampling_instead_is_caught(name):
    assert g_test(counted(name), probabilities()) < ALPHA
