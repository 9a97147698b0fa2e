"""Texts that match a regular expression."""

import re

from llguidance import LLMatcher, regex_to_lark

from corelm import ParameterError, hookimpl, param
from corelm_grammar.constraint import PURE, Constraint, check_length


class Regex(Constraint):
    """Keep the tokens with which the text can still match a regular expression as a whole.

    The syntax follows Rust's regex crate: Python's without back references, look-around, and
    anchors in the middle. `\\d` is 0 to 9. The text may begin with one space that is not part of
    the match, since words come with a space before them.

    Related: choice, json_schema, lark.

    Example:
        >>> import corelm
        >>> from corelm.testing import ToyModel
        >>> regex = Regex(pattern="(good|bad)( film)?")
        >>> model = ToyModel(["good", "bad", "film"])
        >>> texts = corelm.generate(model, "film", sampler=regex, n=20, seed=1)
        >>> sorted({text.text for text in texts})
        [' bad', ' bad film', ' good', ' good film']
    """

    pattern: str = param("", "the regular expression, which the whole text matches")
    space: bool = param(True, "allow a space before the match")

    def _compile(self):
        check_length("pattern", self.pattern)
        grammar = f"start: {_terminal(self.pattern)}"
        wrong, messages = LLMatcher.validate_grammar_with_warnings(grammar)
        if wrong:
            raise ParameterError(f"pattern {_fault(messages[0], self.pattern)}")
        return regex_grammar(self.pattern, self.space)


def regex_grammar(pattern, space):
    """Return the grammar of a pattern, with an optional space before it."""
    expression = f"{' ?' if space else ''}(?:{pattern})"
    return f"{PURE}\nstart: {_terminal(expression)}"


def _terminal(expression):
    """Return an expression in Lark's syntax, with \\d as an ASCII digit."""
    return f"/{regex_to_lark(expression, 'd')}/"


def _fault(message, pattern):
    """Return the reason, and the column if llguidance reports one."""
    # llguidance names no column for these, so the first candidate is reported.
    if "lookarounds" in message:
        at = re.search(r"\\[bB]|\(\?<?[=!]|(?<!^)\^|\$(?!$)", pattern)
        place = f" at column {at.start() + 1}" if at else ""
        return f"has a boundary, an anchor or look-around{place}, which cannot be constrained"
    reason = re.search(r"^error: (.*)$", message, re.MULTILINE)
    caret = re.search(r"^ +(?=\^)", message, re.MULTILINE)
    if not reason or not caret:
        return f"cannot be read: {message.splitlines()[0]}"
    return f"cannot be read at column {_column(pattern, len(caret[0]) - 4)}: {reason[1]}"


def _column(pattern, at):
    """Return the pattern's column for a position in its Lark form, which has more escapes."""
    for column in range(1, len(pattern)):
        # A backslash alone would escape the closing slash, so it is doubled.
        beginning = pattern[:column]
        backslashes = len(beginning) - len(beginning.rstrip("\\"))
        if len(_terminal(beginning + "\\" * (backslashes % 2))) - 2 > at:
            return column
    return len(pattern)


@hookimpl
def corelm_samplers():
    return {"regex": Regex}
