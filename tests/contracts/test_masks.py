"""Masks in a chain: they are never broken, and their cost is exact."""

from __future__ import annotations

import math

import numpy as np
import pytest

import corelm
from corelm import Chain, Context, Mask
from corelm.contracts.step import mass_of
from corelm.runs import chain_stages, plugins
from corelm.testing import ToyModel

NEVER = -math.inf


class Only(Mask):
    """Allow some ids, and after as many tokens as `until` only the end."""

    ids: tuple[int, ...] = corelm.param((), "the ids")
    until: int = corelm.param(9, "when the end is due")

    def allowed(self, context):
        allowed = np.zeros((context.batch, context.vocabulary_size), dtype=bool)
        allowed[
            :, list(context.vocabulary.ends) if context.position >= self.until else self.ids
        ] = True
        return allowed


MODEL = ToyModel(["a", "b", "c"], [0, 0, -1, 3, 2, 1])
END, A, B, C = range(2, 6)
P = np.exp([-1, 3, 2, 1]) / np.exp([-1, 3, 2, 1]).sum()  # of the end, a, b, c


def result(sampler, logits=(0.0, 0.0, -1.0, 3.0, 2.0, 1.0)):
    context = Context.of([[A]], prompt_length=1, vocabulary=MODEL.vocabulary)
    return chain_stages.apply(sampler, np.array([logits]), context)[0].tolist()


def test_a_mask_after_other_stages_takes_their_logits():
    halved = [NEVER, NEVER, NEVER, NEVER, 4.0, 2.0]
    assert result(corelm.sampler("temperature(t=0.5)") | Only(ids=(B, C))) == halved


def test_a_mask_that_empties_a_row_leaves_the_models_likeliest_allowed_token():
    assert result(corelm.sampler("top_k(k=1)") | Only(ids=(B, C))) == [
        NEVER, NEVER, NEVER, NEVER, 0.0, NEVER,
    ]  # fmt: skip
    assert result(corelm.sampler("ban", words=["b"]) | Only(ids=(B,)))[B] == 0.0


def test_rows_are_emptied_one_by_one():
    chain = corelm.sampler("top_k(k=1)") | Only(ids=(B, C))
    context = Context.of([[A], [A]], prompt_length=1, vocabulary=MODEL.vocabulary)
    logits = np.array([[0, 0, 0, 3, 2, 1], [0, 0, 0, 1, 2, 3.0]], dtype=np.float32)
    after = chain_stages.apply(chain, logits, context)
    assert after.dtype == np.float32
    assert after[:, [A, B, C]].tolist() == [[NEVER, 0.0, NEVER], [NEVER, NEVER, 3.0]]


def test_the_cost_is_the_sum_of_the_logarithms_of_the_masses():
    [text] = corelm.generate(MODEL, "a", sampler=Only(ids=(A, C), until=2), seed=1)
    assert text.text in (" a a", " a c", " c a", " c c")
    masses = [P[1] + P[3], P[1] + P[3], P[0]]
    assert [step.allowed_mass for step in text.steps] == pytest.approx(masses, rel=1e-12)
    assert text.constraint_cost == pytest.approx(-sum(map(math.log, masses)), rel=1e-12)
    assert (text.fallbacks, text.is_cut_off) == (0, False)


def test_stages_around_a_mask_do_not_change_its_cost():
    chain = (
        corelm.sampler("temperature(t=0.5) | top_k(k=3)")
        | Only(ids=(A, C))
        | corelm.sampler("top_k(k=1)")
    )
    [text] = corelm.generate(MODEL, "a", sampler=chain, length=1, seed=1)
    assert text.steps[0].allowed_mass == pytest.approx(P[1] + P[3], rel=1e-12)


def test_the_cost_is_what_the_constraint_adds_to_the_probability_of_a_text():
    """Under a mask alone, ln q(text) - ln p(text) is the cost of the text."""
    for text in corelm.generate(MODEL, "a", sampler=Only(ids=(B, C), until=3), n=5, seed=2):
        added = sum(step.model_surprisal - step.surprisal for step in text.steps)
        assert text.constraint_cost == pytest.approx(added, rel=1e-6)


def test_without_masks_there_is_no_cost():
    [text] = corelm.generate(MODEL, "a", sampler="top_k(k=2)", length=2, seed=1)
    assert (text.constraint_cost, text.steps[0].allowed_mass) == (None, 1.0)
    assert not corelm.sampler("top_k(k=2) | ban").has_masks  # a neutral mask is none


def test_fallbacks_are_counted():
    chain = corelm.sampler("top_k(k=1)") | Only(ids=(B, C), until=2)
    [text] = corelm.generate(MODEL, "a", sampler=chain, seed=1)
    assert (text.text, text.fallbacks) == (" b b", 3)
    [text] = corelm.generate(
        MODEL, "a", sampler=Only(ids=(B,)) | corelm.sampler("greedy"), length=3
    )
    assert text.fallbacks == 0


@pytest.mark.parametrize("decoder", ["ancestral", "beam"])
def test_every_decoders_texts_have_the_cost(decoder):
    pytest.importorskip("corelm_beam", reason="pip install ./plugins/corelm-beam")
    made = plugins.registry().decoder(decoder)()
    [text] = corelm.generate(MODEL, "a", sampler=Only(ids=(B,), until=1), decoder=made, seed=1)
    assert text.constraint_cost == pytest.approx(-math.log(P[2]) - math.log(P[0]), rel=1e-6)


