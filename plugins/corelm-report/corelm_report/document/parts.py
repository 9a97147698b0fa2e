"""Convert dataclasses to and from JSON objects, for the parts of a document."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import Field, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Self, get_args, get_origin, get_type_hints

Json = dict[str, Any]


IF_GIVEN = {"if_given": True}
"""The metadata of a field that is left out of JSON if its value is None."""
OTHERS = {"others": True}
"""The metadata of the field that collects all other keys; at most one per class."""


class Part:
    """A part of a document: a dataclass whose fields are the keys of a JSON object.

    The metadata `key` of a field is its key, if that is not its name.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass
        ... class Pair(Part):
        ...     first: int
        ...     second: int | None = None
        >>> Pair.from_dict({"first": 1}), Pair(1).to_dict()
        (Pair(first=1, second=None), {'first': 1, 'second': None})
    """

    @classmethod
    def from_dict(cls, content: Json) -> Self:
        """Read the part from a JSON object that follows the schema; missing keys get defaults."""
        found: Json = {}
        keys = _keys(cls)
        named = {name for _, name, _, _ in keys}
        for each, name, read, _ in keys:
            if "others" in each.metadata:
                found[each.name] = {key: content[key] for key in content if key not in named}
            elif name in content:
                found[each.name] = read(content[name])
        return cls(**found)

    def to_dict(self) -> Json:
        """Return the part as a JSON object, with its keys in the order of the fields."""
        made: Json = {}
        for each, name, _, write in _keys(type(self)):
            value = getattr(self, each.name)
            if "others" in each.metadata:
                made |= value
            elif value is not None or "if_given" not in each.metadata:
                made[name] = write(value)
        return made


_Keys = list[tuple[Field[Any], str, Callable[[Any], Any], Callable[[Any], Any]]]


def _keys(kind: Any) -> _Keys:
    # mypy takes no class for hashable whose instances are not.
    return _cached_keys(kind)


@cache
def _cached_keys(kind: Any) -> _Keys:
    """Return the fields of a class with their keys, readers and writers."""
    hints = get_type_hints(kind)
    return [
        (each, each.metadata.get("key", each.name), *_converters(hints[each.name]))
        for each in fields(kind)
    ]


def _same(value: Any) -> Any:
    return value


def _converters(kind: Any) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """Return the functions that read and write a value of a type.

    Plain lists and dicts pass unchanged: copying every number of every token would take longer than
    everything else.
    """
    origin, inner = get_origin(kind), get_args(kind)
    if origin is UnionType and len(inner) == 2 and NoneType in inner:
        read, write = _converters(next(each for each in inner if each is not NoneType))
        return _unless_none(read), _unless_none(write)
    if is_dataclass(kind) and isinstance(kind, type) and issubclass(kind, Part):
        return kind.from_dict, kind.to_dict
    if origin in (list, dict):
        read, write = _converters(inner[-1])
        if read is not _same:
            many = _of_list if origin is list else _of_dict
            return many(read), many(write)
    return _same, _same


def _unless_none(convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    if convert is _same:
        return _same
    return lambda value: None if value is None else convert(value)


def _of_list(convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda values: [convert(value) for value in values]


def _of_dict(convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda values: {name: convert(value) for name, value in values.items()}
