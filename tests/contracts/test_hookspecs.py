"""The hooks, each with one true sentence."""

from __future__ import annotations

import inspect

import pytest

from corelm.contracts import hookspecs
from corelm.registry.registry import HOOKS


@pytest.mark.parametrize("name", HOOKS)
def test_each_says_what_it_is_in_one_sentence(name):
    text = inspect.getdoc(getattr(hookspecs, name))
    assert text.endswith(".")
    assert "\n\n" not in text
