"""Samplers that restrict a text to a pattern, a schema, a list or a grammar."""

from corelm.interop import requirements

with requirements.requires("llguidance", "1.3"):
    from corelm_grammar.choice import Choice
    from corelm_grammar.json_schema import JsonSchema
    from corelm_grammar.lark import Lark
    from corelm_grammar.regex import Regex

__all__ = ["Choice", "JsonSchema", "Lark", "Regex"]
