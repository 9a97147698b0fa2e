"""One next token, stage by stage."""

from __future__ import annotations

import math

import numpy as np
import pytest

import corelm
from corelm import Sampler, explain
from corelm.errors import SamplerError, UsageError
from corelm.questions.explanation import ExplainedToken
from corelm.testing import ToyModel

P = (0.4, 0.3, 0.2, 0.1)
WORDS = ("north", "south", "east", "west")
NORTH, SOUTH, EAST, WEST = 2, 3, 4, 5


@pytest.fixture
def model():
    """Four words whose probabilities are the ones above, after every token."""
    return ToyModel(WORDS, logits=[9.0, 9.0, *np.log(P)], end=False)


CHAIN = "top_k(k=3) | top_p(p=0.7) | temperature(t=0.5)"
"""0.4 0.3 0.2 0.1, then 4/9 3/9 2/9 0, then 4/7 3/7 0 0, then 16/25 9/25 0 0."""


def test_every_stage_has_its_distribution(model):
    shares = [stage.distribution[2:] for stage in explain(model, "north", CHAIN).stages]
    assert shares[0] == pytest.approx(P)
    assert shares[1] == pytest.approx([4 / 9, 3 / 9, 2 / 9, 0])
    assert shares[2] == pytest.approx([4 / 7, 3 / 7, 0, 0])
    assert shares[3] == pytest.approx([16 / 25, 9 / 25, 0, 0])


def test_padding_and_the_unknown_word_are_not_in_play(model):
    assert explain(model, "north", "stochastic").stages[0].tokens_kept == 4
    with_unknown = explain(model, "north", "stochastic", unknown=True)
    assert with_unknown.stages[0].tokens_kept == 5
    assert with_unknown.stages[0].rank(1) == 1


def test_the_kept_and_the_removed_tokens(model):
    stages = explain(model, "north", CHAIN).stages
    assert [stage.tokens_kept for stage in stages] == [4, 3, 2, 2]
    assert [stage.removed_tokens.tolist() for stage in stages] == [[], [WEST], [EAST], []]
    # of what was there before: 0.1, then 2/9
    assert [stage.removed_mass for stage in stages] == pytest.approx([0, 0.1, 2 / 9, 0])
    # of the model: 0.4 + 0.3 + 0.2, then 0.4 + 0.3
    assert [stage.mass_kept for stage in stages] == pytest.approx([1, 0.9, 0.7, 0.7])


def test_entropy_in_nats_and_bits_and_as_a_number_of_choices(model):
    stages = explain(model, "north", "uniform | greedy").stages
    assert [stage.entropy for stage in stages] == pytest.approx([1.27985, math.log(4), 0], abs=1e-5)
    assert [stage.entropy_bits for stage in stages] == pytest.approx([1.84644, 2, 0], abs=1e-5)
    assert [stage.effective_choices for stage in stages] == pytest.approx([3.5961, 4, 1], abs=1e-4)


def test_a_stage_that_does_nothing_says_so_exactly(model):
    stages = explain(model, "north", "top_k(k=0) | temperature(t=1) | greedy | greedy").stages
    assert [stage.changed for stage in stages] == [False, False, False, True, False]
    assert stages[1].mass_kept == 1.0
    assert stages[1].removed_mass == 0.0


def test_the_removed_tokens_come_likeliest_first_and_by_id_on_ties():
    model = ToyModel(WORDS, logits=[0, 0, 1.0, 2.0, 3.0, 1.0], end=False)
    assert explain(model, "", "greedy").stages[1].removed_tokens.tolist() == [SOUTH, NORTH, WEST]


def test_a_word_on_its_way(model):
    explanation = explain(model, "north", CHAIN)
    east = explanation.trace("east")
    assert east == ExplainedToken(
        EAST, " east", east.probabilities, (3, 3, None, None), removed_by=2
    )
    assert east.probabilities == pytest.approx((0.2, 2 / 9, 0, 0))
    assert explanation.trace(SOUTH).removed_by is None
    assert explanation.trace(SOUTH).ranks == (2, 2, 2, 2)


def test_ranks_are_unique_the_lowest_id_first():
    model = ToyModel(WORDS, logits=[0, 0, 1.0, 2.0, 1.0, 1.0], end=False)
    stage = explain(model, "", "stochastic").stages[0]
    assert [stage.rank(i) for i in range(6)] == [None, None, 2, 1, 3, 4]


def test_no_stage_removed_a_token_that_could_never_be_drawn(model):
    padding = explain(model, "north", CHAIN).trace(0)
    assert (padding.probabilities, padding.ranks) == ((0.0,) * 4, (None,) * 4)
    assert padding.removed_by is None


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("up", "does not have 'up'"),
        ("north south", "is 2 tokens"),
        ("", "does not have ''"),
        (6, "there is no token 6"),
        (-1, "there is no token -1"),
    ],
)
def test_a_word_that_is_not_a_token(model, word, sentence):
    with pytest.raises(UsageError, match=sentence):
        explain(model, "north", CHAIN).trace(word)


