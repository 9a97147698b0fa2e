"""Receipts: honest ones are accepted, every planted change is found."""

import dataclasses

import numpy as np
import pytest
from corelm_replay import EntropyLog, Receipt, Rollouts, receipts, record, record_logits, verify
from replay_cases import drawn_batch

from corelm.errors import UsageError
from corelm.testing import ToyModel

CHAINS = (
    "stochastic",
    "top_p(p=0.8) | temperature(t=0.7)",
    "min_p(p=0.1) | repetition_penalty(penalty=1.3)",
    "mirostat(tau=1.5)",
    "adaptive_p(target=0.3)",
    "xtc(probability=0.5, threshold=0.1)",
    "greedy",
)


def drawn(chain="top_p(p=0.8) | temperature(t=0.7)", n=1, seed=1):
    return [receipt for _, receipt in receipts(ToyModel(), "the", sampler=chain, length=12, n=n,
                                               seed=seed)]  # fmt: skip


@pytest.mark.parametrize("chain", CHAINS)
def test_an_honest_receipt_is_accepted(chain):
    for receipt in drawn(chain, n=8):
        assert verify(Receipt.from_json(receipt.to_json()), ToyModel()) == []


@pytest.mark.parametrize("chain", CHAINS)
def test_it_is_accepted_by_an_engine_that_rounds(chain):
    for receipt in drawn(chain, n=8):
        assert verify(receipt, Rounds()) == []


class Rounds(ToyModel):
    """The toy model in an engine whose logits differ by up to 1e-4."""

    def next_token_distribution(self, tokens):
        p = np.asarray(super().next_token_distribution(tokens))
        noise = np.random.default_rng(len(tokens[0])).uniform(-1e-4, 1e-4, p.shape)
        changed = p * np.exp(noise)
        return changed / changed.sum(axis=-1, keepdims=True)


def test_a_set_from_which_nothing_was_removed_has_no_size():
    """Engines differ in the tokens that they never draw, such as padding."""
    [whole], [cut] = drawn("temperature(t=0.7)"), drawn("top_k(k=3)")
    assert set(whole.kept_size) == {0}
    assert set(cut.kept_size) == {3}


def changed_token(receipt, place, token):
    tokens = [*receipt.tokens]
    tokens[place] = token
    return dataclasses.replace(receipt, tokens=tokens)


def test_every_other_token_is_found_at_its_place():
    [receipt] = drawn("stochastic")
    for place in range(len(receipt.tokens)):
        for token in range(len(ToyModel().vocabulary)):
            if token != receipt.tokens[place]:
                found = verify(changed_token(receipt, place, token), ToyModel())
                assert found[0].place == place, (place, token)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 2},
        {"sample": 1},
        {"prompt_index": 1},
        {"chain": "top_p(p=0.8) | temperature(t=0.75)"},
        {"chain": "top_p(p=0.7) | temperature(t=0.7)"},
        {"prompt": [4]},
    ],
)
def test_another_origin_is_found(change):
    [receipt] = drawn()
    assert verify(dataclasses.replace(receipt, **change), ToyModel())


@pytest.mark.parametrize(("name", "more"), [("logprobs", 0.05), ("kept_mass", 0.05)])
def test_another_figure_is_found(name, more):
    [receipt] = drawn()
    numbers = [*getattr(receipt, name)]
    numbers[3] -= more
    [finding] = verify(dataclasses.replace(receipt, **{name: numbers}), ToyModel())
    assert finding.place == 3


def test_another_model_is_refused(monkeypatch):
    [receipt] = drawn()
    monkeypatch.setattr("corelm.load", lambda name: ToyModel(logits=[1.0] * 13))
    with pytest.raises(UsageError, match="another model than the receipt's"):
        verify(receipt)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": "corelm.receipt/1", "seed": 1}', '{"format": "other"}']
)
def test_another_document_is_refused(text):
    with pytest.raises(UsageError, match=r"receipt|format"):
        Receipt.from_json(text)


def test_impossible_values_are_refused():
    [receipt] = drawn()
    for change in ({"seed": -1}, {"tokens": [1.5]}, {"logprobs": []}, {"kept_size": ["x"]}):
        with pytest.raises(UsageError, match="not a receipt"):
            Receipt.from_json(dataclasses.replace(receipt, **change).to_json())


# ---- entropy over training ----


def test_a_log_finds_the_collapse_that_rollouts_show(tmp_path):
    log = EntropyLog(tmp_path / "entropy.jsonl")
    for step, t in enumerate((1.0, 0.9, 0.6, 0.3, 0.1)):
        colder = ToyModel(logits=(np.arange(13.0) / 3 / t).tolist())
        log.add(step, record(colder, ["the"], sampler="top_k(k=5)", n=4, seed=1), reward=step / 10)
    read = EntropyLog.read(tmp_path / "entropy.jsonl")
    assert read.steps == log.steps
    entropies = [step.model_entropy for step in read.steps]
    assert entropies == sorted(entropies, reverse=True)
    assert read.collapse() in (2, 3)
    assert "below half of its beginning at step" in read.table()[-1]
    assert EntropyLog().collapse() is None


def test_padding_that_the_mask_forgot_is_seen():
    logits, tokens, _, _ = drawn_batch("top_k(k=2)")
    whole = np.ones(tokens.shape)
    tokens[1, 7:] = logits[1, 3:].argmin(axis=-1)  # what an engine writes behind the end
    found = record_logits("top_k(k=2)", logits, tokens, prompt_length=4, mask=whole)
    entry = EntropyLog().add(0, found)
    assert entry.outside > 0
    assert np.isfinite(entry.surprisal)
    again = Rollouts.from_json(found.to_json())
    assert np.array_equal(again.logprobs, found.logprobs)
