"""Receipts: honest ones are accepted, every planted change is found."""

import dataclasses
import itertools
import json

import numpy as np
import pytest
from corelm_replay import (
    EntropyLog,
    Receipt,
    Rollouts,
    audit,
    receipts,
    record,
    record_logits,
    verify,
)
from corelm_replay.verification import TOLERANCE, engine_distances
from honest_receipts import neighbour
from replay_cases import drawn_batch

import corelm
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


def rounding(nats, model=None):
    """Return a toy model in an engine whose logits differ by a deviation of `nats`."""
    model = model or ToyModel()
    own = model.start(np.arange(len(model.vocabulary))[:, None]).next_logits()
    return ToyModel(logits=own + nats * np.random.default_rng(1).standard_normal(own.shape))


SINGLE_PRECISION, COARSE = 1e-6, 5e-4
"""The distances of engines: most of them, and llama.cpp, which has GELU in half precision."""


@pytest.mark.parametrize("nats", [SINGLE_PRECISION, COARSE])
@pytest.mark.parametrize("chain", [*CHAINS, "typical(p=0.7)", "top_k(k=9) | top_p(p=0.95)"])
def test_it_is_accepted_by_an_engine_that_rounds(chain, nats):
    for receipt in drawn(chain, n=12, seed=3):
        assert verify(receipt, rounding(nats)) == []


def test_the_distance_of_two_engines_is_read_from_the_other_tokens():
    moves = np.array([1e-4, -1e-4] * 200 + [0.1])
    distances = engine_distances(moves, TOLERANCE)
    assert distances[0] > 9e-4
    assert 1e-4 < distances[-1] < 2e-4  # the changed token does not excuse itself
    assert engine_distances([0.1], TOLERANCE) == [TOLERANCE]  # nothing is known of other tokens
    distances = engine_distances([0.0, 0.0, 0.005, 0.01, 0.001], TOLERANCE)
    assert distances[2] == 0  # nor do the tokens after it, before which the model reads another
    assert all(distances[[0, 1, 3, 4]] > 0)


def forged(receipt, change):
    """Return a receipt with one change, at a place that differs from text to text."""
    place = receipt.sample % len(receipt.tokens)
    if change == "token":
        return changed_token(receipt, place, (receipt.tokens[place] + 6) % 13)
    if change == "seed":
        return dataclasses.replace(receipt, seed=receipt.seed + 1)
    return changed_figure(receipt, place, change, 0.1)


@pytest.mark.parametrize("change", ["token", "logprobs", "model_logprobs", "kept_mass", "seed"])
def test_a_change_is_found_by_an_engine_that_rounds(change):
    for receipt in drawn("top_k(k=9) | temperature(t=0.8)", n=24, seed=5):
        assert verify(forged(receipt, change), rounding(COARSE)), receipt.sample


RARE = ToyModel(logits=[0.0] * 12 + [-1.5])
"""The logit of token 12 lies 3.5 deviations below the mean of all."""
EDGE = ToyModel(logits=[-5.0] * 7 + [0.0] + [1.0] * 5)
"""Token 7 is at the edge of `AT_EDGE`: rounding may drop it from a set of six."""
AT_EDGE = "min_p(p=0.3678)"


@pytest.mark.parametrize(
    ("model", "chain", "more"), [(RARE, "temperature(t=0.7)", 0.05), (EDGE, AT_EDGE, 0.1)]
)
def test_a_change_is_found_where_rounding_moves_a_log_probability_as_far(model, chain, more):
    token, other = 12, rounding(COARSE, model)
    texts = receipts(model, [4], sampler=chain, n=40, length=8, seed=1)
    having = [receipt for _, receipt in texts if token in receipt.tokens]
    assert having
    for receipt in having:
        assert verify(receipt, other) == []
        place = receipt.tokens.index(token)
        found = verify(changed_figure(receipt, place, "logprobs", more), other)
        assert [finding.place for finding in found] == [place]


def test_a_distance_above_the_tolerance_is_no_rounding():
    for receipt in drawn("temperature(t=0.7)", n=8):
        assert verify(receipt, rounding(20 * TOLERANCE))
        assert verify(receipt, rounding(COARSE), tolerance=COARSE / 20)


