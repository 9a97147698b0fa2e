"""Requests as dataclasses, whose fields are declared once, by kinds of values.

A kind reads a JSON value, describes itself in words, and has a JSON Schema.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Protocol, TypeVar

from corelm.runs import printable
from corelm_serve.errors import ApiError


class Kind(Protocol):
    """A kind of value."""

    @property
    def words(self) -> str:
        """Return the rule in words that follow "must be"."""

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON Schema of the value."""

    def read(self, value: Any) -> Any:
        """Convert a JSON value.

        Raises:
            ValueError: another kind of value, or one outside its bounds.
        """


@dataclass(frozen=True)
class Number:
    """A number with inclusive bounds."""

    ge: float | None = None
    le: float | None = None
    whole: bool = False

    @property
    def words(self) -> str:
        name = "a whole number" if self.whole else "a number"
        if self.ge is not None and self.le is not None:
            return f"{name} from {self.ge:,} to {self.le:,}"
        bounds = [f"at least {self.ge:,}"] if self.ge is not None else []
        bounds += [f"at most {self.le:,}"] if self.le is not None else []
        return f"{name} of {bounds[0]}" if bounds else name

    @property
    def schema(self) -> dict[str, Any]:
        schema: dict[str, Any] = {"type": "integer" if self.whole else "number"}
        if self.ge is not None:
            schema["minimum"] = self.ge
        if self.le is not None:
            schema["maximum"] = self.le
        return schema

    def read(self, value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError
        if not math.isfinite(value) or (self.whole and value != int(value)):
            raise ValueError
        if (self.ge is not None and value < self.ge) or (self.le is not None and value > self.le):
            raise ValueError
        return int(value) if self.whole else value


@dataclass(frozen=True)
class Text:
    """A text."""

    longest: int = 2**20
    shortest: int = 0
    choices: tuple[str, ...] = ()
    pattern: str = ""

    @property
    def words(self) -> str:
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        words = f"a text of {self.shortest:,} to {self.longest:,} characters"
        return words + (f" that matches {self.pattern}" if self.pattern else "")

    @property
    def schema(self) -> dict[str, Any]:
        if self.choices:
            return {"type": "string", "enum": list(self.choices)}
        schema: dict[str, Any] = {"type": "string", "maxLength": self.longest}
        if self.pattern:
            schema["pattern"] = f"^{self.pattern}$"
        return schema | ({"minLength": self.shortest} if self.shortest else {})

    def read(self, value: Any) -> str:
        if not isinstance(value, str) or not self.shortest <= len(value) <= self.longest:
            raise ValueError
        if self.choices and value not in self.choices:
            raise ValueError
        if self.pattern and not re.fullmatch(self.pattern, value):
            raise ValueError
        value.encode()  # a lone surrogate, which JSON can hold, is no text: a ValueError too
        return value


@dataclass(frozen=True)
class AnyOf:
    """Any value of a JSON type."""

    type: type
    words: str
    schema: dict[str, Any]

    def read(self, value: Any) -> Any:
        if not isinstance(value, self.type):
            raise ValueError
        return value


FLAG = AnyOf(bool, "true or false", {"type": "boolean"})
DOCUMENT = AnyOf(dict, "a JSON object", {"type": "object"})


@dataclass(frozen=True)
class ListOf:
    """A list of values of one kind."""

    item: Kind
    longest: int
    shortest: int = 0
    name: str = ""

    @property
    def words(self) -> str:
        items = self.name or f"items, each {self.item.words}"
        return f"a list of {self.shortest:,} to {self.longest:,} {items}"

    @property
    def schema(self) -> dict[str, Any]:
        return {
            "type": "array",
            "items": self.item.schema,
            "minItems": self.shortest,
            "maxItems": self.longest,
        }

    def read(self, value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list) or not self.shortest <= len(value) <= self.longest:
            raise ValueError
        return tuple(self._item(place, item) for place, item in enumerate(value))

    def _item(self, place: int, value: Any) -> Any:
        try:
            return self.item.read(value)
        except ApiError as error:
            raise error.within(f"[{place}]") from None


@dataclass(frozen=True)
class Either:
    """A value of one of several kinds; the first that fits."""

    kinds: tuple[Kind, ...]
    name: str = ""

    @property
    def words(self) -> str:
        return self.name or " or ".join(kind.words for kind in self.kinds)

    @property
    def schema(self) -> dict[str, Any]:
        return {"anyOf": [kind.schema for kind in self.kinds]}

    def read(self, value: Any) -> Any:
        for kind in self.kinds:
            try:
                return kind.read(value)
            except ValueError:
                continue
        raise ValueError


@dataclass(frozen=True)
class MappingOf:
    """A mapping from token ids, written as texts, to values of one kind."""

    value: Kind
    largest: int
    name: str = ""

    KEY: ClassVar[str] = "^[0-9]{1,10}$"

    @property
    def words(self) -> str:
        return f"a mapping of at most {self.largest:,} {self.name or 'items'}"

    @property
    def schema(self) -> dict[str, Any]:
        return {
            "type": "object",
            "patternProperties": {self.KEY: self.value.schema},
            "additionalProperties": False,
            "maxProperties": self.largest,
        }

    def read(self, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict) or len(value) > self.largest:
            raise ValueError
        if not all(re.fullmatch(self.KEY, key) for key in value):
            raise ValueError
        if len({int(key) for key in value}) < len(value):  # such as 5 and 05
            raise ValueError
        return {key: self.value.read(item) for key, item in value.items()}


def one_or_more(item: Kind, longest: int, name: str) -> Either:
    """Return the kind of a value, or of a list of such values."""
    return Either((item, ListOf(item, longest)), name)


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
            known: names that are fields elsewhere, for suggestions.

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
        if not isinstance(body, dict):
            raise ApiError(
                f"the body must be a JSON object, not {printable.shown(body)}",
                code="no_object",
            )
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


@dataclass(frozen=True)
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
    document = dict(pairs)
    if len(document) < len(pairs):
        raise ValueError("a key appears twice in one object")
    return document
