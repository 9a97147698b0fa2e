"""Texts of a context-free grammar."""

import re

from llguidance import LLMatcher

from corelm import ParameterError, hookimpl, param
from corelm_grammar.constraint import PURE, Constraint, check_length

SPECIAL = "no tokenizer - can't validate"
"""The start of llguidance's warning about special tokens, which a grammar names in brackets."""


class Lark(Constraint):
    """Keep the tokens with which the text can still become one of a grammar's.

    The grammar is written in llguidance's form of Lark, and begins with the rule `start`. The text
    may begin with one space that is not part of it, since words come with a space before them.

    Related: regex, json_schema.

    Example:
        >>> import corelm
        >>> from corelm.testing import ToyModel
        >>> lark = Lark(grammar='start: WORD (" and " WORD)?\\nWORD: "dull" | "long"')
        >>> model = ToyModel(["and", "dull", "good", "long"])
        >>> texts = corelm.generate(model, "good", sampler=lark, n=20, seed=1)
        >>> texts[0].text, texts[1].text
        (' long and dull', ' dull and long')
    """

    grammar: str = param("", "the grammar, with the rule start")
    space: bool = param(True, "allow a space before the text")

    def _compile(self):
        check_length("grammar", self.grammar)
        _check(self.grammar)
        start = 'start: " "? text' if self.space else "start: text"
        return f"{PURE}\n{start}\ntext: %lark {{\n{self.grammar}\n}}"


def _check(grammar):
    if re.search(r"\[[^\]\n]*\bmax_tokens\b", grammar):
        raise ParameterError("grammar has max_tokens, but only the text counts; bound a repetition")
    wrong, messages = LLMatcher.validate_grammar_with_warnings(grammar)
    if wrong:
        raise ParameterError(f"grammar {_fault(messages[0])}")
    if any(SPECIAL in message for message in messages):
        raise ParameterError("grammar names special tokens, which have no text; leave <...> out")


def _fault(message):
    first = message.partition("\n")[0]
    at = re.match(r"(?:at )?(\d+)\((\d+)\): (.*)", first)
    return f"line {at[1]}, column {at[2]}: {at[3]}" if at else f"cannot be read: {first}"


@hookimpl
def corelm_samplers():
    return {"lark": Lark}