def test_a_text_is_cut_off_where_a_mask_allows_no_end():
    def is_cut_off(model, token, length):
        sampler = Only(ids=(token,), until=2)
        [text] = corelm.generate(model, "a", sampler=sampler, seed=1, length=length)
        return text.is_cut_off

    assert is_cut_off(MODEL, A, length=1)
    assert not is_cut_off(MODEL, A, length=2)  # the end is allowed next
    assert not is_cut_off(MODEL, A, length=3)
    assert not is_cut_off(ToyModel(["a"], end=False), 2, length=1)  # no text of this model ends


def test_masks_that_agree_on_no_token_have_no_finite_cost():
    sampler = Only(ids=(A,)) | Only(ids=(B,))
    [text] = corelm.generate(MODEL, "a", sampler=sampler, length=1, seed=1)
    assert (text.text, text.steps[0].allowed_mass, text.constraint_cost) == (" b", 0.0, None)


def test_an_explanation_has_the_mass_of_each_mask():
    stages = corelm.explain(MODEL, "a", corelm.sampler("top_k(k=1)") | Only(ids=(B, C))).stages
    assert [stage.allowed_mass for stage in stages[:2]] == [None, None]
    assert stages[2].allowed_mass == pytest.approx(P[2] + P[3], rel=1e-12)
    assert [stage.fell_back for stage in stages] == [False, False, True]
    assert stages[2].ranked_tokens.tolist() == [B]
    [_, neutral] = corelm.explain(MODEL, "a", "ban").stages
    assert neutral.allowed_mass is None


def test_all_of_the_mass_is_exactly_one():
    rng = np.random.default_rng(1)
    for size in (3, 10, 1000):
        distribution = rng.random(size).astype(np.float32)
        assert mass_of(np.ones(size, dtype=bool), distribution) == 1.0


@pytest.mark.packages
def test_a_report_has_the_cost():
    document = corelm.compare(
        MODEL, [Only(ids=(B,), until=1), corelm.sampler("greedy")], prompts="a", n=2, length=3
    ).to_dict()
    masked, plain = (row["generated_texts"] for row in document["samplers"])
    assert masked["constraint_cost"] == pytest.approx(-math.log(P[2]) - math.log(P[0]), rel=1e-6)
    assert plain["constraint_cost"] is None


def test_masks_are_found_in_chains():
    assert Chain((corelm.sampler("greedy"), Only(ids=(A,)))).has_masks


# The same on every array library


CHAIN = corelm.sampler("top_k(k=1)") | Only(ids=(B, C))


def as_strict(array):
    return pytest.importorskip("array_api_strict", reason="pip install array-api-strict").asarray(
        array
    )


def as_torch(array):
    return pytest.importorskip("torch", reason="pip install torch").from_numpy(array)


@pytest.mark.parametrize("convert", [as_strict, as_torch])
@pytest.mark.parametrize("sampler", [CHAIN, Only(ids=(B, C)), Only(ids=(0,))])
def test_a_mask_is_the_same_on_every_array_library(convert, sampler):
    logits = np.array([[0, 0, 0, 3, 2, 1], [0, 0, 0, 1, 2, 3.0]], dtype=np.float32)
    context = Context.of([[A], [A]], prompt_length=1, vocabulary=MODEL.vocabulary)
    after = sampler(convert(logits), context)
    assert type(after) is type(convert(logits))
    assert np.asarray(after).tolist() == sampler(logits, context).tolist()


def test_where_the_model_rules_out_all_that_is_allowed_its_likeliest_token_stays():
    logits = np.array([[NEVER, 0, 0, 3, 2, 1.0]])
    context = Context.of([[A]], prompt_length=1, vocabulary=MODEL.vocabulary)
    assert (Only(ids=(0,))(logits, context) > NEVER).tolist() == [[i == A for i in range(6)]]


def test_a_mask_inside_a_choice_is_kept_as_in_the_chain():
    """It falls back to the model's likeliest allowed token."""
    chosen = corelm.sampler("phase", start=9, end=10, outside=Only(ids=(B, C)))
    assert result(corelm.sampler("top_k(k=1)") | chosen) == result(CHAIN)


def test_the_masks_of_a_batch_are_told_apart_by_row():
    """A choice lets a mask act in one row and nothing in the other."""
    chosen = corelm.sampler("phase", start=A, end=END, inside=Only(ids=(B,), until=1))
    decoding = corelm.DecodingTask(
        MODEL, np.array([A]), chosen, corelm.RandomStream(1, range(2)), 3
    ).start()
    decoding.next()
    decoding.advance(np.array([END, B]))
    allowed = decoding.next().allowed
    assert allowed.tolist() == [[True] * 6, [i == END for i in range(6)]]


# Each stage is called once a step


class Counted(Only):
    """Counts its calls."""

    def allowed(self, context):
        CALLS.append(context.batch)
        return super().allowed(context)


CALLS: list[int] = []


def test_the_cost_is_measured_without_a_second_call():
    CALLS.clear()
    model, sampler = ToyModel(["a", "b", "c"], end=False), Counted(ids=(3, 4), until=99)
    texts = corelm.generate(model, "a", sampler=sampler, n=4, length=10, seed=1)
    assert all(text.constraint_cost is not None for text in texts)
    assert CALLS == [4] * 10


def test_an_explanation_calls_each_stage_once():
    CALLS.clear()
    corelm.explain(MODEL, "a", corelm.sampler("top_k(k=2)") | Counted(ids=(B,)))
    assert CALLS == [1]
