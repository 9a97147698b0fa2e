"""The body of `POST /v1/chat/completions`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from corelm.runs import printable
from corelm_serve.errors import ApiError
from corelm_serve.requests.completion import UNUSED, TextRequest, excluded
from corelm_serve.requests.fields import (
    FLAG,
    Request,
    either,
    field,
    json_of,
    list_of,
    nested,
    one_of,
    text,
    whole,
)
from corelm_serve.requests.formats import MOST_TOOLS, NamedTool, Tool, ToolCall

ROLES = ("system", "developer", "user", "assistant", "tool")
MOST_MESSAGES = 1_024
OLD = "use tools, its newer name"


@dataclass(frozen=True, kw_only=True)
class TextPart(Request):
    """A part of a message."""

    refused: ClassVar[dict[str, str]] = {
        "image_url": "these models read no images",
        "input_audio": "these models read no sound",
        "file": "these models read no files",
    }

    type: str = field(one_of("text"), "only text is read", required=True)
    text: str = field(text(), "the text", required=True)


@dataclass(frozen=True, kw_only=True)
class Message(Request):
    """A message."""

    refused: ClassVar[dict[str, str]] = {
        "refusal": "it is an answer's",
        "audio": "these models write text",
        "function_call": "use tool_calls, its newer name",
        "annotations": "these models have no sources",
    }

    role: str = field(one_of(*ROLES), "who says it", required=True)
    content: Any = field(
        either("a text, or a list of parts of type text", text(), list_of(nested(TextPart), 64)),
        "the text of the message; only calls of tools may come without one",
    )
    name: str | None = field(text(64), "taken for compatibility, and not kept")
    tool_calls: tuple[ToolCall, ...] = field(
        list_of(nested(ToolCall), MOST_TOOLS), "the calls of an earlier answer", ()
    )
    tool_call_id: str | None = field(text(256), "the call that a tool's message is the result of")

    @property
    def document(self) -> dict[str, Any]:
        """The message as chat templates read it."""
        content = self.content or ""
        if not isinstance(content, str):
            content = "".join(part.text for part in content)
        role = "system" if self.role == "developer" else self.role
        message: dict[str, Any] = {"role": role, "content": content}
        if self.tool_calls:
            message["tool_calls"] = [_as_templates_read(call) for call in self.tool_calls]
        if self.tool_call_id is not None:
            message["tool_call_id"] = self.tool_call_id
        return message

    def check(self) -> None:
        """Raise if a message is empty, or has a field that its role can't have."""
        if self.content is None and not self.tool_calls:
            message = "content is missing: only a message with tool_calls may come without it"
            raise ApiError(message, param="content", code="missing_field")
        if self.tool_calls and self.role != "assistant":
            message = "tool_calls are the assistant's"
            raise ApiError(message, param="tool_calls", code="invalid_value")


def _as_templates_read(call: ToolCall) -> dict[str, Any]:
    """Return a call with its arguments as a mapping, which chat templates format themselves."""
    try:
        arguments = json_of(call.function.arguments, "arguments")
    except ApiError as error:
        raise error.within("messages") from None
    function = {"name": call.function.name, "arguments": arguments}
    return {"id": call.id or "", "type": "function", "function": function}


@dataclass(frozen=True, kw_only=True)
class ChatRequest(TextRequest):
    """An answer to messages."""

    refused: ClassVar[dict[str, str]] = {
        **UNUSED,
        "functions": OLD,
        "function_call": "use tool_choice, its newer name",
        "audio": "these models write text",
        "prediction": "use the decoder speculative",
        "reasoning_effort": "these models answer at once",
        "modalities": "these models write text",
        "verbosity": "set max_tokens",
        "add_special_tokens": "the chat template writes them",
        "web_search_options": "these models search nothing",
    }

    messages: tuple[Message, ...] = field(
        list_of(nested(Message), MOST_MESSAGES, 1, "messages"), "the conversation", required=True
    )
    max_tokens: int | None = field(
        whole(0, 2**31), "tokens to draw at most; default: as many as are allowed"
    )
    max_completion_tokens: int | None = field(whole(0, 2**31), "the newer name of max_tokens")
    logprobs: bool = field(FLAG, "return the log-probability of each token", False)
    top_logprobs: int | None = field(
        whole(0, 20),
        "also return the log-probabilities of this many likely tokens; needs logprobs",
    )
    tools: tuple[Tool, ...] = field(
        list_of(nested(Tool), MOST_TOOLS, 0, "tools"),
        "functions that the answer may call; needs the plugin corelm-grammar",
        (),
    )
    tool_choice: Any = field(
        either(
            "none, auto, required, or an object that names a function",
            one_of("none", "auto", "required"),
            nested(NamedTool),
        ),
        "whether it must call some, or which; default: auto",
    )
    parallel_tool_calls: bool = field(FLAG, "allow several calls in one answer", True)

    @property
    def tables(self) -> int | None:
        """The number of likeliest tokens to return at each place; None for no log-probabilities."""
        return (self.top_logprobs or 0) if self.logprobs else None

    @property
    def callable_tools(self) -> tuple[Tool, ...]:
        """The tools that the answer may call.

        Raises:
            ApiError: `tool_choice` names another one, or there is none to call.
        """
        if isinstance(self.tool_choice, NamedTool):
            name = self.tool_choice.function.name
            tools = tuple(tool for tool in self.tools if tool.function.name == name)
            if not tools:
                message = f"tool_choice names {printable.shown(name)}, which is none of tools"
                raise ApiError(message, param="tool_choice", code="invalid_value")
            return tools
        if self.tool_choice == "required" and not self.tools:
            raise excluded("tool_choice is required, but there are no tools", "tool_choice")
        return () if self.tool_choice == "none" else self.tools

    def length(self, most: int) -> int:
        """Return the largest number of tokens to draw."""
        lengths = [n for n in (self.max_tokens, self.max_completion_tokens) if n is not None]
        return lengths[0] if lengths else most

    def check(self) -> None:
        """Raise if fields contradict each other."""
        for message_ in self.messages:
            message_.check()
        names = [tool.function.name for tool in self.tools]
        if len({*names}) < len(names):
            message = "two tools have the same name"
            raise ApiError(message, param="tools", code="invalid_value")
        if None not in (self.max_tokens, self.max_completion_tokens):
            raise excluded(
                "max_completion_tokens excludes max_tokens, its older name", "max_tokens"
            )
        if self.top_logprobs and not self.logprobs:
            raise excluded("top_logprobs needs logprobs", "top_logprobs")
        super().check()
