"""Kinds of values: each reads a JSON value, describes itself, and has a JSON Schema."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

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
        found: dict[str, Any] = {"type": "integer" if self.whole else "number"}
        if self.ge is not None:
            found["minimum"] = self.ge
        if self.le is not None:
            found["maximum"] = self.le
        return found

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
        found = f"a text of {self.shortest:,} to {self.longest:,} characters"
        return found + (f" that matches {self.pattern}" if self.pattern else "")

    @property
    def schema(self) -> dict[str, Any]:
        if self.choices:
            return {"type": "string", "enum": list(self.choices)}
        found: dict[str, Any] = {"type": "string", "maxLength": self.longest}
        if self.pattern:
            found["pattern"] = f"^{self.pattern}$"
        return found | ({"minLength": self.shortest} if self.shortest else {})

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
class Flag:
    """True or false."""

    words: str = "true or false"

    @property
    def schema(self) -> dict[str, Any]:
        return {"type": "boolean"}

    def read(self, value: Any) -> bool:
        if not isinstance(value, bool):
            raise ValueError
        return value


@dataclass(frozen=True)
class Nothing:
    """A value that must be false."""

    words: str = "false"

    @property
    def schema(self) -> dict[str, Any]:
        return {"const": False}

    def read(self, value: Any) -> None:
        if value is not False:
            raise ValueError


@dataclass(frozen=True)
class Document:
    """A JSON object of any kind."""

    words: str = "a JSON object"

    @property
    def schema(self) -> dict[str, Any]:
        return {"type": "object"}

    def read(self, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ValueError
        return value


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
