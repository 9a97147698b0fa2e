"""The formats that a request may ask an answer to have: JSON, and tool calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from corelm_serve.errors import ApiError
from corelm_serve.requests.fields import DOCUMENT, FLAG, Request, field, nested, one_of, text

NAME = text(64, 1)
FUNCTION = one_of("function")
MOST_TOOLS = 128
SPACES = {"x-guidance": {"whitespace_pattern": r"(\n {0,16}| ?)"}}
"""llguidance's option for white space in JSON: a space, or a line break and spaces. Without a
limit, small models write hundreds, and may never end."""


@dataclass(frozen=True, kw_only=True)
class SchemaFormat(Request):
    """A JSON schema by name."""

    name: str | None = field(NAME, "taken for compatibility: the schema alone counts")
    description: str | None = field(text(), "taken for compatibility: say it in a message")
    schema: dict[str, Any] = field(DOCUMENT, "the JSON schema", required=True)
    strict: bool = field(FLAG, "taken for compatibility: every text is valid", True)


@dataclass(frozen=True, kw_only=True)
class ResponseFormat(Request):
    """The shape of a text."""

    type: str = field(
        one_of("text", "json_object", "json_schema"), "the kind of text", required=True
    )
    json_schema: SchemaFormat | None = field(
        nested(SchemaFormat), "the schema, for the type json_schema"
    )

    @property
    def schema(self) -> dict[str, Any] | None:
        """The JSON schema of the text; None for any text.

        Raises:
            ApiError: a schema for a type without one, or a missing schema.
        """
        if (self.json_schema is not None) != (self.type == "json_schema"):
            message = "json_schema goes with the type json_schema, and the type with json_schema"
            raise ApiError(message, param="response_format", code="invalid_value")
        if self.json_schema is not None:
            return SPACES | self.json_schema.schema
        return SPACES | {"type": "object"} if self.type == "json_object" else None


@dataclass(frozen=True, kw_only=True)
class Function(Request):
    """A function that an answer may call."""

    name: str = field(
        text(64, 1, pattern="[a-zA-Z0-9_-]+"), "letters, digits, _ and - alone", required=True
    )
    description: str | None = field(text(), "for the model, by its chat template")
    parameters: dict[str, Any] | None = field(
        DOCUMENT, "the JSON schema of the arguments, an object; default: no arguments"
    )
    strict: bool = field(FLAG, "taken for compatibility: arguments are always valid", True)

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON schema of the arguments.

        Raises:
            ApiError: the schema doesn't describe an object.
        """
        if not self.parameters:
            return SPACES | {"type": "object", "properties": {}, "additionalProperties": False}
        if self.parameters.get("type") != "object":
            message = f'parameters of {self.name} must have "type": "object"'
            raise ApiError(message, param="parameters", code="invalid_value")
        return SPACES | self.parameters


@dataclass(frozen=True, kw_only=True)
class Tool(Request):
    """A tool that an answer may use."""

    type: str = field(FUNCTION, "functions are the only tools", required=True)
    function: Function = field(nested(Function), "the function", required=True)

    @property
    def document(self) -> dict[str, Any]:
        """The tool as chat templates read it."""
        function: dict[str, Any] = {"name": self.function.name}
        if self.function.description is not None:
            function["description"] = self.function.description
        function["parameters"] = self.function.parameters or {"type": "object", "properties": {}}
        return {"type": "function", "function": function}


@dataclass(frozen=True, kw_only=True)
class FunctionName(Request):
    """The name of a function."""

    name: str = field(NAME, "the name of one of `tools`", required=True)


@dataclass(frozen=True, kw_only=True)
class NamedTool(Request):
    """The one tool that an answer must call."""

    type: str = field(FUNCTION, "functions are the only tools", required=True)
    function: FunctionName = field(nested(FunctionName), "the function", required=True)


@dataclass(frozen=True, kw_only=True)
class CalledFunction(Request):
    """A call in an earlier answer."""

    name: str = field(NAME, "the function", required=True)
    arguments: str = field(text(), "its arguments, as JSON", required=True)


@dataclass(frozen=True, kw_only=True)
class ToolCall(Request):
    """A call of a tool in an earlier answer."""

    refused: ClassVar[dict[str, str]] = {"index": "it is a stream's"}

    id: str | None = field(text(256), "the id that the result of the call names")
    type: str = field(FUNCTION, "functions are the only tools", "function")
    function: CalledFunction = field(nested(CalledFunction), "the call", required=True)
