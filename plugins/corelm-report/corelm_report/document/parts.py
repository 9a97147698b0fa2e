"""The parts of a document: dataclasses that are read from JSON, written to it, and its schema.

Texts with the details of their tokens are parts of entries and of the human texts.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Self,
    TypedDict,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

Json = dict[str, Any]


class Rule(Json):
    """Keywords of JSON Schema for what a type can't say, in `Annotated[TYPE, Rule(minimum=0)]`."""

    __hash__ = object.__hash__  # type: ignore[assignment]  # `|` of types needs one


Count = Annotated[int, Rule(minimum=0, maximum=2**53 - 1)]
Natural = Annotated[int, Rule(minimum=0)]
Interval = Annotated[list[float], Rule(minItems=2, maxItems=2)]
"""The lower and the upper end."""
Values = dict[str, float | None]
"""Figures by name; None if they are undefined or were not measured."""
Probability = Annotated[float, Rule(minimum=0, maximum=1.000001)]
"""A probability, which rounding may put a millionth above 1."""

REQUIRED = {"required": True}
"""The metadata of a field with a default whose key every document has."""
PRESENT = {"required": True, "nullable": False}
"""The metadata of such a field that is None in no document."""
IF_GIVEN = {"if_given": True, "nullable": False}
"""The metadata of a field that is left out of JSON if its value is None."""
IF_MEASURED = {"if_given": True}
"""The same, for a key that may also be null."""
OTHERS = {"others": True}
"""The metadata of the field that collects all other keys; at most one per class."""


class DocumentPart:
    """A part of a document: a dataclass whose fields are the keys of a JSON object.

    The metadata `key` of a field is its key, if that is not its name. `schema_of` makes the JSON
    Schema from the types, and the descriptions from the docstring and its section `Attributes`.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass
        ... class Pair(DocumentPart):
        ...     first: int
        ...     second: int | None = None
        >>> Pair.from_dict({"first": 1}), Pair(1).to_dict()
        (Pair(first=1, second=None), {'first': 1, 'second': None})
    """

    @classmethod
    def from_dict(cls, content: Json) -> Self:
        """Read the part from a JSON object that follows the schema; missing keys get defaults."""
        values: Json = {}
        keys = _keys(cls)  # type: ignore[arg-type]  # for mypy, unhashable
        named = {name for _, name, _ in keys}
        for each, name, read in keys:
            if "others" in each.metadata:
                values[each.name] = {key: content[key] for key in content if key not in named}
            elif name in content:
                values[each.name] = read(content[name])
        return cls(**values)

    def to_dict(self) -> Json:
        """Return the part as a JSON object, with its keys in the order of the fields."""
        made: Json = {}
        for each, name, _ in _keys(type(self)):  # type: ignore[arg-type]
            value = getattr(self, each.name)
            if "others" in each.metadata:
                made |= value
            elif value is not None or "if_given" not in each.metadata:
                made[name] = _as_json(value)
        return made


Reader = Callable[[Any], Any]


@cache
def _keys(kind: Any) -> list[tuple[Field[Any], str, Reader]]:
    """Return the fields of a class with their keys and the functions that read their values."""
    hints = get_type_hints(kind)
    return [
        (each, each.metadata.get("key", each.name), _reader(hints[each.name]))
        for each in fields(kind)
    ]


def _same(value: Any) -> Any:
    return value


# Plain lists and dicts pass unchanged in both directions: copying every number of every token would
# take longer than everything else.
def _reader(kind: Any) -> Reader:
    """Return the function that reads a value of a type from JSON."""
    kind = _not_none(kind) or kind
    origin, inner = get_origin(kind), get_args(kind)
    of_item = _reader(inner[-1]) if origin in (list, dict) else _same
    if isinstance(kind, type) and issubclass(kind, DocumentPart):
        return _unless_none(kind.from_dict)
    if of_item is _same:
        return _same
    if origin is list:
        return _unless_none(lambda items: [of_item(each) for each in items])
    return _unless_none(lambda items: {name: of_item(each) for name, each in items.items()})


def _unless_none(read: Reader) -> Reader:
    return lambda value: None if value is None else read(value)


def _as_json(value: Any) -> Any:
    """Return the value of a field as JSON has it."""
    if isinstance(value, DocumentPart):
        return value.to_dict()
    if isinstance(value, list) and value and isinstance(value[0], DocumentPart):
        return [each.to_dict() for each in value]
    if isinstance(value, dict) and isinstance(next(iter(value.values()), None), DocumentPart):
        return {name: each.to_dict() for name, each in value.items()}
    return value


def _not_none(kind: Any) -> Any:
    """Return the type besides None of a type that allows None; None for any other type."""
    inner = get_args(kind)
    if get_origin(kind) in (Union, UnionType) and len(inner) == 2 and NoneType in inner:
        return next(each for each in inner if each is not NoneType)
    return None


# ---- the JSON Schema ----

TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", NoneType: "null"}


