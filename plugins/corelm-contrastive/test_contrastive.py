"""Contrastive search: the numbers worked out by hand, and the definition written out."""

import numpy as np
import pytest
from corelm_contrastive import Contrastive
from small_models import only_forward

import corelm
from corelm import DecodingTask, ParameterError, RandomStream
from corelm.testing import ToyModel, obeys_the_laws

END, A, B, C = range(2, 6)


def tokens(model, prompt="a", sampler="stochastic", length=4, n=1, **parameters):
    [first, *others] = corelm.generate(
        model,
        prompt,
        sampler=sampler,
        length=length,
        n=n,
        seed=1,
        decoder=Contrastive(**parameters),
    )
    assert all(text.tokens == first.tokens for text in others)
    return first.tokens


def always(end, a, b, c):
    """A model of three words, whose next token does not depend on what is there."""
    return ToyModel(["a", "b", "c"], np.log([1, 1, end, a, b, c]))


# The hidden state of the toy model is its last token: a token that is there already is exactly
# like what came before (1), any other is nothing like it (0). So a candidate scores
# (1 - alpha) p, less alpha if the token is there already.


@pytest.mark.parametrize(
    ("alpha", "expected"),
    [
        # a again: 0.9 x 0.6 - 0.1 = 0.44, against b with 0.9 x 0.3 = 0.27
        (0.1, [A, A, A, A]),
        # a again: 0.7 x 0.6 - 0.3 = 0.12; b: 0.7 x 0.3 = 0.21; then c 0.7 x 0.06 = 0.042, but
        # 0.12 for a again
        (0.3, [B, A, A, A]),
        # a again: 0.5 x 0.6 - 0.5 = -0.2; b: 0.15; then c: 0.03; then the end: 0.02
        (0.5, [B, C, END]),
    ],
)
def test_by_hand(alpha, expected):
    assert tokens(always(0.04, 0.6, 0.3, 0.06), alpha=alpha, k=4) == expected


def test_the_scores_of_the_next_token():
    model = always(0.04, 0.6, 0.3, 0.06)
    task = DecodingTask(model, np.array([A]), corelm.sampler("stochastic"), RandomStream(1, [0]), 4)
    scores = Contrastive(alpha=0.3, k=4).next_tokens(task)
    assert list(scores) == [B, A, C, END]  # the best first
    assert list(scores.values()) == pytest.approx([0.21, 0.12, 0.042, 0.028])
    assert list(Contrastive(alpha=0.3, k=2).next_tokens(task)) == [B, A]


def test_only_the_k_likeliest_are_candidates():
    model = always(0.04, 0.6, 0.3, 0.06)
    assert tokens(model, alpha=0.5, k=1) == [A, A, A, A]
    # b, and then a again as the less unlikely of two repetitions: 0.5 x 0.6 - 0.5 = -0.2
    assert tokens(model, alpha=0.5, k=2) == [B, A, A, A]


def test_the_prompt_counts_as_what_came_before():
    model = always(0.04, 0.6, 0.3, 0.06)
    assert tokens(model, "b c", alpha=0.5, length=2) == [A, END]
    assert tokens(model, "", alpha=0.5, length=3) == [A, B, C]


def test_the_candidates_are_those_of_the_sampler():
    model = always(0.04, 0.6, 0.3, 0.06)
    ban = "logit_bias(bias={'b': -inf})"
    assert tokens(model, sampler=ban, alpha=0.5, length=2) == [C, END]
    assert tokens(model, sampler="greedy", alpha=0.9, length=2) == [A, A]


@pytest.mark.slow
def test_without_the_penalty_it_is_greedy():
    model = corelm.load("imdb")
    options = {"length": 120, "seed": 1}  # past the context
    [greedy] = corelm.generate(model, "This movie", sampler="greedy", **options)
    assert tokens(model, "This movie", length=120, alpha=0) == greedy.tokens
    assert tokens(model, "This movie", length=120, k=1) == greedy.tokens


def written_out(model, prompt, sampler, k, alpha, length):
    """The definition, for which every text is read from its beginning."""
    text, sampler = model.vocabulary.encode(prompt), corelm.sampler(sampler)

    def states(ids):
        hidden = model.start([ids]).hidden_states(len(ids))[0].astype(float)
        return hidden / np.linalg.norm(hidden, axis=1, keepdims=True)

    for _ in range(length):
        logits = model.start([text]).next_logits().copy()
        logits[:, [model.vocabulary.padding, model.vocabulary.unknown]] = -np.inf
        [p] = corelm.sampling_distribution(sampler, logits, text)
        candidates = np.argsort(-p, kind="stable")[:k]
        scores = []
        for v in candidates:
            *before, last = states([*text, v])
            scores.append((1 - alpha) * p[v] - alpha * max(state @ last for state in before))
        text.append(int(candidates[np.argmax(scores)]))
    return text[-length:]


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["stochastic", "temperature(t=0.7) | min_p(p=0.05)"])
def test_it_is_the_definition(sampler):
    model = corelm.load("imdb")
    expected = written_out(model, "The plot", sampler, k=5, alpha=0.6, length=25)
    assert tokens(model, "The plot", sampler, 25, k=5, alpha=0.6) == expected
    assert len(set(expected)) > 20  # it repeats next to nothing


def test_a_model_that_hides_its_states():
    with pytest.raises(ParameterError, match=r"does not offer; choose another decoder$"):
        tokens(only_forward(ToyModel()), "the")


@obeys_the_laws(Contrastive(), Contrastive(k=1), Contrastive(alpha=1))
def test_law(decoder, law):
    law(decoder)
