"""Requests as dataclasses, whose fields are declared once, by kinds of values.

A kind reads a JSON value, describes itself in words, and has a JSON Schema.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, TypeVar

from corelm.errors import UsageError
from corelm.runs import json_object, printable
from corelm_serve.errors import ApiError


@dataclass(frozen=True)
class Kind:
    """A kind of value.

    Attributes:
        words: the rule in words that follow "must be".
        schema: the JSON Schema of the value.
        read: converts a JSON value; raises ValueError for a value of another kind.
    """

    words: str
    schema: dict[str, Any]
    read: Callable[[Any], Any]


def number(ge: float, le: float = math.inf, convert: type[float] = float) -> Kind:
    """Return the kind of a number with inclusive bounds; with `int`, a whole one."""
    words, schema = ("a whole number", "integer") if convert is int else ("a number", "number")
    words += f" of at least {ge:,}" if le == math.inf else f" from {ge:,} to {le:,}"
    bounds = {"minimum": ge} | ({} if le == math.inf else {"maximum": le})

    def read(value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError
        if not math.isfinite(value) or (convert is int and value != int(value)):
            raise ValueError
        if not ge <= value <= le:
            raise ValueError
        return int(value) if convert is int else value

    return Kind(words, {"type": schema, **bounds}, read)


def whole(ge: int, le: int) -> Kind:
    """Return the kind of a whole number with inclusive bounds."""
    return number(ge, le, int)


def text(longest: int = 2**20, shortest: int = 0, pattern: str = "") -> Kind:
    """Return the kind of a text."""
    words = f"a text of {shortest:,} to {longest:,} characters"
    words += f" that matches {pattern}" if pattern else ""
    schema: dict[str, Any] = {"type": "string", "maxLength": longest}
    schema |= {"pattern": f"^{pattern}$"} if pattern else {}
    schema |= {"minLength": shortest} if shortest else {}

    def read(value: Any) -> str:
        if not isinstance(value, str) or not shortest <= len(value) <= longest:
            raise ValueError
        if pattern and not re.fullmatch(pattern, value):
            raise ValueError
        value.encode()  # a lone surrogate, which JSON can hold, is no text: a ValueError too
        return value

    return Kind(words, schema, read)


def checked(words: str, schema: dict[str, Any], fits: Callable[[Any], bool]) -> Kind:
    """Return the kind of the values that pass a check."""

    def read(value: Any) -> Any:
        if not fits(value):
            raise ValueError
        return value

    return Kind(words, schema, read)


def one_of(*choices: str) -> Kind:
    """Return the kind of some texts."""
    schema = {"type": "string", "enum": list(choices)}
    return checked(f"one of {', '.join(choices)}", schema, lambda value: value in choices)


FLAG = checked("true or false", {"type": "boolean"}, lambda value: isinstance(value, bool))
DOCUMENT = checked("a JSON object", {"type": "object"}, lambda value: isinstance(value, dict))


def list_of(item: Kind, longest: int, shortest: int = 0, name: str = "") -> Kind:
    """Return the kind of a list, by default of items described by their own rule."""
    items = name or f"items, each {item.words}"
    schema = {"type": "array", "items": item.schema, "minItems": shortest, "maxItems": longest}

    def read(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list) or not shortest <= len(value) <= longest:
            raise ValueError
        values = []
        for place, each in enumerate(value):
            try:
                values.append(item.read(each))
            except ApiError as error:
                raise error.within(f"[{place}]") from None
        return tuple(values)

    return Kind(f"a list of {shortest:,} to {longest:,} {items}", schema, read)


def either(words: str, *kinds: Kind) -> Kind:
    """Return the kind of a value of one of several kinds; the first that fits reads it."""

    def read(value: Any) -> Any:
        for kind in kinds:
            with suppress(ValueError):
                return kind.read(value)
        raise ValueError

    return Kind(words, {"anyOf": [kind.schema for kind in kinds]}, read)


def one_or_more(item: Kind, longest: int, words: str) -> Kind:
    """Return the kind of a value, or of a list of such values."""
    return either(words, item, list_of(item, longest))


def by_token(value: Kind, largest: int, name: str) -> Kind:
    """Return the kind of a mapping from token ids, written as texts, to values of one kind."""
    key = "^[0-9]{1,10}$"
    schema = {
        "type": "object",
        "patternProperties": {key: value.schema},
        "additionalProperties": False,
        "maxProperties": largest,
    }

    def read(values: Any) -> dict[str, Any]:
        values = {} if values == [] else values  # as llama.cpp writes a mapping of nothing
        if not isinstance(values, dict) or len(values) > largest:
            raise ValueError
        if not all(re.fullmatch(key, id) for id in values):
            raise ValueError
        if len({*map(int, values)}) < len(values):  # such as 5 and 05
            raise ValueError
        return {id: value.read(item) for id, item in values.items()}

    nothing = {"type": "array", "maxItems": 0}
    return Kind(f"a mapping of at most {largest:,} {name}", {"anyOf": [schema, nothing]}, read)


def nested(cls: type[Request]) -> Kind:
    """Return the kind of a nested object, which is a request of its own."""

    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            raise ValueError
        return cls.read(value)

    return Kind("an object", cls.body_schema() | {"additionalProperties": False}, read)


# ---- requests ----

R = TypeVar("R", bound="Request")
NOTHING: tuple[Any, ...] = (
    "", [], {}, False, "none", "auto", "default", "medium", ["text"], {"type": "text"}
)  # fmt: skip
"""Values of OpenAI's fields that have no effect."""


