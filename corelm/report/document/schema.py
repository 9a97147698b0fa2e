"""Whether a document is a report: the schema that ships with corelm, and a check against it.

The check knows the part of JSON Schema that `schema.json` uses, and names the first fault.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from corelm.errors import ReportError
from corelm.printable import shown

LARGEST = 1e308
"""What a number may be at most; a whole number beyond it could not be drawn or rounded."""

Rule = Mapping[str, Any]


@cache
def schema() -> dict[str, Any]:
    """The JSON Schema of `corelm.report/1`."""
    content: dict[str, Any] = json.loads(
        files("corelm.report.document").joinpath("schema.json").read_text(encoding="utf-8")
    )
    return content


def check(document: Any) -> None:
    """Refuse what is no report.

    Raises:
        ReportError: names the first thing that is wrong, and where.
    """
    if not isinstance(document, dict) or "schema" not in document:
        raise ReportError("it does not say which schema it follows: corelm did not write it")
    if document["schema"] != schema()["title"]:
        raise ReportError(
            f"it follows {shown(document['schema'])}, and this corelm reads {schema()['title']}"
        )
    wrong = fault(document)
    if not wrong and len({len(values) for values in _curve(document)}) > 1:
        wrong = "curve has lists of several lengths"
    if wrong:
        raise ReportError(f"it does not follow {schema()['title']}: {wrong}")


def fault(value: Any, part: str = "") -> str:
    """The first thing that is wrong with a document, or with a part of one; empty for none.

    Args:
        value: the document, or the part.
        part: a name of the schema's definitions, such as `reference`.

    Example:
        >>> fault({"type": "SamplerError"}, "error")
        'it has no message'
    """
    rule = schema()["$defs"][part] if part else schema()
    return next(_faults(value, rule, ""), "")


def _curve(document: Mapping[str, Any]) -> list[Any]:
    return [document["curve"][key] for key in ("t", "entropy", "slope")]


def _faults(value: Any, rule: Rule, where: str) -> Iterator[str]:
    """What is wrong with a value."""
    if not rule:
        return  # it may be anything, however deep
    if "$ref" in rule:
        rule = schema()["$defs"][rule["$ref"].rpartition("/")[2]]
    if "anyOf" in rule:
        _, something = rule["anyOf"]  # null, or what follows
        yield from _faults(value, something, where) if value is not None else ()
        return
    among = [rule["const"]] if "const" in rule else rule.get("enum")
    kinds = _several(rule.get("type", []))
    if among and value not in among:
        yield f"{where} is {_shown(value)}, not {' or '.join(map(repr, among))}"
    elif kinds and not any(_TYPES[kind](value) for kind in kinds):
        yield f"{where} is {_shown(value)}, not {' or '.join(map(_kind, kinds))}"
    else:
        yield from _faults_inside(value, rule, where)


def _faults_inside(value: Any, rule: Rule, where: str) -> Iterator[str]:
    if isinstance(value, dict):
        yield from _faults_of_members(value, rule, where)
    elif isinstance(value, list):
        yield from _faults_of_items(value, rule, where)
    elif _is_number(value):
        least, most = rule.get("minimum", value), rule.get("maximum", value)
        if not least <= value <= most:
            yield f"{where} is {_shown(value)}, not from {least} to {most}"


def _faults_of_members(value: dict[str, Any], rule: Rule, where: str) -> Iterator[str]:
    for name in rule.get("required", ()):
        if name not in value:
            yield f"{where or 'it'} has no {name}"
    known, other = rule.get("properties", {}), rule.get("additionalProperties", {})
    for name, item in value.items():
        yield from _faults(item, known.get(name, other), f"{where}.{name}".lstrip("."))


def _faults_of_items(value: list[Any], rule: Rule, where: str) -> Iterator[str]:
    if not rule.get("minItems", 0) <= len(value) <= rule.get("maxItems", len(value)):
        yield f"{where} has {len(value)} items"
        return
    rules = rule.get("prefixItems", [rule.get("items", {})] * len(value))
    for at, (item, its) in enumerate(zip(value, rules, strict=True)):
        yield from _faults(item, its, f"{where}[{at}]")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and value is not True and value is not False


_TYPES: dict[str, Callable[[Any], bool]] = {
    "null": lambda value: value is None,
    "number": lambda value: _is_number(value) and -LARGEST <= value <= LARGEST,
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}


def _several(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def _kind(name: str) -> str:
    return name if name == "null" else f"{'an' if name[0] in 'aio' else 'a'} {name}"


def _shown(value: Any) -> str:
    """A value in a message of one line."""
    if isinstance(value, (dict, list)):
        return "an object" if isinstance(value, dict) else "an array"
    return shown(value)
