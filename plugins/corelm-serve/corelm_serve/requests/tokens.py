"""The bodies of `POST /tokenize` and `POST /detokenize`, as vLLM's server takes them."""

from __future__ import annotations

from dataclasses import dataclass

from corelm_serve.requests.completion import ID, MOST_IDS
from corelm_serve.requests.fields import FLAG, ListOf, Request, Text, field


@dataclass(frozen=True, kw_only=True)
class TokenizeRequest(Request):
    """A text to split into tokens."""

    model: str | None = field(Text(256, 1), "a name of `GET /v1/models`; default: the only one")
    prompt: str = field(Text(), "the text", required=True)
    add_special_tokens: bool = field(FLAG, "put the start token before the text", False)
    return_token_strs: bool = field(FLAG, "return the text of each token too", False)


@dataclass(frozen=True, kw_only=True)
class DetokenizeRequest(Request):
    """Token ids to join into a text."""

    model: str | None = field(Text(256, 1), "a name of `GET /v1/models`; default: the only one")
    tokens: tuple[int, ...] = field(ListOf(ID, MOST_IDS), "token ids", required=True)
