"""Answers in texts: the last match of a pattern."""

from corelm import TextPatterns
from corelm.errors import UsageError

NUMBER = r"-?\d+(?:[.,]\d+)*"
"""The pattern of a number: its last match is the answer to an arithmetic problem."""
TIMEOUT = 1.0
"""The time limit of a search in seconds, as in `corelm.TextPatterns`."""


def check_pattern(pattern):
    """Raise an error if a pattern is not valid or matches the empty text.

    Raises:
        UsageError: the pattern is invalid; the message has the reason.
    """
    TextPatterns(patterns=pattern)


def find_answer(pattern, text):
    """Return the last match of a pattern and its place: (answer, start, end), or None.

    If the pattern has groups, the first group is the answer.

    Args:
        pattern: a regular expression of the package `regex`.
        text: the text.

    Raises:
        UsageError: the search takes more than a second.

    Example:
        >>> find_answer(NUMBER, "3 and 4 make 7.")
        ('7', 13, 14)
        >>> find_answer(r"answer is (\\w+)", "The answer is yes, no: the answer is no.")
        ('no', 37, 39)
    """
    import regex  # late: slow to import

    try:
        matches = list(regex.compile(pattern).finditer(text, timeout=TIMEOUT))
    except TimeoutError:
        raise UsageError(
            f"the pattern {pattern!r} takes more than {TIMEOUT:g} second on a text of {len(text)} "
            "characters; write it without repeats inside repeats"
        ) from None
    if not matches:
        return None
    last = matches[-1]
    group = 1 if last.re.groups else 0
    return None if last[group] is None else (last[group], last.start(group), last.end(group))
