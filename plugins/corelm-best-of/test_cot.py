"""Chain-of-thought decoding: its paths, its margins, and the path that is kept."""

import numpy as np
import pytest
from corelm_cot import CoT, Path, margins_of, paths

import corelm
from corelm import DecodingTask, ParameterError, RandomStream
from corelm.errors import UsageError
from corelm.testing import ToyModel, obeys_the_laws

MODEL = ToyModel()
ANIMAL = "cat|dog|mat"


@obeys_the_laws(CoT(), CoT(k=8, pattern=ANIMAL, aggregate=True))
def test_law(decoder, law):
    law(decoder)


def distribution(tokens):
    """The probabilities after some tokens, from the stateless model."""
    p = MODEL.next_token_distribution(np.array([tokens])).copy()[0]
    p[[MODEL.vocabulary.unknown, MODEL.vocabulary.padding]] = 0
    return p / p.sum()


def task(length=6, model=MODEL, sampler="stochastic"):
    prompt = np.array(model.vocabulary.encode("the"))
    return DecodingTask(model, prompt, corelm.sampler(sampler), RandomStream(0, [0]), length)


def test_each_path_is_greedy_after_its_first_token():
    """Against a plain loop over the stateless model, for every possible first token."""
    prompt, end = MODEL.vocabulary.encode("the"), min(MODEL.vocabulary.ends)
    first = np.argsort(-distribution(prompt), kind="stable")
    results = paths(task(), 20, ANIMAL)
    assert len(results) == (distribution(prompt) > 0).sum()
    for token, path in zip(first, results, strict=False):
        tokens, margins = [], []
        while len(tokens) < 6 and end not in tokens:
            p = distribution([*prompt, *tokens])
            top = np.sort(p)[::-1]
            margins.append(top[0] - top[1])
            tokens.append(int(p.argmax()) if tokens else int(token))
        assert path.tokens == tokens
        words = [MODEL.vocabulary.words[t] for t in tokens]
        places = [i for i, word in enumerate(words) if word in ("cat", "dog", "mat")]
        if places:
            assert path.answer == words[places[-1]]
            assert path.margin == pytest.approx(margins[places[-1]])
        else:
            assert (path.answer, path.margin) == (None, 0.0)


def test_an_answer_of_several_tokens_has_the_mean_of_their_margins():
    [path, *_] = paths(task(4), 3, "cat sat|sat on the")
    prompt = MODEL.vocabulary.encode("the")
    tops = [np.sort(distribution([*prompt, *path.tokens[:i]]))[::-1] for i in range(4)]
    margins = [top[0] - top[1] for top in tops]
    assert path.answer == "cat sat"
    assert path.margin == pytest.approx(np.mean(margins[:2]))
    [path, *_] = paths(task(4), 3, "on the")
    assert path.margin == pytest.approx(np.mean(margins[2:4]))


def test_the_margins():
    p = np.random.default_rng(1).dirichlet(np.ones(9), size=50)
    two = np.sort(p, axis=1)[:, -2:]
    assert margins_of(np.log(p)) == pytest.approx(two[:, 1] - two[:, 0], abs=1e-12)
    assert margins_of(np.zeros((1, 1))).tolist() == [1.0]


PATHS = [
    Path([1], "a", 0.5),
    Path([2], None, 0.0),
    Path([3], "b", 0.4),
    Path([4], "b", 0.3),
    Path([5], "a", 0.5),
    Path([6], "c", 0.9),
]


def test_the_surest_answer_comes_first():
    assert [path.tokens[0] for path in CoT().ranked(PATHS)] == [6, 1, 5, 3, 4, 2]


def test_margins_of_equal_answers_add_up():
    """a has 1.0, c 0.9, b 0.7."""
    assert [path.tokens[0] for path in CoT(aggregate=True).ranked(PATHS)] == [1, 5, 6, 3, 4, 2]


def test_texts_are_the_paths_by_rank():
    decoder = CoT(k=4, pattern=ANIMAL)
    expected = decoder.ranked(paths(task(), 4, ANIMAL))
    texts = corelm.generate(
        MODEL, "the", sampler="stochastic", length=6, n=4, decoder=decoder, seed=9
    )
    assert [text.tokens for text in texts] == [path.tokens for path in expected]


def test_a_sampler_that_leaves_two_tokens_leaves_two_paths():
    assert len(paths(task(sampler="top_k(k=2)"), 10, ANIMAL)) == 2
    assert len(paths(task(sampler="greedy"), 10, ANIMAL)) == 1


def test_its_first_tokens_are_explained():
    tokens = CoT(k=3).next_tokens(task())
    p = distribution(MODEL.vocabulary.encode("the"))
    assert list(tokens) == np.argsort(-p, kind="stable")[:3].tolist()
    assert list(tokens.values()) == pytest.approx(np.log(np.sort(p)[::-1][:3]))


def test_values_that_are_refused():
    with pytest.raises(ParameterError, match="k must be at least 3 to find 3 texts, not 2"):
        corelm.generate(MODEL, "the", sampler="stochastic", length=3, n=3, decoder=CoT(k=2))
    with pytest.raises(UsageError, match="matches the empty text"):
        CoT(pattern="x*")