def test_a_set_from_which_nothing_was_removed_has_no_size():
    """Engines differ in the tokens that they never draw, such as padding."""
    [whole], [cut] = drawn("temperature(t=0.7)"), drawn("top_k(k=3)")
    assert set(whole.kept_size) == {0}
    assert set(cut.kept_size) == {3}


@pytest.mark.parametrize("chain", ["top_p(p=0.9)", "temperature(t=1.0)", "min_p(p=0.05)"])
def test_the_neighbour_of_a_token_is_found(chain):
    """Its figures are honest, and so are the tokens after it: only its random number isn't."""
    model = corelm.load("imdb")
    texts = receipts(model, "This movie", sampler=chain, length=8, n=4, seed=1)
    for _, receipt in texts:
        assert verify(receipt, model) == []
        for place, side in itertools.product(range(len(receipt.tokens)), (1, -1)):
            forged = neighbour(model, receipt, place, side)
            if forged is not None:
                assert [each.place for each in verify(forged, model)] == [place]


def test_a_forger_gains_little_where_an_engine_rounds():
    """In an engine in single precision, the random number must be as close as its rounding."""
    model, other = ToyModel(), rounding(SINGLE_PRECISION)
    passed = []
    for receipt in drawn("temperature(t=0.8)", n=40, seed=7):
        place = receipt.sample % len(receipt.tokens)
        forged = neighbour(model, receipt, place, 1 - 2 * (receipt.sample % 2))
        passed += [forged is not None and verify(forged, other) == []]
    assert not any(passed)


def test_the_network_that_a_receipt_names_rounds_no_further_than_single_precision():
    model = corelm.load("imdb")
    [(_, receipt)] = receipts("imdb", "This movie", sampler="temperature", length=6, seed=1)
    assert verify(receipt) == []
    far = changed_figure(receipt, 2, "model_logprobs", 1e-3)
    assert [each.place for each in verify(far, model)] == [2]


def test_no_token_is_drawn_after_the_end():
    endless = ToyModel()
    endless.vocabulary.ends = ()
    texts = receipts(endless, "the", sampler="stochastic", length=12, n=40, seed=1)
    for _, receipt in texts:
        ends = [place for place, token in enumerate(receipt.tokens[:-1]) if token == 2]
        findings = verify(receipt, ToyModel())
        assert [each.place for each in findings] == [place + 1 for place in ends[:1]]
    assert any(2 in receipt.tokens[:-1] for _, receipt in texts)


def test_a_receipt_cannot_choose_what_is_read(monkeypatch, tmp_path):
    [receipt] = drawn()
    monkeypatch.setenv("MYSECRET", "hunter2")
    with pytest.raises(UsageError, match="key"):
        verify(dataclasses.replace(receipt, chain="green_list(key='env:MYSECRET')"), ToyModel())
    for name in (str(tmp_path), "gguf:model.gguf", "..", "a\\b", ""):
        with pytest.raises(UsageError, match="say which one it is"):
            verify(dataclasses.replace(receipt, model=name))


def test_the_reader_may_say_which_sampler_it_has_to_be():
    [receipt] = drawn("top_p(p=0.9)")
    assert verify(receipt, ToyModel(), sampler="top_p(p=0.9)") == []
    with pytest.raises(UsageError, match=r"states top_p\(p=0.9\), not top_p\(p=0.9001\)"):
        verify(receipt, ToyModel(), sampler="top_p(p=0.9001)")


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


def changed_figure(receipt, place, name, more):
    numbers = [*getattr(receipt, name)]
    numbers[place] -= more
    return dataclasses.replace(receipt, **{name: numbers})


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


@pytest.mark.parametrize("name", ["logprobs", "model_logprobs", "kept_mass"])
def test_another_figure_is_found(name):
    [receipt] = drawn()
    [finding] = verify(changed_figure(receipt, 3, name, 0.05), ToyModel())
    assert finding.place == 3


@pytest.mark.parametrize("stated", [None, "toy", "./toy"])
def test_another_model_is_refused(stated, monkeypatch):
    """A receipt with another checksum would be given the rounding of another engine."""
    [receipt] = drawn()
    monkeypatch.setattr("corelm.load", lambda name: ToyModel(logits=[1.0] * 13))
    receipt = dataclasses.replace(receipt, model="corelm:toy")
    with pytest.raises(UsageError, match="another model than the receipt's"):
        verify(receipt, stated)
    with pytest.raises(UsageError, match="another model than the receipt's"):
        verify(dataclasses.replace(receipt, model_sha256=""), stated)


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{}", "7", '{"format": "other"}', "[" * 100_000),
        '{"format": "corelm.receipt/1", "seed": 1}',
        '{"format": "corelm.receipt/1", "seed": 1, "seed": 2}',
        '{"format": "corelm.receipt/1", "seed": NaN}',
    ],
)
def test_another_document_is_refused(text):
    for reader in (Receipt, Rollouts):
        with pytest.raises(UsageError, match=r"receipt|format|rollouts|JSON"):
            reader.from_json(text)