def field(kind: Kind, help: str, default: Any = None, *, required: bool = False) -> Any:
    """Declare one field of a request.

    Args:
        kind: the kind of its values; null means the default.
        help: one line for the reference.
        default: its value in a request without it.
        required: True if a request must have it.
    """
    rule = {"kind": kind, "help": help, "required": required}
    return dataclasses.field(default=default, metadata=rule)


class Request:
    """A request: a frozen dataclass whose fields are declared with `field`."""

    refused: ClassVar[Mapping[str, str]] = {}
    """Fields of OpenAI's that this server can't honour, each with the reason."""

    @classmethod
    def read(cls: type[R], body: Any, others: Collection[str] = ()) -> R:
        """Read a body.

        Args:
            body: the JSON value.
            others: names that are fields elsewhere, for suggestions.

        Raises:
            ApiError: a field that is unknown, missing or has a wrong value.
        """
        request, rest = cls.read_part(body)
        for name in rest:
            raise cls.unknown_field(name, others)
        return request

    @classmethod
    def read_part(cls: type[R], body: Any) -> tuple[R, dict[str, Any]]:
        """Read the declared fields of a body; return the request and the other fields."""
        rest = {name: value for name, value in body.items() if value is not None}
        for name in cls.refused.keys() & rest.keys():
            if rest.pop(name) not in NOTHING:
                reason = cls.refused[name]
                raise ApiError(f"{name} is not supported: {reason}", param=name, code="unsupported")
        values = {}
        for name, rule in cls._rules():
            if name in rest:
                values[name] = _read(name, rule["kind"], rest.pop(name))
            elif rule["required"]:
                message = f"{name} is missing: it must be {rule['kind'].words}"
                raise ApiError(message, param=name, code="missing_field")
        # A field that isn't given keeps its default, which is an attribute of the class: to call
        # the class would write each of some thirty defaults again.
        request = object.__new__(cls)
        vars(request).update(values)
        return request, rest

    @classmethod
    @cache
    def fields(cls) -> tuple[dataclasses.Field[Any], ...]:
        """Return the declared fields."""
        return tuple(each for each in dataclasses.fields(cls) if "kind" in each.metadata)  # type: ignore[arg-type]

    @classmethod
    @cache
    def _rules(cls) -> tuple[tuple[str, dict[str, Any]], ...]:
        return tuple((each.name, dict(each.metadata)) for each in cls.fields())

    @classmethod
    def unknown_field(cls, name: str, others: Collection[str] = ()) -> ApiError:
        """Return the error for a field that the request doesn't have."""
        names = sorted({each.name for each in cls.fields()} | {*others})
        hint = printable.did_you_mean(name, names)
        return ApiError(
            f"there is no field {printable.shown(name)}{hint} (there are: {', '.join(names)})",
            param=name,
            code="unknown_field",
        )

    @classmethod
    def body_schema(cls) -> dict[str, Any]:
        """Return the JSON Schema of the body."""
        properties = {}
        for each in cls.fields():
            rule, described = each.metadata, dict(each.metadata["kind"].schema)
            described["description"] = rule["help"]
            if not rule["required"]:
                described = {"anyOf": [described, {"type": "null"}], "description": rule["help"]}
            if each.default is not None and not rule["required"]:
                value = each.default
                described["default"] = [*value] if isinstance(value, tuple) else value
            properties[each.name] = described
        required = [each.name for each in cls.fields() if each.metadata["required"]]
        return {"type": "object", "properties": properties, "required": required}


def _read(name: str, kind: Kind, value: Any) -> Any:
    try:
        return kind.read(value)
    except ApiError as error:
        raise error.within(name) from None
    except (ValueError, OverflowError):
        raise ApiError(
            f"{name} must be {kind.words}, not {printable.shown(value)}",
            param=name,
            code="invalid_value",
        ) from None


def json_of(body: str | bytes | bytearray, name: str = "the body") -> dict[str, Any]:
    """Return the object of a strict JSON text, as `corelm.runs.json_object` reads it.

    Raises:
        ApiError: another text; the message begins with its name.
    """
    try:
        return json_object(body, name)
    except UsageError as error:
        raise ApiError(str(error), code="invalid_json") from None
