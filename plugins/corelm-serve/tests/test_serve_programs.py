"""Requests of programs that talk to OpenAI's API, with the fields that their sources send."""

import pytest
from serve_client import ToyModel, complete, events_of, sample
from test_serve_chat import ChatModel

CHAIN = "min_p(p=0.05) | temperature(t=1.1)"
MESSAGES = [{"role": "system", "content": "the"}, {"role": "user", "content": "cat"}]

SILLYTAVERN_TEXT = {
    "prompt": "the cat", "model": "toy", "max_tokens": 8, "temperature": 0.7, "top_p": 0.9,
    "frequency_penalty": 0, "presence_penalty": 0, "stop": ["\nthe:", "\ncat:"], "seed": -1,
    "logit_bias": {}, "n": 1, "stream": True,
}  # fmt: skip
"""Text Completion of the type Generic: it sends OpenAI's fields alone, and the seed -1 for none."""

SILLYTAVERN_CHAT = {
    "messages": MESSAGES, "model": "chat", "temperature": 0.7, "max_tokens": 8, "stream": True,
    "presence_penalty": 0, "frequency_penalty": 0, "top_p": 0.9, "stop": ["\nthe:"],
    "logit_bias": {}, "seed": 3, "n": 1,
}  # fmt: skip
"""Chat Completion of the source Custom, before what its user includes and excludes."""

OPEN_WEBUI = {
    "stream": True, "model": "chat", "messages": MESSAGES, "temperature": 0.7, "top_p": 0.9,
    "min_p": 0.05, "max_tokens": 8, "frequency_penalty": 0.1, "presence_penalty": 0.1, "seed": 3,
    "stop": ["mat"], "logit_bias": {"5": -100}, "stream_options": {"include_usage": True},
}  # fmt: skip
"""A chat with all of Advanced Params that corelm has."""

MIKUPAD = {
    "model": "toy", "prompt": "the cat", "temperature": 0.7, "penalize_nl": False,
    "presence_penalty": 0, "frequency_penalty": 0, "top_p": 0.95, "top_k": 40, "min_p": 0,
    "stream": True, "max_tokens": 1024, "logprobs": 10, "repetition_penalty": 1.1,
    "repetition_penalty_range": 256, "ban_eos_token": False,
}  # fmt: skip
"""A prediction with the defaults, by an OpenAI-compatible endpoint; the seed -1 isn't sent."""

KOBOLDAI_LITE = {
    "max_tokens": 768, "model": "toy", "temperature": 0.75, "top_p": 0.92,
    "presence_penalty": 0.050000000000000044, "prompt": "the cat", "stream": True,
}  # fmt: skip
"""A turn in story mode, by an OpenAI-compatible endpoint without chat completions, recorded."""

KOBOLDAI_LITE_CHAT = {
    "max_tokens": 768, "model": "chat", "temperature": 0.75, "top_p": 0.92,
    "stop": ["### Instruction:", "### Response:"], "presence_penalty": 0.050000000000000044,
    "messages": [{"role": "user", "content": "the cat"}], "stream": True,
}  # fmt: skip
"""A turn in instruct mode with chat completions, recorded."""


@pytest.fixture
def client(open_client):
    return open_client({"toy": ToyModel(), "chat": ChatModel()})


def test_sillytavern_lists_the_models_and_continues_a_text(client):
    models = client.get("/v1/models").json()["data"]
    assert [model["id"] for model in models] == ["toy", "chat"]
    response = client.post("/v1/completions", json=SILLYTAVERN_TEXT)
    events = events_of(response.text)
    seed = events[0]["corelm"]["seed"]
    chain = "temperature(t=0.7) | top_p(p=0.9)"
    assert events[0]["corelm"]["sampler"] == chain
    assert [complete(events)] == sample(ToyModel(), "the cat", sampler=chain, seed=seed, length=8)


def test_two_requests_with_the_seed_minus_one_have_different_seeds(client):
    asked = {**SILLYTAVERN_TEXT, "stream": False}
    seeds = {client.post("/v1/completions", json=asked).json()["corelm"]["seed"] for _ in range(3)}
    assert len(seeds) == 3


def test_sillytavern_may_include_a_sampler_and_exclude_its_own(client):
    refused = client.post("/v1/chat/completions", json={**SILLYTAVERN_CHAT, "sampler": CHAIN})
    assert refused.status_code == 400
    assert "sampler excludes" in refused.json()["error"]["message"]
    panel = ("temperature", "top_p", "presence_penalty", "frequency_penalty", "logit_bias")
    left = {name: value for name, value in SILLYTAVERN_CHAT.items() if name not in panel}
    response = client.post("/v1/chat/completions", json={**left, "sampler": CHAIN})
    events = events_of(response.text)
    assert events[0]["corelm"]["sampler"] == CHAIN
    assert chat_text(events) == sample(ChatModel(), "the cat ", sampler=CHAIN, seed=3, length=8)[0]


def test_open_webui_chats_and_asks_for_a_title(client):
    events = events_of(client.post("/v1/chat/completions", json=OPEN_WEBUI).text)
    [expected] = sample(
        ChatModel(), "the cat ", sampler=events[0]["corelm"]["sampler"], seed=3, length=8,
        stop="mat",
    )  # fmt: skip
    assert chat_text(events) == expected
    assert events[-1]["usage"]["prompt_tokens"] == 2
    title = {"model": "chat", "messages": MESSAGES, "stream": False, "max_completion_tokens": 1000}
    answer = client.post("/v1/chat/completions", json=title).json()
    assert isinstance(answer["choices"][0]["message"]["content"], str)


def test_open_webui_names_a_custom_parameter_that_corelm_lacks(client):
    response = client.post("/v1/chat/completions", json={**OPEN_WEBUI, "reasoning_effort": "low"})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "reasoning_effort"


def chat_text(events):
    """Return the whole text of the first choice."""
    choices = [choice for event in events for choice in event["choices"]]
    return "".join(choice["delta"]["content"] for choice in choices)


def test_mikupad_predicts_with_its_defaults(client):
    events = events_of(client.post("/v1/completions", json=MIKUPAD).text)
    about = events[0]["corelm"]
    assert about["engine"] == "text-generation-webui"
    assert about["sampler"].endswith("temperature(t=0.7) | top_k(k=40) | top_p(p=0.95)")
    [expected] = sample(
        ToyModel(), "the cat", sampler=about["sampler"], seed=about["seed"], length=1024
    )
    assert complete(events) == expected
    for event in events:  # it reads the first choice, and the likely tokens of the first place
        [choice] = event["choices"]
        assert isinstance(choice["text"], str)
        assert all(isinstance(top, dict) for top in choice["logprobs"]["top_logprobs"])


@pytest.mark.parametrize(
    ("path", "request_body", "model", "prompt", "read"),
    [
        ("/v1/completions", KOBOLDAI_LITE, ToyModel(), "the cat", complete),
        ("/v1/chat/completions", KOBOLDAI_LITE_CHAT, ChatModel(), "the cat ", chat_text),
    ],
)
def test_koboldai_lite_writes_and_chats(client, path, request_body, model, prompt, read):
    events = events_of(client.post(path, json=request_body).text)
    about = {name: events[0]["corelm"][name] for name in ("sampler", "seed")}
    assert [read(events)] == sample(model, prompt, **about, length=768)


def test_koboldai_lite_is_told_which_of_its_other_fields_are_not_known(client):
    other = {"max_context_length": 6144, "max_length": 768, "rep_pen": 1.05, "top_a": 0, "tfs": 1}
    response = client.post("/v1/completions", json=KOBOLDAI_LITE | other)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "max_context_length"
