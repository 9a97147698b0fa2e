"""Fields that ask for nothing, fields of other engines, and what an answer says of them."""

import pytest
from serve_client import ToyModel
from test_serve_chat import ChatModel

import corelm
from corelm.errors import UsageError

MESSAGES = [{"role": "user", "content": "the"}]
NOTHING = {
    "store": False, "metadata": {}, "service_tier": "auto", "user": "me",
    "safety_identifier": "me", "prompt_cache_key": "mine", "request_id": "7", "session_id": "8",
}  # fmt: skip


@pytest.fixture
def client(open_client):
    return open_client({"toy": ToyModel(), "chat": ChatModel()})


@pytest.mark.parametrize(
    "more",
    [
        NOTHING,
        {"stream_options": {"include_usage": True, "include_obfuscation": False}, "stream": True},
        dict.fromkeys(
            ("ignore_eos", "include_stop_str_in_output", "use_beam_search", "early_stopping",
             "return_tokens", "timings_per_token", "parse_tool_calls", "watermarking", "verbose",
             "return_token_offsets", "reasoning_control", "logprobs"), False,
        ),
        {
            "parallel_tool_calls": True, "priority": 0, "chat_template_kwargs": {},
            "service_tier": "default", "stop_token_ids": [], "skip_special_tokens": True,
            "add_generation_prompt": True, "length_penalty": 1.0, "bad_words": [],
            "logprob_token_ids": [], "prompt_cache_retention": "in_memory", "cache_prompt": True,
            "id_slot": -1, "n_keep": 0, "n_probs": 0, "grammar": "", "n_predict": -1, "min_keep": 0,
            "add_special_tokens": True, "t_max_predict_ms": -1, "stream_interval": 1,
        },
        {"repeat_penalty": 1.0, "typical_p": 1, "mirostat": 0, "dry_multiplier": 0.0,
         "penalize_nl": False, "adaptive_target": -1.0, "parse_tool_calls": True,
         "sse_ping_interval": -1, "speculative.n_max": 0, "logit_bias": []},
    ],
)  # fmt: skip
def test_values_that_ask_for_nothing(client, more):
    body = {"model": "toy", "prompt": "the", "seed": 1, "max_tokens": 8}
    plain = client.post("/v1/completions", json={**body, "stream": "stream" in more})
    found = client.post("/v1/completions", json=body | more)
    assert found.status_code == 200, found.text
    if "stream" not in more:
        assert found.json()["choices"] == plain.json()["choices"]
        assert found.json()["corelm"] == plain.json()["corelm"]


def test_a_neutral_value_of_another_engine_asks_for_nothing(client):
    body = {"model": "toy", "prompt": "the", "seed": 1, "max_tokens": 8, "engine": "llama.cpp"}
    plain = client.post("/v1/completions", json=body).json()
    found = client.post("/v1/completions", json=body | {"penalize_nl": False}).json()
    assert found["corelm"] == plain["corelm"]
    error = client.post("/v1/completions", json=body | {"penalize_nl": True}).json()["error"]
    assert error["param"] == "penalize_nl"


def test_values_of_a_chat_that_ask_for_nothing(client):
    body = {"model": "chat", "messages": MESSAGES, "seed": 1, "max_tokens": 8}
    nothing = NOTHING | {
        **dict.fromkeys(("parallel_tool_calls", "logprobs", "add_special_tokens"), False),
        "top_logprobs": 0, "reasoning_effort": "none", "modalities": ["text"], "verbosity": "medium"
    }  # fmt: skip
    plain = client.post("/v1/chat/completions", json=body).json()
    found = client.post("/v1/chat/completions", json=body | nothing).json()
    assert found["choices"] == plain["choices"]


@pytest.mark.parametrize(
    ("more", "param", "message"),
    [
        ({"store": True}, "store", "nothing is kept"),
        ({"metadata": {"a": "b"}}, "metadata", "nothing is kept"),
        ({"logprobs": True}, "logprobs", "a whole number from 0 to 20, or false"),
        ({"logit_bias": {"5": 1, "05": 100}}, "logit_bias", "token ids"),
        ({"engine": "openai", "top_k": 3}, "top_k", "openai has no top_k"),
        ({"dry_multiplier": 0.8}, "engine", "name the engine: dry_multiplier may be of"),
        ({"xtc_probability": 0.5}, "engine", "name the engine: xtc_probability"),
        ({"typical_p": 0.5, "top_p": 0.9}, "engine", "name the engine: typical_p"),
        ({"top_n_sigma": 1.5}, "engine", "name the engine: top_n_sigma"),
        ({"temperatur": 1}, "temperatur", "did you mean 'temperature'"),
        *(({x: 7}, x, f"there is no field '{x}'") for x in ("priority", "id_slot", "verbose")),
        ({"chat_template_kwargs": {"a": 1}}, "chat_template_kwargs", "there is no field"),
        *(({x: False}, x, "no field") for x in ("skip_special_tokens", "add_special_tokens")),
    ],
)
def test_errors_that_lead_on(client, more, param, message):
    status, error = client.refused(**more)
    assert (status, error["param"]) == (400, param)
    assert message in error["message"]


