"""One tree of errors: everything raised on purpose is a CorelmError."""

from __future__ import annotations

import inspect
import re

import pytest

from corelm import errors

CLASSES = [value for value in vars(errors).values() if inspect.isclass(value)]


def test_the_tree_is_the_one_that_the_module_draws():
    drawn = re.findall(r"^    [ │├└─]*(\w+Error)\b", errors.__doc__, re.MULTILINE)
    assert drawn == [cls.__name__ for cls in CLASSES]


def test_each_branch_of_the_tree_is_a_subclass():
    drawn = re.findall(r"^    ([ │├└─]*)(\w+Error)\b", errors.__doc__, re.MULTILINE)
    parents = {0: errors.CorelmError}
    for indent, name in drawn[1:]:
        depth = len(indent) // 4
        cls = getattr(errors, name)
        assert cls.__mro__[1] is parents[depth - 1]
        parents[depth] = cls


@pytest.mark.parametrize(
    ("cls", "builtin"),
    [
        (errors.ParameterError, ValueError),
        (errors.ExpressionError, ValueError),
        (errors.UnknownNameError, LookupError),
        (errors.AmbiguousNameError, LookupError),
    ],
)
def test_wrong_usage_is_also_the_error_that_python_has_for_it(cls, builtin):
    assert issubclass(cls, errors.UsageError)
    assert issubclass(cls, builtin)