def test_the_likeliest_of_the_model_and_of_the_end(model):
    """Xtc drops the two likeliest of the three that reach 0.2."""
    explanation = explain(model, "north", "xtc(probability=1, threshold=0.15)")
    assert [f.token for f in explanation.likeliest(1)] == [NORTH, EAST]
    assert [f.token for f in explanation.likeliest(2)] == [NORTH, SOUTH, EAST, WEST]
    assert len(explanation.likeliest(99)) == 4
    assert explanation.likeliest(0) == []


def test_the_words_are_what_they_would_add_to_the_text():
    model = ToyModel()
    explanation = explain(model, "the", "greedy")
    assert [f.text for f in explanation.likeliest(2)] == [" cat", " dog"]
    assert [f.text for f in explain(model, "", "greedy").likeliest(1)] == ["the"]
    assert explanation.text_of(model.vocabulary.start) == ""


def test_stages_see_the_prompt(model):
    for prompt, kept in (("north", 3), ("north south", 2)):
        ban = explain(model, prompt, "no_repeat_ngram(n=1)").stages[1]
        assert ban.tokens_kept == kept


def test_a_decoder_says_which_tokens_it_considers(model):
    class Looks(corelm.Ancestral):
        """The ordinary decoder, which names what it sees."""

        def next_tokens(self, task):
            logits = task.start().next().logits[0]
            return {int(logits.argmax()): 0.25}

    assert explain(model, "north", "greedy", decoder=Looks()).next_tokens == {NORTH: 0.25}
    assert explain(model, "north", "greedy").next_tokens is None


def test_a_stage_that_fails_is_named(model):
    class Broken(Sampler):
        """Give back nothing."""

        def __call__(self, logits, context):
            return None

    with pytest.raises(SamplerError, match="broken returned NoneType instead of an array"):
        explain(model, "north", Broken())


def test_its_arrays_are_read_only(model):
    stage = explain(model, "north", "greedy").stages[1]
    for array in (stage.logits, stage.removed_tokens):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


# After drawn tokens


@pytest.mark.parametrize("chain", ["mirostat(tau=2)", "top_k(k=5) | adaptive_p", "min_p | greedy"])
def test_a_later_step_is_the_one_that_generation_draws_from(chain):
    model = ToyModel()
    steps = list(corelm.stream(model, "the", sampler=chain, length=6, seed=2))
    for count, drawn in enumerate(steps):
        explanation = corelm.explain(model, "the", chain, step=count, seed=2)
        assert explanation.after == "".join(step.text for step in steps[:count])
        assert np.array_equal(explanation.stages[0].logits, drawn.model_logits[0])
        assert np.array_equal(explanation.stages[-1].logits, drawn.logits[0])
        before = [int(step.tokens[0]) for step in steps[:count]]
        ids = corelm.explain(model, "the", chain, after=before)
        assert (ids.tokens, ids.after) == (explanation.tokens, explanation.after)
        np.testing.assert_array_equal(ids.stages[-1].logits, explanation.stages[-1].logits)
        text = corelm.explain(model, "the", chain, after=explanation.after)
        assert np.array_equal(text.stages[-1].logits, drawn.logits[0])


def test_a_text_that_the_sampler_cannot_draw_has_no_surprisal():
    """Mirostat sums surprisals, and one that is infinite would leave it no way back."""
    explanation = corelm.explain(ToyModel(), "the", "top_k(k=1) | mirostat(tau=2)", after=" mat .")
    assert np.isfinite(explanation.stages[-1].entropy)
    assert explanation.tokens == tuple(ToyModel().vocabulary.encode("the mat ."))


def test_a_step_without_a_seed_has_a_fresh_one():
    first = corelm.explain(ToyModel(end=False), "the", "stochastic", step=2)
    again = corelm.explain(ToyModel(end=False), "the", "stochastic", step=2, seed=first.seed)
    assert first.tokens == again.tokens
    assert corelm.explain(ToyModel(end=False), "the", "stochastic").seed is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"step": -1}, "at least 0"),
        ({"step": 1, "after": " cat"}, "0 with a text after"),
        ({"after": [99]}, "99"),
        ({"step": 1, "decoder": corelm.Ancestral()}, "leave out the decoder"),
        ({"step": 100, "seed": 1}, r"the text ends after \d+ tokens; explain a step up to \d+"),
    ],
)
def test_steps_that_cannot_be_explained_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        corelm.explain(ToyModel(), "the", "stochastic", **options)


def test_a_part_of_a_character_is_named_by_its_bytes():
    model = corelm.load("gpt2")
    first, second, third = model.vocabulary.encode("猫")
    before = explain(model, "This", "greedy")
    assert [before.text_of(each) for each in (first, second)] == ["<0xE7>", "<0x8C>"]
    inside = explain(model, "This", "greedy", after=[first, second])
    assert inside.text_of(third) == "猫"