def test_impossible_values_are_refused():
    [receipt] = drawn()
    for change in (
        *({"seed": -1}, {"seed": True}, {"tokens": [1.5]}, {"tokens": ["5"]}, {"prompt": 5}),
        *({"logprobs": []}, {"kept_size": ["x"]}, {"model": None}, {"kept_mass": {}}),
    ):
        with pytest.raises(UsageError, match="not a receipt"):
            Receipt.from_json(dataclasses.replace(receipt, **change).to_json())


def test_a_receipt_of_nothing_is_refused():
    [receipt] = drawn()
    nothing = {name: [] for name in ("tokens", "logprobs", "model_logprobs", "kept_mass",
                                     "kept_size")}  # fmt: skip
    empty = dataclasses.replace(receipt, **nothing)
    with pytest.raises(UsageError, match="has no token"):
        Receipt.from_json(empty.to_json())
    with pytest.raises(UsageError, match="has no token"):
        verify(empty, ToyModel())


# ---- rollouts that anybody wrote ----


@pytest.mark.parametrize(
    "change",
    [
        *(
            {"tokens": ["5"] * 3},
            {"tokens": [True] * 3},
            {"tokens": [1.7] * 3},
            {"tokens": [-1] * 3},
        ),
        *({"logprobs": [-1.0]}, {"logprobs": [0.5] * 3}, {"logprobs": ["-1"] * 3}),
        *({"model_logprobs": [None] * 3}, {"kept_mass": [1.5] * 3}, {"sampling_mask": [[1]]}),
        *({"entropy": [-1.0] * 3}, {"prompt": "the"}, {"sampling_mask": [[True]] * 3}),
        *({"sampling_mask": [[0, 1, 3]] * 3}, {"kept_size": [99] * 3}),
        *({"model_logprobs": [-1e308] * 3}, {"logprobs": [None] * 3}),
    ],
    ids=str,
)
def test_impossible_rollouts_are_refused(change):
    rollouts = record(ToyModel(), ["the"], sampler="top_k(k=3)", length=3, seed=1)
    document = json.loads(rollouts.to_json())
    assert Rollouts.from_json(json.dumps(document)).tokens.tolist() == rollouts.tokens.tolist()
    document["rollouts"][0] |= change
    with pytest.raises(UsageError, match="rollout 0 are impossible"):
        Rollouts.from_json(json.dumps(document))


@pytest.mark.parametrize("nats", [np.nan, np.inf, 0.5])
def test_an_audit_refuses_log_probabilities_that_are_none(nats):
    logits, tokens, mask, recorded = drawn_batch("top_k(k=2)")
    where = {"prompt_length": 4, "mask": mask}
    assert audit("top_k(k=2)", logits, tokens, recorded, **where).tokens == 14
    recorded[:, 1] = nats
    with pytest.raises(UsageError, match="must be numbers of at most 0"):
        audit("top_k(k=2)", logits, tokens, recorded, **where)
    with pytest.raises(UsageError, match="nothing to audit"):
        audit("top_k(k=2)", logits, tokens, recorded, prompt_length=4, mask=np.zeros(mask.shape))


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


@pytest.mark.parametrize(
    "line", ["", "{}", {"entropy": -1}, {"kept_mass": 5}, {"outside": 2}, {"step": -1}], ids=str
)
def test_a_log_without_possible_steps_shows_no_entropy(line, tmp_path):
    log = EntropyLog(tmp_path / "entropy.jsonl")
    log.add(0, record(ToyModel(), ["the"], sampler="top_k(k=5)", seed=1))
    assert EntropyLog.read(log.path).steps == log.steps
    if isinstance(line, dict):
        line = json.dumps(json.loads(log.path.read_text()) | line)
    log.path.write_text(line)
    with pytest.raises(UsageError, match=r"is no step|has no step"):
        EntropyLog.read(log.path)


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
