"""Any JSON is answered, with 200 or with an error of the request in OpenAI's shape."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from serve_client import opened_client

with opened_client() as asked:
    SCHEMAS = asked.get("/openapi.json").json()["components"]["schemas"]
NAMES = [*SCHEMAS["CompletionRequest"]["properties"]]
JSON = {"Content-Type": "application/json"}
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), FLOATS,
    st.text(max_size=20), st.sampled_from(["the", "toy", "greedy", "top_p(p=0.5)", "beam", "vllm"]),
)  # fmt: skip
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
BODIES = st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=8), VALUES, max_size=5)


@pytest.mark.slow
@settings(max_examples=200, deadline=None, suppress_health_check=[*HealthCheck])
@given(body=BODIES, real=st.booleans())
def test_any_body_is_answered(client, body, real):
    body = {"max_tokens": 3} | body
    if real:
        body |= {"model": "toy", "prompt": "the"}
    if body.get("stream") is True:
        body["stream"] = False
    response = client.post("/v1/completions", content=json.dumps(body), headers=JSON)
    assert response.status_code in (200, 400, 404), response.text
    if response.status_code != 200:
        error = response.json()["error"]
        assert error["message"]
        assert error["type"] == "invalid_request_error"


EXPRESSIONS = st.one_of(
    st.text(max_size=40),
    st.from_regex(
        r"(top_p|greedy|phase|temperature|ban|dry|schedule)\\((p|t|k|inside|words)=[^)]{0,12}\\)"
    ),
    st.text("()[]{}|,='\"\\\\abc123. ", max_size=60),
)


@pytest.mark.slow
@settings(max_examples=200, deadline=None, suppress_health_check=[*HealthCheck])
@given(expression=EXPRESSIONS)
def test_any_expression_is_answered(client, expression):
    body = {"model": "toy", "prompt": "the", "max_tokens": 2, "sampler": expression}
    response = client.post("/v1/completions", content=json.dumps(body), headers=JSON)
    assert response.status_code in (200, 400), response.text


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/tokenize", "/detokenize", "/v1/chat/completions"])
@settings(max_examples=60, deadline=None, suppress_health_check=[*HealthCheck])
@given(body=VALUES)
def test_any_body_of_the_other_routes_is_answered(client, path, body):
    assert client.post(path, content=json.dumps(body), headers=JSON).status_code in (200, 400, 404)
