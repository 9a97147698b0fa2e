"""The JSON Schema of a report, and the check of a document against it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from corelm.errors import ReportError
from corelm.runs import printable
from corelm_report.document.content import SCHEMA, Document
from corelm_report.document.contradictions import impossible, short_key
from corelm_report.document.figure import GENERATED, SHARE, TEACHER_FORCED, Figure
from corelm_report.document.figures import of_view
from corelm_report.document.parts import Json, Probability, schema_of

if TYPE_CHECKING:
    from jsonschema import ValidationError
    from jsonschema.protocols import Validator

LARGEST = 1e308
"""The largest number in a report; a larger integer can't be drawn or rounded."""
ABOUT = (
    "An entropy comparison report. Entropies and surprisals are in nats; a value that was not "
    "measured is null. A version may get new keys, but none is renamed."
)
MAYBE = schema_of(float | None, {})
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
