"""Diverse beam search: the definition written out, and numbers worked out by hand."""

from collections import Counter

import numpy as np
import pytest
from corelm_diverse_beam import DiverseBeam

import corelm
from corelm import ParameterError
from corelm.testing import ToyModel, obeys_the_laws

END, A, B, C = range(2, 6)
SAMPLER = corelm.sampler("frequency_penalty(penalty=0.4)")  # few texts have equal costs under it


@obeys_the_laws(DiverseBeam(), DiverseBeam(groups=1, width=2), DiverseBeam(diversity=9))
def test_law(decoder, law):
    law(decoder)


def random_model(seed):
    return ToyModel(["a", "b", "c"], np.random.default_rng(seed).normal(size=(6, 6)) * 1.5)


def texts(model, n=1, sampler="stochastic", length=4, decoder=None, **parameters):
    results = corelm.generate(
        model, "a", sampler=sampler, length=length, n=n, seed=1,
        decoder=decoder or DiverseBeam(**parameters),
    )  # fmt: skip
    return [text.tokens for text in results]


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
                p = corelm.sampling_distribution(SAMPLER, logits, [A, *text])[0]
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
def test_it_is_the_definition(groups, width, diversity):
    for seed in range(5):
        expected = written_out(random_model(seed), groups, width, diversity, length=4)
        results = texts(
            random_model(seed),
            groups * width,
            SAMPLER,
            groups=groups,
            width=width,
            diversity=diversity,
        )
        assert results == [expected[i % groups][i // groups] for i in range(groups * width)]


def always(end, a, b, c):
    return ToyModel(["a", "b", "c"], np.log([1, 1, end, a, b, c]))


def test_by_hand():
    # a costs 0.69, b 1.20, c 1.83, and a and b 0.6 more for each group that has them
    model = always(0.04, 0.5, 0.3, 0.16)
    expected = [[A, A], [B, B], [A, A], [B, B], [C, C]]
    assert texts(model, 5, length=2, groups=5, diversity=0.6) == expected


def test_at_most_as_many_texts_as_beginnings():
    with pytest.raises(ParameterError, match=r"groups \* width must be at least 7 to find 7 texts"):
        texts(random_model(0), 7, groups=3, width=2)
