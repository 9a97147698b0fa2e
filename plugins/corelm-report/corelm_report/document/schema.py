"""The JSON Schema of a report, and the check of a document against it.

Faults that a schema can't express are checked here: lists of unequal length, figures outside of
their intervals.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import NoneType
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin, get_type_hints, is_typeddict

from corelm.errors import ReportError
from corelm.runs import is_finite_number, printable
from corelm_report.document.content import SCHEMA, Document
from corelm_report.document.figures import GENERATED, SHARE, TEACHER_FORCED, VIEWS, Figure, of_view
from corelm_report.document.parts import Json, Probability, not_none

if TYPE_CHECKING:
    from jsonschema import ValidationError
    from jsonschema.protocols import Validator

LARGEST = 1e308
"""The largest number in a report; a larger integer can't be drawn or rounded."""
ABOUT = (
    "An entropy comparison report. Entropies and surprisals are in nats; a value that was not "
    "measured is null. A version may get new keys, but none is renamed."
)
TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", NoneType: "null"}
EXPECTED = {
    "null": "null",
    "boolean": "true or false",
    "number": "a number",
    "integer": "an integer",
    "string": "a string",
    "array": "an array",
    "object": "an object",
}


def schema_of(kind: Any, definitions: Json) -> Json:
    """Return the JSON Schema of a type; that of a part goes to the definitions, by class name.

    Example:
        >>> from corelm_report.document.parts import Rule
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
    if (inside := not_none(kind)) is not None:
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
                hint = not_none(hint) or hint
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


MAYBE = schema_of(float | None, {})


@cache
def schema() -> Json:
    """Return the JSON Schema of `corelm.report/4`, with the keys of all declared figures."""
    parts: Json = {}
    schema_of(Document, parts)
    document = parts.pop(Document.__name__)
    _add_figures(parts["TeacherForced"], of_view(TEACHER_FORCED))
    _add_figures(parts["GeneratedTexts"], of_view(GENERATED))
    of_plugin = {"description": "The figure of a plugin, by its full name.", **MAYBE}
    parts["GeneratedTexts"]["patternProperties"] = {":": of_plugin}
    parts["HumanContexts"]["properties"]["surprisal"] = MAYBE
    parts["HumanContexts"]["required"].append("surprisal")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": SCHEMA,
        **document,
        "description": ABOUT,
        "$defs": parts,
    }


def _add_figures(part: Json, figures: Iterable[Figure]) -> None:
    keys = part["properties"]
    for figure in figures:
        rule = schema_of((Probability if figure.unit == SHARE else float) | None, {})
        keys.setdefault(figure.name, {"description": figure.text, **rule})
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
            f"{SCHEMA}: use the version that wrote it, or make the report again"
        )
    wrong = fault(document) or impossible(document)
    if wrong:
        raise ReportError(f"it does not follow {SCHEMA}: {wrong}")


def fault(value: Any, part: str = "") -> str:
    """Describe the first error in a document, or in a part of one; return "" if there is none.

    Args:
        value: the document or the part.
        part: a name of the schema's definitions, such as `HumanEntry`.

    Example:
        >>> fault({"type": "SamplerError"}, "Failure")
        'message is missing'
        >>> fault({"type": "SamplerError", "message": 3}, "Failure")
        'message: expected a string, got 3'
    """
    error = next(_validator(part).iter_errors(value), None)
    return "" if error is None else _message(error)


@cache
def _validator(part: str) -> Validator:
    # jsonschema takes 0.2 s to import, so import it only when there is a report to check.
    from jsonschema import Draft202012Validator, validators

    types = Draft202012Validator.TYPE_CHECKER.redefine_many(
        # Python's JSON reads NaN, infinity and integers that no float holds.
        {"number": lambda _, value: is_finite_number(value, -LARGEST, LARGEST),
         "integer": lambda _, value: type(value) is int}
    )  # fmt: skip
    kind = validators.extend(Draft202012Validator, {"anyOf": _null_or}, type_checker=types)
    rule = {"$defs": schema()["$defs"], "$ref": f"#/$defs/{part}"} if part else schema()
    validator: Validator = kind(rule)
    return validator


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


ROUNDING = 1e-4
"""The relative (or below 1, absolute) distance by which rounding may put a figure outside its
interval."""


def impossible(document: Mapping[str, Any]) -> str:
    """Describe the first contradiction in a document that follows the schema; "" if there is none.

    Example:
        >>> impossible({"vocabulary": 3, "drawable": 4, "reference": None, "samplers": []})
        'drawable: expected at most the vocabulary, 3, got 4'
    """
    return next(_contradictions(document), "")


def _contradictions(document: Mapping[str, Any]) -> Iterator[str]:
    vocabulary, drawable = document["vocabulary"], document["drawable"]
    if drawable > vocabulary:
        yield f"drawable: expected at most the vocabulary, {vocabulary}, got {drawable}"
    yield from _of_lists(document)
    human = {name: document.get(name) for name in ("reference", "human_halves")}
    entries = {name: entry for name, entry in human.items() if entry}
    entries |= {f"samplers[{i}]": entry for i, entry in enumerate(document["samplers"])}
    for path, entry in entries.items():
        for view in VIEWS:
            part = entry[view] or {}
            yield from _of_intervals(f"{path}.{view}", part, part.get("ci95", {}))
            for name, summary in part.items():
                if isinstance(summary, dict) and "mean" in summary:
                    ends = {"mean": summary.get("ci95")}
                    yield from _of_intervals(f"{path}.{view}.{name}", summary, ends)
        for view in VIEWS:
            for name, difference in ((entry.get("differences") or {}).get(view) or {}).items():
                ends = {"value": difference["ci95"]}
                yield from _of_intervals(f"{path}.differences.{view}.{name}", difference, ends)


def _of_intervals(
    path: str, values: Mapping[str, Any], intervals: Mapping[str, Any]
) -> Iterator[str]:
    """Yield a message for each interval that is reversed or does not contain its estimate."""
    for name, ends in intervals.items():
        if ends is None:
            continue
        low, high = ends
        value = values.get(name)
        where = f"{path}.{name}" if name.isidentifier() else f"{path}[{printable.shown(name)}]"
        if low > high:
            yield f"{where}: expected an interval whose low end comes first, got {low} to {high}"
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            slack = ROUNDING * max(1.0, abs(value))
            if not low - slack <= value <= high + slack:
                yield f"{where}: {value} is outside its own interval, {low} to {high}"


CURVE = ("t", "entropy", "slope", "surprisal")
"""The lists of the curve."""
LONGEST_KEY = 40
"""The longest key that an error message shows, in characters."""


def _of_lists(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield a message for each list that lacks numbers, and for lists of unequal length.

    Those of tokens are checked here, a hundred times as fast as a JSON Schema would.
    """
    yield from _of_lengths("curve", {key: document["curve"][key] for key in CURVE})
    for i, entry in enumerate(document["samplers"]):
        for j, text in enumerate(entry["texts"]):
            path, lists = f"samplers[{i}].texts[{j}].by_token", text.get("by_token", {})
            for name, values in lists.items():
                kind = str if name == "text" else (int, float)
                if not all(isinstance(value, kind) for value in values):
                    expected = "texts" if kind is str else "numbers"
                    yield f"{path}.{short_key(name)}: expected {expected}"
            yield from _of_lengths(path, lists)


def _of_lengths(path: str, lists: Mapping[str, Sequence[Any]]) -> Iterator[str]:
    lengths = {key: len(values) for key, values in lists.items()}
    if len(set(lengths.values())) > 1:
        sizes = ", ".join(f"{length} in {short_key(key)}" for key, length in lengths.items())
        yield f"{path}: expected lists of the same length, got {sizes}"


def short_key(key: str) -> str:
    """Return a key of the schema unchanged; quote an unknown key that is long or unusual."""
    return key if key.isidentifier() and len(key) <= LONGEST_KEY else printable.shown(key)
