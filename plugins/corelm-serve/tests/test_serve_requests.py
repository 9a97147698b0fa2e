"""Requests are read strictly: a wrong one is 400, with OpenAI's shape and corelm's sentence."""

import pytest


def test_an_unknown_field_is_refused_with_the_nearest_one(client):
    status, error = client.refused(max_token=5)
    assert status == 400
    assert error["param"] == "max_token"
    assert error["type"] == "invalid_request_error"
    assert error["code"] == "unknown_field"
    assert "did you mean 'max_tokens'?" in error["message"]
    assert "top_p" in error["message"]  # what is allowed


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("temperature", "hot", "temperature must be a number of at least 0, not 'hot'"),
        ("temperature", -1, "temperature must be a number of at least 0, not -1"),
        ("temperature", True, "temperature must be a number of at least 0, not True"),
        ("top_p", 1.5, "top_p must be a number from 0 to 1, not 1.5"),
        ("n", 0, "n must be a whole number from 1 to 64, not 0"),
        ("n", 1.5, "n must be a whole number from 1 to 64, not 1.5"),
        ("stream", "yes", "stream must be true or false, not 'yes'"),
        ("logprobs", 21, "logprobs must be a whole number from 0 to 20, or false, not 21"),
        ("logit_bias", {"5": 101}, "logit_bias must be a mapping of at most 1,024 token ids"),
        ("logit_bias", {"the": 1}, "logit_bias must be a mapping of at most 1,024 token ids"),
        ("logit_bias", {"999": 1}, "logit_bias: there is no token 999"),
        ("prompt", [], "prompt must be a text, a list of token ids"),
        ("prompt", [1, "the"], "prompt must be a text, a list of token ids"),
        ("prompt", [10**6], "there is no token 1000000; the ids are 0 to "),
        ("stop", "", "stop must be a text of 1 to 256 characters"),
        ("stop_regex", "(", "the pattern '(' is not valid"),
        ("stop_regex", "(a{900}){900}", "repeats too much"),
        ("seed", -2, "seed must be a whole number from -1 to"),
        ("suffix", "end", "suffix is not supported"),
        ("stream_options", {"include": True}, "there is no field 'include'"),
        ("max_tokens", 5000, "max_tokens may have at most 4,096 tokens here, not 5,000"),
        ("best_of", 65, "best_of must be a whole number from 1 to 64, not 65"),
        ("sampler", "temprature(t=1)", "did you mean 'temperature'?"),
        ("sampler", "temperature(t=", "cannot read"),
        ("sampler", "greedy | " * 40 + "greedy", "a request has at most 32 samplers, not 41"),
        ("sampler", "temperature(t=1)" * 1000, "sampler must be a text of 1 to 4,096 characters"),
        ("preset", "lama.cpp", "did you mean 'llama.cpp'?"),
        ("preset", "/etc/passwd", "there is no preset '/etc/passwd' (there are: llama.cpp"),
        ("engine", "kobold", "engine must be one of koboldcpp"),
        ("decoder", "greedy", "decoder must be one decoder"),
        ("user", 5, "user must be a text"),
    ],
)
def test_a_wrong_value_is_refused_in_one_sentence(client, field, value, message):
    status, error = client.refused(**{field: value})
    assert status == 400
    assert message in error["message"]
    assert error["param"] in (field, None) or field == "stream_options"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"sampler": "greedy", "temperature": 0.5}, "temperature"),
        ({"sampler": "greedy", "preset": "vllm"}, "preset"),
        ({"preset": "vllm", "top_k": 5}, "top_k"),
        ({"sampler": "greedy", "engine": "vllm"}, "engine"),
        ({"sampler": "greedy | ancestral", "decoder": "ancestral"}, "decoder"),
        ({"best_of": 2, "n": 3}, "best_of"),
        ({"best_of": 2, "stream": True}, "best_of"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
    ],
)
def test_fields_that_exclude_each_other(client, fields, param):
    status, error = client.refused(**fields)
    assert (status, error["param"]) == (400, param)


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"{", 400, "the body is not JSON"),
        (b'{"model": "toy", "prompt": "\\ud800"}', 400, "prompt must be a text"),
        (b"[]", 400, "the body must be a JSON object, not []"),
        (b'{"model": "toy", "prompt": "the", "temperature": NaN}', 400, "NaN is no number in JSON"),
        (b'{"model": "toy", "model": "toy"}', 400, "a key appears twice in one object"),
        (b'{"a":' * 100_000, 400, "the body is not JSON"),
        (b'{"n": ' + b"9" * 5000 + b"}", 400, "the body is not JSON"),
        (b'{"prompt": "' + b"a" * 2**20 + b'"}', 413, "a body has at most 1,048,576 bytes"),
        (b'{"prompt": "the"}', 400, "model is missing"),
        (b'{"model": "toy"}', 400, "prompt is missing"),
        (b'{"model": "../toy", "prompt": "the"}', 404, "there is no model '../toy'"),
    ],
)
def test_a_body_that_is_no_request(client, body, status, message):
    headers = {"Content-Type": "application/json"}
    response = client.post("/v1/completions", content=body, headers=headers)
    assert response.status_code == status
    assert message in response.json()["error"]["message"]


