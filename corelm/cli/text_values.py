"""Commands that keep the values of their options as text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from typer.core import TyperCommand, TyperGroup


class TextCommand(TyperCommand):
    """A command whose options reach it as text.

    Typer converts each value with pydantic, whose import takes longer than that of Typer itself.
    corelm's parameters convert text themselves, so the conversion is skipped.
    """

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        _skip_conversion(self.params)


class TextGroup(TyperGroup):
    """A group whose options reach it as text, for the same reason as `TextCommand`."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        _skip_conversion(self.params)


def _skip_conversion(parameters: Iterable[Any]) -> None:
    for parameter in parameters:
        parameter.process_value = _Unconverted(parameter)


class _Unconverted:
    """Replaces `process_value` of one option; a missing argument is left to Typer's own."""

    def __init__(self, parameter: Any) -> None:
        self._parameter = parameter
        self._convert = parameter.process_value

    def __call__(self, context: Any, value: Any) -> Any:
        parameter = self._parameter
        if isinstance(value, bool) or (value is None and parameter.required):
            return self._convert(context, value)
        return (
            value if parameter.callback is None else parameter.callback(context, parameter, value)
        )
