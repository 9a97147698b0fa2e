"""The body of `POST /v1/chat/completions`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from corelm_serve.errors import ApiError
from corelm_serve.requests.completion import StreamOptions
from corelm_serve.requests.fields import Record, Request, field
from corelm_serve.requests.kinds import Either, Flag, ListOf, Number, Text
from corelm_serve.requests.sampling import UNUSED, Sampling

ROLES = ("system", "developer", "user", "assistant")
MOST_MESSAGES = 1_024
TOOLS = "these models call no tools"


@dataclass(frozen=True, kw_only=True)
class TextPart(Request):
    """A part of a message."""

    refused: ClassVar[dict[str, str]] = {
        "image_url": "these models read no images",
        "input_audio": "these models read no sound",
        "file": "these models read no files",
    }

    type: str = field(Text(choices=("text",)), "only text is read", required=True)
    text: str = field(Text(), "the text", required=True)


@dataclass(frozen=True, kw_only=True)
class Message(Request):
    """A message."""

    refused: ClassVar[dict[str, str]] = {"tool_calls": TOOLS, "refusal": "it is an answer's"}

    role: str = field(Text(choices=ROLES), "who says it", required=True)
    content: Any = field(
        Either((Text(), ListOf(Record(TextPart), 64)), "a text, or a list of parts of type text"),
        "the text of the message",
        required=True,
    )
    name: str | None = field(Text(64), "taken for compatibility, and not kept")

    @property
    def document(self) -> dict[str, str]:
        """The message as chat templates read it."""
        content = self.content
        if not isinstance(content, str):
            content = "".join(part.text for part in content)
        return {"role": "system" if self.role == "developer" else self.role, "content": content}


@dataclass(frozen=True, kw_only=True)
class ChatRequest(Sampling):
    """An answer to messages."""

    refused: ClassVar[dict[str, str]] = {
        **UNUSED,
        "tools": TOOLS,
        "tool_choice": TOOLS,
        "functions": TOOLS,
        "function_call": TOOLS,
        "response_format": "write a grammar as a sampler, such as json_schema(schema=...)",
        "audio": "these models write text",
        "prediction": "use the decoder speculative",
        "reasoning_effort": "these models answer at once",
        "modalities": "these models write text",
        "verbosity": "set max_tokens",
        "web_search_options": TOOLS,
    }

    model: str = field(Text(256, 1), "a name of `GET /v1/models`", required=True)
    messages: tuple[Message, ...] = field(
        ListOf(Record(Message), MOST_MESSAGES, 1, "messages"), "the conversation", required=True
    )
    max_tokens: int | None = field(
        Number(0, 2**31, whole=True), "tokens to draw at most; default: as many as are allowed"
    )
    max_completion_tokens: int | None = field(
        Number(0, 2**31, whole=True), "the newer name of max_tokens"
    )
    logprobs: bool = field(Flag(), "return the log-probability of each token", False)
    top_logprobs: int | None = field(
        Number(0, 20, whole=True),
        "also return the log-probabilities of this many likely tokens; needs logprobs",
    )
    stream_options: StreamOptions | None = field(Record(StreamOptions), "options of the stream")
    parallel_tool_calls: bool = field(Flag(), "taken for compatibility: no tools are called", False)

    @property
    def tables(self) -> int | None:
        """The number of likeliest tokens to return at each place; None for no log-probabilities."""
        return (self.top_logprobs or 0) if self.logprobs else None

    def length(self, most: int) -> int:
        """Return the number of tokens to draw at most."""
        given = [n for n in (self.max_tokens, self.max_completion_tokens) if n is not None]
        return given[0] if given else most

    def check(self) -> None:
        """Raise if fields contradict each other."""
        if None not in (self.max_tokens, self.max_completion_tokens):
            message = "max_completion_tokens excludes max_tokens, its older name"
            raise ApiError(message, param="max_tokens", code="excluded_field")
        if self.top_logprobs and not self.logprobs:
            message = "top_logprobs needs logprobs"
            raise ApiError(message, param="top_logprobs", code="excluded_field")
        if self.stream_options is not None and not self.stream:
            message = "stream_options needs stream"
            raise ApiError(message, param="stream_options", code="excluded_field")
