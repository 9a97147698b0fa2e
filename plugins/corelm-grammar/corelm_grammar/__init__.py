"""Samplers that let a text become only what a pattern, a schema, a list or a grammar allows."""

from corelm.interop import requires

with requires("llguidance", "1.3"):
    from corelm_grammar.choice import Choice
    from corelm_grammar.json_schema import JsonSchema
    from corelm_grammar.lark import Lark
    from corelm_grammar.regex import Regex

__all__ = ["Choice", "JsonSchema", "Lark", "Regex"]
