"""Tool calls: the grammar of an answer that may contain calls, and the reader of its calls."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from corelm_serve.errors import ApiError
from corelm_serve.requests.formats import Tool

SPACE = r"[ \n]"
NAME = r'"(?P<name>[a-zA-Z0-9_-]+)"'


OTHERS = {
    "<function=": "as XML",
    "[TOOL_CALLS]": "after the token [TOOL_CALLS], as Mistral's do",
    "functools[": "after functools, as Phi's do",
    "<|tool_call|>": "after the token <|tool_call|>, as Granite's do",
    "<|START_ACTION|>": "as actions, as Cohere's do",
    "<|channel|>": "in channels, as gpt-oss does",
    "tool\u2581call": "between tokens of their own, as DeepSeek's do",
}
"""Marks of chat templates with other formats than those below, and how they write calls."""
FORMATS = "JSON in <tool_call> tags, as Hermes and Qwen write it, or a JSON object, as Llama does"


@dataclass(frozen=True)
class CallFormat:
    """The format in which a model was trained to write a call.

    Attributes:
        begin: the text before the JSON object of a call; "" if the text is only the object.
        end: the text after the object.
        arguments: the key of the arguments.
    """

    begin: str
    end: str
    arguments: str

    @classmethod
    def of(cls, template: str) -> CallFormat:
        """Return the format that a chat template describes to its model.

        Raises:
            ApiError: another format than those that are known.
        """
        if other := next((OTHERS[mark] for mark in OTHERS if mark in template), None):
            message = f"the chat template of this model writes calls {other}, which isn't supported"
            raise ApiError(f"{message} (known: {FORMATS})", param="tools", code="unsupported")
        if "<tool_call>" in template:  # Hermes, Qwen
            return cls("<tool_call>", "</tool_call>", "arguments")
        return cls("", "", "parameters" if '"parameters": ' in template else "arguments")  # Llama

    def grammar(
        self,
        tools: Sequence[Tool],
        *,
        optional: bool,
        several: bool,
        schema: dict[str, Any] | None = None,
    ) -> str:
        """Return the grammar of an answer, in llguidance's form of Lark.

        Args:
            tools: the tools that may be called, at least one.
            optional: the answer may be a text without calls, or with a text before them.
            several: it may have more than one call, if the format has tags between them.
            schema: the JSON schema of a text without calls; None for any text.
        """
        names = [f"call_{i}" for i in range(len(tools))]
        rules = [f"call: {' | '.join(names)}", f"SPACES: /{SPACE}{{0,4}}/"]
        for name, tool in zip(names, tools, strict=True):
            rules.append(f'{name}: {self._head(tool.function.name)} {name}_arguments SPACES "}}"')
            rules.append(f"{name}_arguments: %json {json.dumps(tool.function.schema)}")
        calls = "SPACES call"
        if self.begin:
            begin, end, more = json.dumps(self.begin), json.dumps(self.end), " more?" * several
            rules += [f"rest: SPACES call SPACES {end}{more}", f"more: SPACES {begin} rest"]
            calls = f"SPACES {begin} rest"
        if not optional:
            return "\n".join([f"start: {calls}", *rules])
        if schema is not None:
            return "\n".join(
                [f"start: {calls} | text", *rules, f"text: %json {json.dumps(schema)}"]
            )
        if not self.begin:
            return "\n".join([f"start: {calls} | TEXT", *rules, r"TEXT: /(\s*[^\s{](?s:.*))?/"])
        tag = re.escape(self.begin)
        # Lazy: a greedy match would run past the beginning of a call.
        rules += ["before[lazy]: BEFORE", f"BEFORE: /(?s:.*){tag}/"]
        rules.append(f"TEXT: /(?s:.*)/ & ~/(?s:.*){tag}(?s:.*)/")
        return "\n".join(["start: before rest | TEXT", *rules])

    def _head(self, name: str) -> str:
        words = ["{", '"name"', ":", json.dumps(name), ",", json.dumps(self.arguments), ":"]
        return " SPACES ".join(map(json.dumps, words)) + " SPACES"

    @property
    def head(self) -> re.Pattern[str]:
        """The pattern of a call up to its arguments, which are an object."""
        between = f"{SPACE}*"
        words = [re.escape(self.begin), r"\{", '"name"', ":", NAME, ",", f'"{self.arguments}"', ":"]
        return re.compile(between + between.join(words) + between + r"(?=\{)")

    @property
    def tail(self) -> re.Pattern[str]:
        """The pattern of a call after its arguments."""
        return re.compile(rf"{SPACE}*\}}{re.escape(self.end)}")


@dataclass
class Call:
    """A call in an answer.

    Attributes:
        index: its index among the calls.
        name: the function.
        arguments: its arguments so far, as JSON.
        id: the name that the result of the call refers to.
    """

    index: int
    name: str
    arguments: str
    id: str

    @property
    def document(self) -> dict[str, Any]:
        """The call as OpenAI's clients read it."""
        function = {"name": self.name, "arguments": self.arguments}
        return {"id": self.id, "type": "function", "function": function}


