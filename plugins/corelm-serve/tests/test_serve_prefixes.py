"""Prompts that begin alike are read once: the answers are the same, and the figures say so."""

import pytest
from serve_client import Counted, sample

import corelm

SYSTEM = "the cat sat on the mat and the dog saw the cat on the mat and "


@pytest.mark.parametrize("prefixes", [0, 1000])
def test_conversations_with_one_beginning_read_it_once(open_client, prefixes):
    model = Counted()
    client = open_client({"toy": model}, prefixes=prefixes)
    prompts = [SYSTEM, SYSTEM + "the cat", SYSTEM + "the cat sat", SYSTEM + "a dog", SYSTEM]
    for seed, prompt in enumerate(prompts):
        answer = client.complete(prompt=prompt, seed=seed, max_tokens=8)
        text = sample(model, prompt, sampler="stochastic", seed=seed, length=8)
        assert [answer["choices"][0]["text"]] == text
    system = len(model.vocabulary.encode(SYSTEM))
    alone = sum(len(model.vocabulary.encode(prompt)) for prompt in prompts)
    by_sample = alone  # the texts of corelm sample, above
    assert sum(model.reads) - by_sample == (alone if prefixes == 0 else system + 2 + 1 + 2)
    assert client.figure("prefix_hits") == (4 if prefixes else 0)
    assert client.figure("prefix_tokens_saved") == alone - (sum(model.reads) - by_sample)
    assert client.figure("prefix_tokens") <= prefixes


@pytest.mark.parametrize("name", ["imdb", "gpt2"])
def test_own_models_answer_alike_with_and_without(open_client, name):
    model = corelm.load(name)
    with_cache, without = (open_client({"toy": model}, prefixes=tokens) for tokens in (60, 0))
    history = "This movie is one of the best movies that i have ever seen and the acting was good ."
    for seed in range(6):
        asked = {"prompt": history, "seed": seed, "max_tokens": 6, "sampler": "top_p(p=0.9)"}
        found = [client.complete(**asked)["choices"][0]["text"] for client in (with_cache, without)]
        assert found[0] == found[1]
        history += found[0] if seed % 2 else " It was"
    assert with_cache.figure("prefix_hits") >= 3
    assert without.figure("prefix_hits") == 0
