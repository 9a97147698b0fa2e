"""Prompts that begin with the start token, by its name or its id."""

import pytest

import corelm
from corelm import log_softmax
from corelm.interop import vocabulary_of
from corelm.interop.testing import tiny_tokenizer
from corelm.runs import ModelLogits


@pytest.fixture(scope="module", params=["gpt2", "imdb"])
def model(request):
    return corelm.load(request.param)


@pytest.fixture
def client(open_client, model):
    return open_client({"toy": model})


def score(client, prompt):
    """Return the log-probabilities of the tokens of a prompt, by the server."""
    answer = client.complete(prompt=prompt, echo=True, logprobs=0, max_tokens=0)
    return answer["choices"][0]["logprobs"]["token_logprobs"]


def test_the_name_of_the_start_token_is_that_token(client, model):
    vocabulary = model.vocabulary
    name, ids = vocabulary.words[vocabulary.start], vocabulary.encode("This movie")
    session, prepare, expected = model.start([[]]), ModelLogits(vocabulary), []
    for token in ids:  # the model puts the start token before them
        row = log_softmax(prepare(session.next_logits(), 0))[0]
        expected.append(float(row[token]))
        session.extend([token])
    assert score(client, f"{name}This movie") == pytest.approx(expected, abs=1e-4)
    # Ids stay as they are: one log-probability for each that was sent.
    assert score(client, [vocabulary.start, *ids])[1:] == pytest.approx(expected, abs=1e-4)


def test_a_text_after_the_name_is_that_of_the_prompt_alone(client, model):
    name = model.vocabulary.words[model.vocabulary.start]
    texts = [
        client.complete(prompt=prompt, seed=1, max_tokens=12)["choices"][0]["text"]
        for prompt in ("This movie", f"{name}This movie")
    ]
    [sampled] = corelm.generate(model, f"{name}This movie", sampler="stochastic", seed=1, length=12)
    assert texts == [sampled.text] * 2


def test_the_name_is_a_token_to_tokenize(client, model):
    vocabulary = model.vocabulary
    name = vocabulary.words[vocabulary.start]
    ids = vocabulary.encode("This movie")
    for add in (False, True):
        body = {"prompt": f"{name}This movie", "add_special_tokens": add}
        answer = client.post("/tokenize", json=body).json()
        assert answer["tokens"] == [vocabulary.start, *ids]
    assert client.post("/tokenize", json={"prompt": name}).json()["tokens"] == [vocabulary.start]


def test_the_special_tokens_of_an_engine_have_names(open_client):
    pytest.importorskip("transformers", reason="pip install transformers")
    toy = corelm.testing.ToyModel()
    toy.vocabulary = vocabulary_of(tiny_tokenizer(start=True))
    info = open_client({"toy": toy}).get("/tokenizer_info").json()
    assert info["bos_token"] == info["eos_token"] == "<|endoftext|>"
