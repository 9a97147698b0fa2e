"""Requests as dataclasses, whose fields are declared once: for reading and for OpenAPI."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Mapping
from typing import Any, ClassVar, TypeVar

from corelm.runs import printable
from corelm_serve.errors import ApiError
from corelm_serve.requests.kinds import Kind

R = TypeVar("R", bound="Request")
MISSING = object()
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
    def read(cls: type[R], body: Any, known: Collection[str] = ()) -> R:
        """Read a body.

        Args:
            body: the JSON value.
            known: names that are fields elsewhere, for suggestions.

        Raises:
            ApiError: a field that is unknown, missing or has a wrong value.
        """
        request, rest = cls.read_part(body)
        for name in rest:
            raise cls.unknown_field(name, known)
        return request

    @classmethod
    def read_part(cls: type[R], body: Any) -> tuple[R, dict[str, Any]]:
        """Read the declared fields of a body; return the request and the other fields."""
        if not isinstance(body, dict):
            raise ApiError(
                f"the body must be a JSON object, not {printable.shown(body)}",
                code="no_object",
            )
        given = {name: value for name, value in body.items() if value is not None}
        for name in cls.refused.keys() & given.keys():
            if given.pop(name) not in NOTHING:
                reason = cls.refused[name]
                raise ApiError(f"{name} is not supported: {reason}", param=name, code="unsupported")
        values = {each.name: _read(each, given.pop(each.name, MISSING)) for each in cls.fields()}
        return cls(**values), given

    @classmethod
    def fields(cls) -> tuple[dataclasses.Field[Any], ...]:
        """Return the declared fields."""
        return tuple(each for each in dataclasses.fields(cls) if "kind" in each.metadata)  # type: ignore[arg-type]

    @classmethod
    def unknown_field(cls, name: str, known: Collection[str] = ()) -> ApiError:
        """Return the error for a field that the request doesn't have."""
        names = sorted({each.name for each in cls.fields()} | {*known})
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


def _read(each: dataclasses.Field[Any], value: Any) -> Any:
    rule = each.metadata
    if value is MISSING:
        if rule["required"]:
            message = f"{each.name} is missing: it must be {rule['kind'].words}"
            raise ApiError(message, param=each.name, code="missing_field")
        return each.default
    try:
        return rule["kind"].read(value)
    except ApiError as error:
        raise error.within(each.name) from None
    except (ValueError, OverflowError):
        raise ApiError(
            f"{each.name} must be {rule['kind'].words}, not {printable.shown(value)}",
            param=each.name,
            code="invalid_value",
        ) from None


@dataclasses.dataclass(frozen=True)
class Record:
    """The kind of a nested object, as a request of its own."""

    cls: type[Request]
    words: str = "an object"

    @property
    def schema(self) -> dict[str, Any]:
        return self.cls.body_schema() | {"additionalProperties": False}

    def read(self, value: Any) -> Any:
        if not isinstance(value, dict):
            raise ValueError
        return self.cls.read(value)


def json_of(body: bytes, name: str = "the body") -> Any:
    """Return the value of a strict JSON text: no NaN, no key twice.

    Args:
        body: the text.
        name: of what, for the error.

    Raises:
        ApiError: another text.
    """
    try:
        return json.loads(body, parse_constant=_no_constant, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        reason = "too deep" if isinstance(error, RecursionError) else str(error)
        raise ApiError(f"{name} is not JSON: {reason}", code="invalid_json") from None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number in JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key appears twice in one object")
    return found
