"""The OpenAPI document and the reference page say what the server does."""

from pathlib import Path

import pytest
from corelm_serve.errors import ApiError
from corelm_serve.openapi import document
from corelm_serve.requests.chat import ChatRequest
from corelm_serve.requests.completion import CompletionRequest
from corelm_serve.security import Access
from corelm_serve.server import create_app
from corelm_serve.service import Service
from serve_client import ToyModel
from starlette.routing import Route

jsonschema = pytest.importorskip("jsonschema", reason="pip install jsonschema")
PAGE = Path(__file__).resolve().parents[3] / "docs" / "reference" / "server.md"


def test_the_document_has_the_routes_of_the_application():
    service = Service({"toy": ToyModel()})
    guard = create_app(service, Access.to("127.0.0.1", 8000))
    served = {
        (route.path.replace(":path", ""), method)
        for route in guard._app.routes
        if isinstance(route, Route)
        for method in route.methods or ("GET", "POST")
    }
    service.close()
    described = {
        (path, method.upper()) for path, found in document()["paths"].items() for method in found
    }
    assert described <= served
    assert {path for path, _ in served} == {path for path, _ in described}


def test_the_server_returns_the_document(client):
    assert client.get("/openapi.json").json() == document()


def test_its_schemas_are_schemas():
    for schema in document()["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


GOOD = [
    {"model": "m", "prompt": "the"},
    {"model": "m", "prompt": [1, 2], "n": 2, "logit_bias": {"5": 1.5}, "stop": ["a", "b"]},
    {"model": "m", "prompt": ["a", "b"], "temperature": None, "stream": True},
    {"model": "m", "prompt": [[1], [2]], "stream_options": {"include_usage": True}},
]
BAD = [
    {"prompt": "the"},
    {"model": "m", "prompt": []},
    {"model": "m", "prompt": [1, "a"]},
    {"model": "m", "prompt": "the", "n": 65},
    {"model": "m", "prompt": "the", "temperature": "1"},
    {"model": "m", "prompt": "the", "logit_bias": {"the": 1}},
    {"model": "m", "prompt": "the", "stop": [""]},
    {"model": "m", "prompt": "the", "stream_options": {"x": True}},
    {"model": "m", "prompt": "the", "engine": "kobold"},
]


@pytest.mark.parametrize("body", GOOD)
def test_the_schema_allows_what_is_read(body):
    CompletionRequest.read(body)
    jsonschema.validate(body, CompletionRequest.body_schema())


@pytest.mark.parametrize("body", BAD)
def test_the_schema_refuses_what_is_refused(body):
    with pytest.raises(ApiError):
        CompletionRequest.read(body)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(body, CompletionRequest.body_schema())


def test_a_conversation_in_the_schema():
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}],
    }
    ChatRequest.read(body)
    jsonschema.validate(body, ChatRequest.body_schema())
    body["messages"][0]["content"][0]["type"] = "image"
    with pytest.raises(ApiError):
        ChatRequest.read(body)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(body, ChatRequest.body_schema())


def test_every_field_of_a_request_is_on_the_page():
    if not PAGE.exists():
        pytest.skip("the documentation is not here")
    page = PAGE.read_text("utf-8")
    for body in (CompletionRequest, ChatRequest):
        names = {each.name for each in body.fields()}
        assert not {name for name in names if f"`{name}`" not in page}
