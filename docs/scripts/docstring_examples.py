"""Read the section `Example:` of a docstring as griffe reads `Examples:`, which it highlights."""

from __future__ import annotations

import re
from typing import Any

import griffe


class DocstringExamples(griffe.Extension):
    """Rename the section in every docstring."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rename the section of one object."""
        if obj.docstring is not None:
            obj.docstring.value = re.sub(r"(?m)^Example:", "Examples:", obj.docstring.value)