@pytest.mark.parametrize(
    ("path", "words"),
    [("responses", "send them to /v1/chat/completions"), ("embeddings", "it gives no embeddings")],
)
def test_routes_that_clients_try_are_refused_in_words(client, path, words):
    status, error = client.refused(f"/v1/{path}", model="toy", input="the")
    assert (status, error["code"]) == (404, "unsupported")
    assert words in error["message"]


def test_the_sampler_and_the_decoder_of_an_answer_write_its_text_again(client):
    for more in ({}, {"decoder": "likeliest"}):
        answer = client.complete(sampler="top_p(p=0.9)", max_tokens=6, seed=2, **more)
        about, model = answer["corelm"], ToyModel()
        settings = {name: about[name] for name in ("sampler", "decoder", "seed")}
        [text] = corelm.generate(model, "the", length=6, **settings)
        assert text.text == answer["choices"][0]["text"]
    for wrong in ("greedy", "top_k(k=2) | likeliest"):
        with pytest.raises(UsageError, match="decoder= takes one decoder, such as"):
            corelm.generate(ToyModel(), "the", sampler="greedy", decoder=wrong)


def test_images_are_refused_in_words(client):
    parts = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]
    body = {"model": "chat", "messages": [{"role": "user", "content": parts}]}
    error = client.post("/v1/chat/completions", json=body).json()["error"]
    assert "these models read no images" in error["message"]


def test_the_answer_says_which_engine_was_read_and_what_has_no_effect(client):
    about = client.complete(engine="transformers", temperature=0.5, max_tokens=1)["corelm"]
    assert about["sampler"] == "greedy"
    assert (about["engine"], about["without_effect"]) == ("transformers", ["temperature"])
    named = client.complete(engine="llama.cpp", dry_multiplier=0.8, max_tokens=1)["corelm"]
    assert named["engine"] == "llama.cpp"
    assert "dry(" in named["sampler"]
    assert "engine" not in client.complete(temperature=0.5, max_tokens=1)["corelm"]


# ---- clients read each event without looking ----


@pytest.mark.parametrize("more", [{}, {"n": 2}, {"echo": True}, {"logprobs": 1}])
def test_every_event_of_a_stream_has_a_choice(client, more):
    events = client.stream(max_tokens=6, seed=1, **more)
    assert all(isinstance(event["choices"][0]["text"], str) for event in events)


def test_a_list_with_an_empty_list_of_ids_is_an_empty_prompt(client):
    [empty] = client.complete(prompt=[[]], seed=1, max_tokens=6)["choices"]
    [same] = client.complete(prompt=[""], seed=1, max_tokens=6)["choices"]
    assert empty == same
    scored = client.complete(prompt=[[], [4]], echo=True, logprobs=0, max_tokens=0)["choices"]
    assert [len(choice["logprobs"]["tokens"]) for choice in scored] == [0, 1]
    assert client.refused(prompt=[])[0] == 400


# ---- faults of plugins and of requests ----


def test_a_sampler_that_raises_keyboard_interrupt_costs_its_own_request(client):
    from corelm.runs import plugins

    class Interrupts(corelm.Sampler):
        def __call__(self, logits, context):
            raise KeyboardInterrupt

    class Plugin:
        @corelm.hookimpl
        def corelm_samplers(self):
            return {"interrupts": Interrupts}

    if "interrupts" not in {offer.name for offer in plugins.registry().offers("corelm_samplers")}:
        plugins.registry().register(Plugin())
    for _ in range(2):
        assert client.refused(sampler="interrupts", max_tokens=4)[0] == 500
    assert client.complete(max_tokens=4)["choices"]


STAGE = {"name": "top_k", "parameters": {"k": 4}}


@pytest.mark.parametrize(
    "nested",
    [
        {"stages": 3},
        {"stages": [3]},
        {"stages": [{}]},
        {"stages": [{"name": 3}]},
        {"stages": [{"name": "top_k", "parameters": 3}]},
        {"stages": [STAGE | {"more": 1}]},
        {"stages": [STAGE], "more": 1},
        {"stages": [{"name": "top_k", "parameters": {"k": {"stages": [None]}}}]},
        {"stages": {"name": "top_k"}},
    ],
)
def test_malformed_nested_stages_are_refused(client, nested):
    stages = [{"name": "schedule", "parameters": {"first": nested}}]
    response = client.post("/api/next", json={"stages": stages})
    assert response.status_code == 400, response.text
    assert response.json()["error"]["param"] == "stages"


def test_deeply_nested_stages_are_refused(client):
    stages = [STAGE]
    for _ in range(200):
        stages = [{"name": "schedule", "parameters": {"first": {"stages": stages}}}]
    assert client.post("/api/next", json={"stages": stages}).status_code == 400
