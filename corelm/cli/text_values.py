"""Commands that keep the values of their options as text."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup


class _AsText:
    """Leaves the values of options as they are.

    Typer converts each value with pydantic, whose import takes longer than the import of Typer.
    corelm's parameters convert text themselves, so the conversion is skipped.
    """

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the options, which leave their values as they are."""
        parameters: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for parameter in parameters:  # Typer may ask twice for the same objects
            if not isinstance(parameter.process_value, _Unconverted):
                parameter.process_value = _Unconverted(parameter)
        return parameters


class TextCommand(_AsText, TyperCommand):
    """A command whose options reach it as text."""


class TextGroup(_AsText, TyperGroup):
    """A group whose options reach it as text."""


class _Unconverted:
    """Replaces `process_value` of one option; a missing argument is left to Typer's own."""

    def __init__(self, parameter: Any) -> None:
        self._parameter = parameter
        self._convert = parameter.process_value

    def __call__(self, context: Any, value: Any) -> Any:
        parameter = self._parameter
        if isinstance(value, bool) or (value is None and parameter.required):
            return self._convert(context, value)
        callback = parameter.callback
        return value if callback is None else callback(context, parameter, value)