def schema_of(kind: Any, definitions: Json) -> Json:
    """Return the JSON Schema of a type; that of a part goes to the definitions, by class name.

    Example:
        >>> schema_of(Annotated[int, Rule(minimum=1)] | None, {})
        {'type': ['integer', 'null'], 'minimum': 1}
        >>> schema_of(dict[str, list[float]] | None, {})["anyOf"][1]["additionalProperties"]
        {'type': 'array', 'items': {'type': 'number'}}
    """
    if get_origin(kind) is Annotated:
        plain, rules = get_args(kind)
        # A constant or a choice says more than its type, and its fault is described by it.
        named = {"const", "enum"} & rules.keys()
        return dict(rules) if named else schema_of(plain, definitions) | rules
    if (inside := _not_none(kind)) is not None:
        rule = schema_of(inside, definitions)
        if rule.get("type") in ("string", "boolean", "integer", "number"):
            return {**rule, "type": [rule["type"], "null"]}
        return {"anyOf": [{"type": "null"}, rule]}
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (list, dict):
        rule = {"type": "array" if origin is list else "object"}
        if inner[-1] is not Any:
            of_items = "items" if origin is list else "additionalProperties"
            rule[of_items] = schema_of(inner[-1], definitions)
        return rule
    if is_dataclass(kind) or is_typeddict(kind):
        if kind.__name__ not in definitions:
            definitions[kind.__name__] = {}  # its place, before those of its fields
            definitions[kind.__name__] = _object(kind, definitions)
        return {"$ref": f"#/$defs/{kind.__name__}"}
    return {"type": TYPES[kind]}


def _object(kind: Any, definitions: Json) -> Json:
    """Return the schema of a class: its required keys, and the rule and meaning of each key."""
    hints, texts = get_type_hints(kind, include_extras=True), _described(kind)
    if is_typeddict(kind):
        required = list(hints)
        properties = {n: _property(hints[n], texts.get(n), definitions) for n in required}
    else:
        named = [each for each in fields(kind) if "others" not in each.metadata]
        properties, required = {}, []
        for each in named:
            key, hint = each.metadata.get("key", each.name), hints[each.name]
            if not each.metadata.get("nullable", True):
                hint = _not_none(hint) or hint
            properties[key] = _property(hint, texts.get(each.name), definitions)
            without_default = each.default is MISSING and each.default_factory is MISSING
            if without_default or each.metadata.get("required"):
                required.append(key)
    about = (inspect.getdoc(kind) or "").partition("\n\n")[0].replace("\n", " ")
    return {"description": about, "type": "object", "required": required, "properties": properties}


def _property(hint: Any, text: str | None, definitions: Json) -> Json:
    rule = schema_of(hint, definitions)
    return {"description": text, **rule} if text else rule


def _described(kind: Any) -> dict[str, str]:
    """Return the texts of `Attributes`, or of `Keys`, in a docstring, by name, as sentences."""
    section = re.split(r"\n(?:Attributes|Keys):\n", inspect.getdoc(kind) or "")[-1]
    items = re.findall(r"^    ([a-z][\w, ]*): (.+(?:\n {8}.+)*)", section, re.MULTILINE)
    pairs = [(name, " ".join(text.split())) for names, text in items for name in names.split(", ")]
    return {name: text[:1].upper() + text[1:] for name, text in pairs}


_TOKEN = [schema_of(str, {}), schema_of(Probability, {})]
Alternative = Annotated[list[Any], Rule(prefixItems=_TOKEN, minItems=2, maxItems=2)]
"""A token as its text and its probability."""
Reason = Annotated[str, Rule(enum=["end", "length", "stop", "loop", "error"])]


# A dict, not a dataclass: a report has one for each of thousands of tokens, and plain dicts are
# read and written without a copy.
class TokenDetails(TypedDict):
    """The details of a token that was drawn.

    Keys:
        token: the text that it added; an end token's name.
        rank: its rank under the model, 1 for the likeliest; ties go to the lowest id.
        p: its probability under the model.
        q: its probability in the distribution drawn from.
        entropy: of the distribution drawn from, in nats.
        alternatives: the model's likeliest tokens, as [text, p].
    """

    token: str
    rank: Annotated[int, Rule(minimum=1)] | None
    p: Probability
    q: Probability
    entropy: float
    alternatives: list[Alternative]


@dataclass(kw_only=True)
class KeptText(DocumentPart):
    """A text that the report keeps.

    Attributes:
        tokens: the details of its tokens, for the first samples only.
        by_token: a list for each figure of the tokens, all of the same length.
    """

    prompt: str
    seed: Count | None = field(default=None, metadata=IF_GIVEN)
    sample: Count
    text: str
    finish_reason: Reason | None = field(default=None, metadata=IF_GIVEN)
    tokens: list[TokenDetails] = field(default_factory=list, metadata=REQUIRED)
    figures: Values | None = field(default=None, metadata=IF_GIVEN)
    by_token: dict[str, list[Any]] | None = field(default=None, metadata=IF_GIVEN)