def test_a_body_says_that_it_is_json(client):
    response = client.post("/v1/completions", content=b"{}", headers={"Content-Type": "text/plain"})
    assert response.status_code == 415


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"prompt": ["the"] * 129}, "prompt may have at most 128 prompts here, not 129"),
        ({"prompt": "the " * 33_000}, "prompt may have at most 32,768 tokens here, not 33,000"),
        (
            {"prompt": [[5] * 30_000] * 9},
            "prompt may have at most 262,144 tokens in all here, not 270,000",
        ),
        (
            {"prompt": ["the"] * 2, "n": 64, "max_tokens": 4096},
            "n may have at most 262,144 tokens in all here, not 524,288",
        ),
        (
            {"prompt": [[5] * 30_000], "echo": True, "logprobs": 20, "n": 2, "max_tokens": 1},
            "logprobs may have at most 1,048,576 numbers in all here, not 1,260,042",
        ),
    ],
)
def test_a_request_that_is_too_much(client, fields, message):
    status, error = client.refused(**fields)
    assert (status, error["code"]) == (400, "too_large")
    assert error["message"] == message


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/completions", 405), ("DELETE", "/v1/models", 405), ("POST", "/nowhere", 404),
     ("GET", "/v1/models/absent", 404), ("GET", "/tokenizer_info?model=absent", 404)],
)  # fmt: skip
def test_errors_of_routes_have_the_same_shape(client, method, path, status):
    response = client.request(method, path)
    assert response.status_code == status
    assert response.json()["error"]["type"] == "invalid_request_error"


def test_tokens_and_texts(client):
    vocabulary = client.service.models["toy"].model.vocabulary
    found = client.post("/tokenize", json={"prompt": "the cat", "return_token_strs": True}).json()
    assert found["tokens"] == vocabulary.encode("the cat")
    assert found["token_strs"] == ["the", " cat"]
    assert found["count"] == 2
    started = client.post("/tokenize", json={"prompt": "the", "add_special_tokens": True}).json()
    assert started["tokens"] == [vocabulary.start, *vocabulary.encode("the")]
    ids = {"tokens": found["tokens"]}
    assert client.post("/detokenize", json=ids).json() == {"prompt": "the cat"}
    assert client.post("/detokenize", json={"tokens": []}).json() == {"prompt": ""}
    assert client.post("/detokenize", json={"tokens": [999]}).status_code == 400


def test_a_long_list_is_a_whole_one(client):
    answer = client.post("/tokenize", json={"prompt": "the " * 3000}).json()
    assert len(answer["tokens"]) == answer["count"] == 3000


def test_the_vocabulary_is_described(client):
    found = client.get("/tokenizer_info").json()
    assert found["vocab_size"] == 13
    assert found["eos_token_id"] == found["bos_token_id"] == 2
    assert found["max_model_len"] == 100


def test_figures_for_prometheus(client):
    client.complete(prompt="the cat", max_tokens=3, seed=1)
    text = client.get("/metrics").text
    assert 'corelm_requests_total{route="/v1/completions",status="200"} 1.0' in text
    assert 'corelm_tokens_total{kind="prompt",model="toy"} 2.0' in text
    assert 'corelm_tokens_total{kind="drawn",model="toy"} 3.0' in text
    assert 'corelm_running_rows{model="toy"} 0.0' in text


def test_null_is_a_field_left_out(client):
    answer = client.complete(stop=None, temperature=None, best_of=None, suffix=None, seed=1)
    assert answer["corelm"]["sampler"] == "stochastic"
