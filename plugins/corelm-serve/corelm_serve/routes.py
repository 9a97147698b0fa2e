"""The routes: one table for the application, its figures and the OpenAPI document."""

from __future__ import annotations

from dataclasses import dataclass

from corelm_serve.requests.chat import ChatRequest
from corelm_serve.requests.completion import CompletionRequest
from corelm_serve.requests.fields import Request
from corelm_serve.requests.play import (
    ChainRequest,
    NextRequest,
    PictureRequest,
    SendRequest,
    TreeRequest,
    WriteRequest,
)
from corelm_serve.tokens import DetokenizeRequest, TokenizeRequest


@dataclass(frozen=True)
class RouteSpec:
    """One route.

    Attributes:
        method: the HTTP method.
        path: the path, with Starlette's placeholders.
        endpoint: the function of `endpoints`.
        summary: one line for the reference.
        body: the request that its body is read as.
        open: True if it needs no token.
    """

    method: str
    path: str
    endpoint: str
    summary: str
    body: type[Request] | None = None
    open: bool = False


ROUTES = (
    RouteSpec("GET", "/", "index", "Name the server and its description"),
    RouteSpec("POST", "/v1/completions", "completions", "Continue a text, or several",
              CompletionRequest),
    RouteSpec("POST", "/v1/chat/completions", "chat_completions", "Answer messages", ChatRequest),
    RouteSpec("GET", "/v1/models", "models", "List the models"),
    RouteSpec("GET", "/v1/models/{name:path}", "model", "Describe one model"),
    RouteSpec("POST", "/tokenize", "tokenize", "Split a text into tokens", TokenizeRequest),
    RouteSpec("POST", "/detokenize", "detokenize", "Join tokens into a text", DetokenizeRequest),
    RouteSpec("GET", "/tokenizer_info", "tokenizer_info", "Describe the vocabulary of a model"),
    RouteSpec("GET", "/api/samplers", "play_samplers", "List the samplers and their parameters"),
    RouteSpec("POST", "/api/chain", "play_chain", "Read a chain, and note likely mistakes",
              ChainRequest),
    RouteSpec("POST", "/api/next", "play_next", "Explain the next word, stage by stage",
              NextRequest),
    RouteSpec("POST", "/api/tree", "play_tree", "List what could follow, word by word",
              TreeRequest),
    RouteSpec("POST", "/api/picture", "play_picture", "Draw the next word as SVG, PDF or PNG",
              PictureRequest),
    RouteSpec("POST", "/api/write", "play_write", "Draw tokens from a place in a text on",
              WriteRequest),
    RouteSpec("GET", "/api/class", "play_class", "Return what the teacher of a class has sent"),
    RouteSpec("POST", "/api/class", "play_send", "Send a state of the page to a class",
              SendRequest),
    RouteSpec("GET", "/play", "play", "Return the page of `corelm play`"),
    RouteSpec("GET", "/play/{file}", "play_file", "Return a file of the page"),
    RouteSpec("GET", "/health", "health", "Say that the server answers", open=True),
    RouteSpec("GET", "/metrics", "metrics", "Return figures for Prometheus"),
    RouteSpec("GET", "/openapi.json", "openapi", "Return the description of this interface"),
)  # fmt: skip
