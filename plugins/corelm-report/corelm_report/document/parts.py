"""The parts of a document as dataclasses that JSON objects turn into, and the header's parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import Field, dataclass, field, fields, is_dataclass
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


@dataclass(kw_only=True)
class ModelName(Part):
    """The name of a model, and the checksum of its manifest if it has one."""

    name: str
    sha256: str | None


@dataclass(kw_only=True)
class ContextsSummary(Part):
    """The contexts of the teacher-forced view; the source is "human" or "model"."""

    source: str
    description: str
    texts: int
    positions: int


@dataclass(kw_only=True)
class FailedPlugin(Part):
    """A plugin that was needed and could not be loaded."""

    plugin: str
    reason: str


@dataclass(kw_only=True)
class MetricOfPlugin(Part):
    """A plugin's metric, whose figures are in `generated_texts` under its full name."""

    name: str
    version: str
    meaning: str
    source: str = ""


@dataclass(kw_only=True)
class MatchTarget(Part):
    """A figure that open parameters were matched to: the target as written, and as a number."""

    figure: str
    asked: str
    target: float


@dataclass(kw_only=True)
class Citation(Part):
    """A paper, and the figures or intervals that it defines."""

    of: list[str]
    source: str


@dataclass(kw_only=True)
class Header(Part):
    """The facts about a report besides its figures."""

    corelm: str
    python: str | None = field(default=None, metadata=IF_GIVEN)
    numpy: str | None = field(default=None, metadata=IF_GIVEN)
    platform: str | None = field(default=None, metadata=IF_GIVEN)
    processor: str | None = field(default=None, metadata=IF_GIVEN)
    kernels: bool | None = field(default=None, metadata=IF_GIVEN)
    vector_width: int | None = None
    created: str
    command: str | None
    model: ModelName
    scorer: str | None = field(default=None, metadata=IF_GIVEN)
    second_scorer: ModelName | None = None
    prompts: list[str]
    clusters: list[str] | None = field(default=None, metadata=IF_GIVEN)
    n: int
    length: int
    seed: int
    seeds: list[int] = field(default_factory=list)
    contexts: ContextsSummary
    failed_plugins: list[FailedPlugin]
    settings_tried: dict[str, int] = field(default_factory=dict)
    metrics: list[MetricOfPlugin] = field(default_factory=list)
    matched: list[MatchTarget] = field(default_factory=list)
    until: str | None = field(default=None, metadata=IF_GIVEN)
    ci: str | None = field(default=None, metadata=IF_GIVEN)
    sources: list[Citation] = field(default_factory=list)

    @property
    def cluster_of(self) -> dict[str, str]:
        """The cluster of each prompt, by prompt; empty if each is its own."""
        return dict(zip(self.prompts, self.clusters, strict=True)) if self.clusters else {}
