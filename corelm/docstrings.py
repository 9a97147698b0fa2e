"""Read the sections of docstrings, such as the source and the related names."""

from __future__ import annotations

import inspect
import re


def section(thing: object, title: str) -> str:
    """Return a section of a docstring on one line; empty if there is none.

    Args:
        thing: a class or a function.
        title: a regular expression for the title of the section, such as "Related".

    Example:
        >>> from corelm_samplers.top_k import TopK
        >>> section(TopK, "Related")
        'top_p, min_p.'
    """
    pattern = rf"^{title}:\s*(.*?)\s*(?:\n\n|\Z)"
    found = re.search(pattern, docstring(thing), re.MULTILINE | re.DOTALL)
    return " ".join(found[1].split()) if found else ""


def docstring(thing: object) -> str:
    """Return the author's docstring; empty for the signature that `dataclass` generates."""
    text = inspect.cleandoc(getattr(thing, "__doc__", None) or "")
    return "" if text.startswith(f"{getattr(thing, '__name__', '')}(") else text


def source_of(thing: object) -> str:
    """Return the source that a docstring names: papers, a pull request; empty if it names none.

    Example:
        >>> from corelm_samplers.min_p import MinP
        >>> source_of(MinP)
        'Nguyen et al. 2024, Turning up the heat: min-p sampling, arXiv 2407.01082.'
    """
    return section(thing, "Sources?")
