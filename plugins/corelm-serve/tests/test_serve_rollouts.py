"""`record`: what a trainer needs of each token, as corelm-replay's documents have it."""

import json
import math

import numpy as np
import pytest
from serve_client import ToyModel, sample

import corelm

CHAIN = "top_p(p=0.8) | temperature(t=0.7)"
FIGURES = ("logprobs", "model_logprobs", "kept_mass", "kept_size", "entropy", "model_entropy")
ASKED = {"prompt": "the cat", "seed": 3, "n": 2, "max_tokens": 9, "sampler": CHAIN}


def rollouts(choices):
    return [choice["corelm"]["rollout"] for choice in choices]


def test_figures_and_sets_are_those_of_the_steps(client):
    found = rollouts(client.complete(**ASKED, record="sets")["choices"])
    texts = corelm.generate(ToyModel(), "the cat", sampler=CHAIN, seed=3, n=2, length=9)
    for row, text in zip(found, texts, strict=True):
        assert row["tokens"] == text.tokens
        assert row["prompt"] == ToyModel().vocabulary.encode("the cat")
        for at, step in enumerate(text.steps):
            assert row["logprobs"][at] == pytest.approx(-step.surprisal)
            assert row["model_logprobs"][at] == pytest.approx(-step.model_surprisal)
            past = [*row["prompt"], *row["tokens"][:at]]
            [logits] = ToyModel().start([past]).next_logits()
            logits[:2] = -np.inf  # padding and unknown words are never drawn
            drawn_from = corelm.sampling_distribution(CHAIN, logits)
            kept = np.flatnonzero(drawn_from)
            expected = kept.tolist() if len(kept) < np.isfinite(logits).sum() else []
            assert row["sampling_mask"][at] == expected
            assert row["kept_size"][at] == len(kept)
            assert row["kept_mass"][at] == pytest.approx(corelm.softmax(logits)[kept].sum(), 1e-5)
            assert row["entropy"][at] == pytest.approx(corelm.entropy(drawn_from), abs=1e-5)


def test_figures_come_without_sets(client):
    for row in rollouts(client.complete(**ASKED, record="figures")["choices"]):
        assert "sampling_mask" not in row
        assert {len(row[name]) for name in FIGURES} == {len(row["tokens"])}
    assert "rollout" not in client.complete(**ASKED)["choices"][0]["corelm"]


def test_the_parts_of_a_stream_are_the_whole_rollout(client):
    whole = rollouts(client.complete(**ASKED, record="sets")["choices"])
    events = client.stream(**ASKED, record="sets")
    for index, expected in enumerate(whole):
        mine = [choice for event in events for choice in event["choices"]]
        parts = rollouts(choice for choice in mine if choice["index"] == index)
        joined = {name: [x for part in parts for x in part[name]] for name in expected}
        assert joined == expected


def test_corelm_replay_reads_an_answer(client):
    replay = pytest.importorskip("corelm_replay", reason="pip install ./plugins/corelm-replay")
    answer = client.complete(**ASKED, record="sets")
    about = answer["corelm"]
    document = {
        "format": "corelm.rollouts/1", "chain": about["sampler"], "seed": about["seed"],
        "rollouts": rollouts(answer["choices"]),
    }  # fmt: skip
    found = replay.Rollouts.from_json(json.dumps(document))
    own = replay.record(ToyModel(), ["the cat"], sampler=CHAIN, length=9, n=2, seed=3)
    assert found.kept.lists() == own.kept.lists()
    assert (found.tokens == own.tokens).all()
    for name in FIGURES:
        np.testing.assert_allclose(getattr(found, name), getattr(own, name), atol=1e-6)
    assert replay.KeptSets.from_vllm(document["rollouts"]).lists() == own.kept.lists()


def test_chats_record_too(open_client):
    from test_serve_chat import MESSAGES, ChatModel

    client = open_client({"chat": ChatModel()})
    body = {"model": "chat", "messages": MESSAGES, "seed": 1, "max_tokens": 5, "record": "figures"}
    [choice] = client.post("/v1/chat/completions", json=body).json()["choices"]
    [row] = rollouts([choice])
    assert ChatModel().vocabulary.decode(row["tokens"]).strip() in choice["message"]["content"]
    [text] = sample(ChatModel(), "the cat ", sampler="stochastic", seed=1, length=5)
    assert choice["message"]["content"] == text


def test_sets_are_bounded(open_client):
    client = open_client(entries=150)
    body = {"max_tokens": 20, "sampler": "min_length(n=40) | top_k(k=8)"}
    status, error = client.refused(**body, record="sets")  # 160 ids
    assert (status, error["param"]) == (400, "record")
    assert "add a top_k to the chain" in error["message"]
    assert client.complete(**body, record="figures")
    assert client.refused(**body, record="figures", n=2)[1]["param"] == "logprobs"
    assert client.refused(record="all")[1]["param"] == "record"


def test_a_token_that_no_figure_can_show_is_null(client):
    row = rollouts(client.complete(sampler="greedy", max_tokens=3, record="figures")["choices"])[0]
    assert row["logprobs"] == [0.0] * 3
    assert row["entropy"] == [0.0] * 3
    assert all(math.isfinite(x) for name in FIGURES for x in row[name])
