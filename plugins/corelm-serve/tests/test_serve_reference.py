"""The OpenAPI document and the reference page say what the server does."""

from pathlib import Path

import pytest
from serve_client import opened_client
from test_serve_chat import ChatModel

jsonschema = pytest.importorskip("jsonschema", reason="pip install jsonschema")
PAGE = Path(__file__).resolve().parents[3] / "docs" / "reference" / "server.md"


@pytest.fixture(scope="module")
def server():
    with opened_client({"m": ChatModel()}) as client:
        yield client


@pytest.fixture(scope="module")
def document(server):
    return server.get("/openapi.json").json()


def test_the_document_has_the_routes_of_the_application(server, document):
    there = server.get("/nowhere").json()["error"]["message"].partition("(there are: ")[2]
    assert sorted({*there.rstrip(")").split(", ")}) == sorted(document["paths"])
    for path, methods in document["paths"].items():
        for method in ("get", "post"):
            answer = server.request(
                method, path.replace("{name}", "m").replace("{file}", "main.js")
            )
            assert (answer.status_code == 405) == (method not in methods), path


def test_its_schemas_are_schemas_and_its_fields_have_help(document):
    for name, schema in document["components"]["schemas"].items():
        jsonschema.Draft202012Validator.check_schema(schema)
        if name != "Error":
            helps = [each["description"] for each in schema["properties"].values()]
            assert not [line for line in helps if len(line.split()) < 2]


GOOD = [
    {"prompt": [3, 4], "n": 2, "logit_bias": {"5": 1.5}, "stop": ["a", "b"]},
    {"prompt": ["the", "cat"], "temperature": None, "stream": True},
    {"prompt": [[3], [4]], "stream_options": {"include_usage": True}, "stream": True},
    {"n": 2.0, "temperature": 0, "top_p": 1, "logprobs": False, "unknown": False, "stop": "a"},
    {"logit_bias": {}, "stop": [], "seed": -1, "engine": "vllm"},
    {"logit_bias": []},
]
BAD = [
    {"prompt": None},
    {"prompt": []},
    {"prompt": [1, "a"]},
    *({"n": n} for n in (0, 65, 1.5, True, "1", [1])),
    *({"temperature": t} for t in ("1", -1, False)),
    *({"top_p": p} for p in (2, -1)),
    *({"stop": stop} for stop in ("", [""], 1, ["a"] * 17, "a" * 257)),
    *({"logit_bias": bias} for bias in ({"the": 1}, {"5": 101}, [5])),
    *({"stream": stream} for stream in (1, "true")),
    {"stream_options": {"x": True}},
    {"engine": "kobold"},
]


@pytest.mark.parametrize("body", [*GOOD, *BAD], ids=str)
def test_the_schema_allows_what_is_read_and_refuses_the_rest(server, document, body):
    schema = document["components"]["schemas"]["CompletionRequest"]
    asked = {"model": "m", "prompt": "the", "max_tokens": 1} | body
    valid = jsonschema.Draft202012Validator(schema).is_valid(
        {name: value for name, value in asked.items() if value is not None or name != "prompt"}
    )
    assert valid is (body in GOOD)
    assert (server.post("/v1/completions", json=asked).status_code == 200) is valid


@pytest.mark.parametrize("kind", ["text", "image"])
def test_a_conversation_in_the_schema(server, document, kind):
    messages = [{"role": "user", "content": [{"type": kind, "text": "the"}]}]
    asked = {"model": "m", "messages": messages, "max_tokens": 1}
    schema = document["components"]["schemas"]["ChatRequest"]
    assert jsonschema.Draft202012Validator(schema).is_valid(asked) is (kind == "text")
    answer = server.post("/v1/chat/completions", json=asked)
    assert answer.status_code == (200 if kind == "text" else 400)


def test_every_field_of_a_request_is_on_the_page(document):
    if not PAGE.exists():
        pytest.skip("the documentation is not here")
    page = PAGE.read_text("utf-8")
    for name in ("CompletionRequest", "ChatRequest"):
        names = document["components"]["schemas"][name]["properties"]
        assert not {field for field in names if f"`{field}`" not in page}
