"""Rollouts: what a generation records, and what an engine's logits record."""

import numpy as np
import pytest
from corelm_replay import Rollouts, audit, chain_logprobs, record, record_logits
from corelm_replay.ratios import CHAINS, audit_of, trainer_logits
from replay_cases import drawn_batch

import corelm
from corelm.testing import ToyModel

CHAIN = "repetition_penalty(penalty=1.2) | top_k(k=5) | temperature(t=0.8)"


def rollouts_of(**options):
    given = {"sampler": CHAIN, "length": 6, "n": 3, "seed": 1} | options
    return record(ToyModel(), ["the cat", "a"], **given)


def test_a_recording_is_the_generation_with_its_figures():
    found = rollouts_of()
    texts = corelm.generate(ToyModel(), "the cat", sampler=CHAIN, length=6, n=3, seed=1)
    assert found.texts[:3] == [ToyModel().vocabulary.decode(text.tokens) for text in texts]
    for row, text in enumerate(texts):
        assert found.ids(row)[1] == text.tokens
        steps = text.steps
        length = len(steps)
        np.testing.assert_allclose(found.logprobs[row, :length], [-s.surprisal for s in steps],
                                   atol=1e-6)  # fmt: skip
        np.testing.assert_allclose(found.entropy[row, :length], [s.entropy for s in steps],
                                   atol=1e-6)  # fmt: skip
    assert (found.kept_size[found.drawn] <= 5).all()
    assert ((found.kept_mass[found.drawn] > 0) & (found.kept_mass[found.drawn] <= 1)).all()


def test_its_replay_needs_nothing_but_the_logits():
    found, model = rollouts_of(), ToyModel()
    logits = trainer_logits(model, found)
    replayed = chain_logprobs(found.chain, logits, found.tokens, mask=found.mask,
                              prompt_length=found.prompt_length)  # fmt: skip
    np.testing.assert_allclose(replayed, found.logprobs, atol=1e-6)


def test_a_document_holds_all_of_it():
    found = rollouts_of()
    again = Rollouts.from_json(found.to_json())
    for name in ("tokens", "mask", "logprobs", "kept_mass", "kept_size", "entropy"):
        assert np.array_equal(getattr(again, name), getattr(found, name)), name
    assert again.kept.lists() == found.kept.lists()
    assert (again.chain, again.seed) == (found.chain, 1)


def test_an_engines_logits_record_the_same():
    logits, tokens, mask, drawn_with = drawn_batch("top_k(k=4) | temperature(t=0.7)")
    found = record_logits("top_k(k=4) | temperature(t=0.7)", logits, tokens, prompt_length=4,
                          mask=mask)  # fmt: skip
    np.testing.assert_allclose(found.logprobs, drawn_with, atol=1e-9)
    assert (found.kept_size[found.drawn] == 4).all()
    assert np.array_equal(found.tokens * found.mask, tokens * mask)


def test_the_causes_add_up_to_the_whole_difference():
    logits, tokens, mask, drawn_with = drawn_batch(CHAIN)
    found = audit(CHAIN, logits, tokens, drawn_with, prompt_length=4, mask=mask)
    plain = chain_logprobs("stochastic", logits, tokens, prompt_length=4, mask=mask)
    whole = (drawn_with - plain)[mask[:, 4:] != 0]
    np.testing.assert_allclose(sum(found.differences.values()), whole, atol=1e-9)
    np.testing.assert_allclose(found.plain_ratios, np.exp(-whole), atol=1e-9)
    figures = found.figures()
    assert figures["replayed_outside"] == 0 < figures["ratios_outside"]
    assert figures["penalties"] > 0 < figures["lost_mass"]


def test_a_token_outside_the_set_is_counted_once():
    logits = np.log([[[0.5, 0.3, 0.2]]])
    found = audit("top_k(k=2) | temperature(t=0.5)", logits, [[0, 2]], [[-1.0]], prompt_length=1)
    assert found.outside_set.all()
    assert found.replayed_ratios.tolist() == [0.0]
    assert found.differences["lost mass"].tolist() == [0.0]
    assert found.differences["tokens outside the set"][0] == pytest.approx(-1 - np.log(0.2))


def test_the_chains_of_the_table_have_no_ratio_outside_with_replay():
    assert len(CHAINS) == 20
    for chain in ("mirostat(tau=2)", "xtc(probability=0.5, threshold=0.1)", CHAIN):
        rollouts = record(ToyModel(), ["the"], sampler=chain, length=8, n=4, seed=1)
        assert audit_of(rollouts, chain, ToyModel()).figures()["replayed_outside"] == 0