class CallReader:
    """A reader of the calls in a text that matches a `CallFormat`, piece by piece.

    Args:
        form: the format.

    Attributes:
        content: the text before the first call.
        calls: the calls.

    Example:
        >>> reader = CallReader(CallFormat("<tool_call>", "</tool_call>", "arguments"))
        >>> reader.add('Sure. <tool_call>{"name": "f", "argu')
        {'content': 'Sure. '}
        >>> delta = reader.add('ments": {"x"')
        >>> delta["tool_calls"][0]["function"]
        {'name': 'f', 'arguments': '{"x"'}
        >>> reader.add(': 1}}</tool_call>')["tool_calls"]
        [{'index': 0, 'function': {'arguments': ': 1}'}}]
    """

    def __init__(self, form: CallFormat) -> None:
        self._form, self._head, self._tail = form, form.head, form.tail
        self.content = ""
        self.calls: list[Call] = []
        self._left = ""  # the unread text
        self._state = self._text
        self._depth, self._is_quoted, self._is_escaped = 0, False, False

    def add(self, text: str, last: bool = False) -> dict[str, Any]:
        """Read the next piece of the text; return the changes as the delta of an event.

        Args:
            text: the piece.
            last: no other piece follows.
        """
        self._left += text
        content, calls = len(self.content), [len(call.arguments) for call in self.calls]
        state = None
        while state != self._state:  # until no state consumes more text
            state = self._state
            state(last)
        return self._delta(content, calls)

    def _delta(self, content: int, calls: list[int]) -> dict[str, Any]:
        delta: dict[str, Any] = {}
        if len(self.content) > content:
            delta["content"] = self.content[content:]
        changed: list[dict[str, Any]] = []
        for call in self.calls:
            if call.index >= len(calls):
                changed.append({"index": call.index, **call.document})
            elif len(call.arguments) > (before := calls[call.index]):
                new = {"arguments": call.arguments[before:]}
                changed.append({"index": call.index, "function": new})
        return delta | ({"tool_calls": changed} if changed else {})

    # ---- states ----

    def _text(self, last: bool) -> None:
        """Read the text before the first call."""
        begin = self._form.begin
        if not begin:
            first = self._left.lstrip()[:1]
            if first == "{" and not self.content.strip():
                self._state = self._call
            elif first or last:
                self._write(len(self._left))
            return
        at = self._left.find(begin)
        if at >= 0:
            # White space alone doesn't count as content.
            if self.content or self._left[:at].strip():
                self._write(at)
            self._left, self._state = self._left[self._left.find(begin) :], self._call
            return
        held = range(min(len(begin) - 1, len(self._left)), 0, -1)  # the end may begin a tag
        held_back = next((k for k in held if begin.startswith(self._left[-k:])), 0)
        end = len(self._left) - (0 if last else held_back)
        if last or self.content or self._left[:end].strip():
            self._write(end)

    def _call(self, last: bool) -> None:
        """Read the beginning of a call, up to its arguments."""
        if head := self._head.match(self._left):
            self._left = self._left[head.end() :]
            identity = f"call_{uuid.uuid4().hex[:24]}"
            self.calls.append(Call(len(self.calls), head["name"], "", identity))
            self._state = self._arguments

    def _arguments(self, last: bool) -> None:
        """Read the arguments, a JSON object, up to its closing brace."""
        for at, character in enumerate(self._left):
            self._follow(character)
            if not self._depth:
                self._take_arguments(at + 1)
                self._state = self._end
                return
        self._take_arguments(len(self._left))

    def _end(self, last: bool) -> None:
        """Read the end of a call."""
        if tail := self._tail.match(self._left):
            self._left = self._left[tail.end() :]
            self._state = self._call

    def _follow(self, character: str) -> None:
        if self._is_escaped:
            self._is_escaped = False
        elif self._is_quoted:
            self._is_escaped = character == "\\"
            self._is_quoted = character != '"'
        elif character == '"':
            self._is_quoted = True
        else:
            self._depth += (character in "{[") - (character in "]}")

    def _take_arguments(self, end: int) -> None:
        self.calls[-1].arguments += self._left[:end]
        self._left = self._left[end:]

    def _write(self, end: int) -> None:
        self.content += self._left[:end]
        self._left = self._left[end:]
