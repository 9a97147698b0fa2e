"""JSON texts that are valid against a schema."""

import json
from collections.abc import Mapping

from llguidance import LLMatcher

from corelm import ParameterError, hookimpl, param
from corelm_grammar.constraint import PURE, Constraint, check_length

MOST_TRIED = 500
"""The most parts of a schema to try when looking for the invalid one."""

NAMED = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
"""Keywords whose value maps names of any kind to schemas."""
INSTANCES = ("const", "enum", "default", "examples")
"""Keywords whose values are JSON, not schemas."""


class JsonSchema(Constraint):
    """Keep the tokens with which the text can still become JSON that is valid against a schema.

    Properties come in the order of the schema. Keywords that llguidance does not know, such as
    `not` and `uniqueItems`, are refused. `format` is an annotation, as in JSON Schema 2020-12,
    unless `formats` is true; then unknown formats are refused too. The text may begin with a space.

    Related: regex, lark.

    Example:
        >>> JsonSchema(schema={"type": "integer"})
        JsonSchema(schema='{"type": "integer"}', space=True, whitespace=True, formats=False)
        >>> JsonSchema(schema='{"items": {"type": "number?"}}')
        Traceback (most recent call last):
        corelm.errors.ParameterError: schema at #/items: Invalid type: number?
    """

    schema: str = param("{}", "the JSON schema, as text; in Python also as a mapping")
    space: bool = param(True, "allow a space before the text")
    whitespace: bool = param(True, "allow spaces and line breaks between the parts")
    formats: bool = param(False, "hold texts to the format that a schema names, such as date")

    def __post_init__(self):
        if isinstance(self.schema, (Mapping, bool)):
            object.__setattr__(self, "schema", json.dumps(self.schema, ensure_ascii=False))
        super().__post_init__()

    def _compile(self):
        check_length("schema", self.schema)
        schema = _read(self.schema)
        if not self.formats:
            schema = _without_formats(schema)
        fault = _fault(schema)
        if fault:
            raise ParameterError(f"schema at #{_place(schema, fault)}: {fault}")
        if not self.whitespace and isinstance(schema, dict):
            schema = schema | {"x-guidance": {"whitespace_flexible": False}}
        return _grammar(schema, 'start: " "? text' if self.space else "start: text")


def _without_formats(schema):
    """Return a schema without the keyword `format`; properties of that name stay."""
    if isinstance(schema, list):
        return [_without_formats(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {}
    for key, value in schema.items():
        if key in NAMED and isinstance(value, dict):
            kept[key] = {name: _without_formats(each) for name, each in value.items()}
        elif key != "format":
            kept[key] = value if key in INSTANCES else _without_formats(value)
    return kept


def _grammar(schema, start="start: text"):
    return f"{PURE}\n{start}\ntext: %json {json.dumps(schema)}"


def _read(text):
    try:
        return json.loads(text, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        reason = f"line {error.lineno}, column {error.colno}: {error.msg}"
    except RecursionError:
        reason = "it is nested too deeply"
    except ValueError as error:
        reason = str(error)
    raise ParameterError(f"schema is not JSON: {reason}")


def _refuse(constant):
    raise ValueError(f"there is no {constant}")


def _fault(schema):
    """Return llguidance's error for a schema in one line; empty if the schema is valid."""
    wrong, messages = LLMatcher.validate_grammar_with_warnings(_grammar(schema))
    if not wrong:
        return ""
    first = messages[0].partition("\n")[0]
    return first.rpartition("failed to compile JSON schema: ")[2]


def _place(schema, fault):
    """Return the JSON pointer of the smallest subschema that has the same error by itself."""
    # llguidance names no place, so try the deepest parts first.
    parts = sorted(_parts(schema, ()), key=lambda part: len(part[0]), reverse=True)
    for keys, part in parts[:MOST_TRIED]:
        if _fault(part) == fault:
            return "".join("/" + str(key).replace("~", "~0").replace("/", "~1") for key in keys)
    return ""


def _parts(node, keys):
    """Yield the path of keys to every mapping in a schema, and the mapping."""
    if isinstance(node, dict):
        yield keys, node
    if isinstance(node, (dict, list)):
        for key, child in node.items() if isinstance(node, dict) else enumerate(node):
            yield from _parts(child, (*keys, key))


@hookimpl
def corelm_samplers():
    return {"json_schema": JsonSchema}
