"""A report in JSON: how its parts are read and written, its header, its schema and the check."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import Field, dataclass, field, fields, is_dataclass
from functools import cache
from importlib.resources import files
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Self, get_args, get_origin, get_type_hints

from corelm.errors import ReportError
from corelm.runs import printable
from corelm_report.document.contradictions import fault_of_lists, impossible, short_key
from corelm_report.document.figure import SHARE, VIEWS, Figure
from corelm_report.document.figures import FIGURES

if TYPE_CHECKING:
    from jsonschema import ValidationError
    from jsonschema.protocols import Validator

SCHEMA = "corelm.report/4"
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
    settings: Json | None = field(default=None, metadata=IF_GIVEN)
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


# ---- the JSON Schema, and the check of a document against it ----

PACKAGE = "corelm_report.document"
LARGEST = 1e308
"""The largest number in a report; a larger integer can't be drawn or rounded."""


EXPECTED = {
    "null": "null",
    "boolean": "true or false",
    "number": "a number",
    "integer": "an integer",
    "string": "a string",
    "array": "an array",
    "object": "an object",
}


@cache
def schema() -> Json:
    """Return the JSON Schema of `corelm.report/4`, with the keys of all declared figures."""
    content: Json = json.loads(files(PACKAGE).joinpath("schema.json").read_text(encoding="utf-8"))
    for view in VIEWS:
        _add_figures(content["$defs"][view], of_view(view))
    return content


def of_view(view: str) -> list[Figure]:
    """Return the figures that have a key in a view."""
    return [figure for figure in FIGURES if figure.view == view and not figure.derived]


def _add_figures(part: Json, figures: Iterable[Figure]) -> None:
    keys = part["properties"]
    for figure in figures:
        kind = "share" if figure.unit == SHARE else "maybe"
        keys.setdefault(figure.name, {"description": figure.text, "$ref": f"#/$defs/{kind}"})
        if figure.required:
            part["required"].append(figure.name)


def check(document: Any) -> None:
    """Raise unless the document is a report.

    Raises:
        ReportError: names the first error: its path, the expected and the actual value.
    """
    if not isinstance(document, dict) or "schema" not in document:
        raise ReportError("it names no schema, so corelm did not write it")
    if document["schema"] != SCHEMA:
        raise ReportError(
            f"it follows {printable.shown(document['schema'])}; this version of corelm reads "
            f"{schema()['title']}: use the version that wrote it, or make the report again"
        )
    wrong = fault(document) or fault_of_lists(document) or impossible(document)
    if wrong:
        raise ReportError(f"it does not follow {schema()['title']}: {wrong}")


def fault(value: Any, part: str = "") -> str:
    """Describe the first error in a document, or in a part of one; return "" if there is none.

    Args:
        value: the document or the part.
        part: a name of the schema's definitions, such as `reference`.

    Example:
        >>> fault({"type": "SamplerError"}, "error")
        'message is missing'
        >>> fault({"type": "SamplerError", "message": 3}, "error")
        'message: expected a string, got 3'
    """
    error = next(_validator(part).iter_errors(value), None)
    return "" if error is None else _message(error)


@cache
def _validator(part: str) -> Validator:
    # jsonschema takes 0.2 s to import, so import it only when there is a report to check.
    from jsonschema import Draft202012Validator, validators

    types = Draft202012Validator.TYPE_CHECKER.redefine_many(
        {"number": lambda _, value: _is_number(value), "integer": lambda _, value: _is_int(value)}
    )
    kind = validators.extend(Draft202012Validator, {"anyOf": _null_or}, type_checker=types)
    rule = {"$defs": schema()["$defs"], "$ref": f"#/$defs/{part}"} if part else schema()
    validator: Validator = kind(rule)
    return validator


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    """Return False for NaN, infinity and integers that no float holds; Python's JSON reads all."""
    return (_is_int(value) or isinstance(value, float)) and -LARGEST <= value <= LARGEST


def _null_or(
    validator: Validator, branches: Sequence[Any], instance: Any, _: Any
) -> Iterator[ValidationError]:
    """Check an `anyOf`, whose first branch is always null in this schema.

    jsonschema's own check collects the errors of all branches, and reports one that names none of
    them. This one yields the errors inside the other branch, one at a time.
    """
    if instance is not None:
        yield from validator.descend(instance, branches[1], schema_path=1)


def _message(error: ValidationError) -> str:
    """Describe an error: its path, the expected value, the actual value."""
    path = _path(error)
    if error.validator == "required":
        missing = next(name for name in error.validator_value if name not in error.instance)
        return f"{path}.{missing} is missing".lstrip(".")
    if error.validator in ("minItems", "maxItems"):
        return f"{path}: expected {error.validator_value} items, got {len(error.instance)}"
    return f"{path or 'the report'}: expected {_expected(error)}, got {_shown(error.instance)}"


def _path(error: ValidationError) -> str:
    """Return the path of the error, such as `samplers[0].generated_texts.loops`."""
    path = ""
    for key in error.absolute_path:
        path += f"[{key}]" if isinstance(key, int) else f".{short_key(key)}"
    return path.lstrip(".")


def _expected(error: ValidationError) -> str:
    value = error.validator_value
    if error.validator == "type":
        names = [value] if isinstance(value, str) else value
        return " or ".join(EXPECTED[name] for name in names)
    if error.validator in ("minimum", "maximum"):
        return f"at {'least' if error.validator == 'minimum' else 'most'} {value}"
    return " or ".join(map(repr, value if error.validator == "enum" else [value]))


def _shown(value: Any) -> str:
    """Format a value for a message of one line."""
    if isinstance(value, (dict, list)):
        return "an object" if isinstance(value, dict) else "an array"
    return "null" if value is None else printable.shown(value)
