"""Names and words for the shell's completion."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

__all__ = ["model_names", "offered_names", "preset_names"]

COMPLETING = "_CORELM_COMPLETE"
"""The environment variable that Typer's completion scripts set."""


def completed_words() -> list[str] | None:
    """Return the words before the one that the shell completes; None when it completes nothing.

    bash passes the whole line in COMP_WORDS, the other shells pass theirs in
    _TYPER_COMPLETE_ARGS.
    """
    if COMPLETING not in os.environ:
        return None
    import shlex

    line = os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS", "")
    try:
        words = shlex.split(line)
    except ValueError:  # a quotation mark that is still open
        return []
    # The last word is the one to complete, unless a space has ended it.
    if "COMP_CWORD" in os.environ:
        return words[1 : int(os.environ["COMP_CWORD"])]
    return words[1:] if line.endswith(" ") else words[1:-1]


def offered_names(hook: str) -> Callable[[], list[str]]:
    """Return a completion of the names that plugins offer through a hook."""

    def names() -> list[str]:
        from corelm.cli.output.product import product
        from corelm.registry.registry import registry

        with product():
            return [offer.name for offer in registry().offers(hook)]

    return names


sampler_names = offered_names("corelm_samplers")
decoder_names = offered_names("corelm_decoders")


def model_names() -> list[str]:
    """Return the names of the models."""
    from corelm.cli.output.product import product
    from corelm.registry.models import list_models

    with product():
        return [model.name for model in list_models()]


def preset_names() -> list[str]:
    """Return the names of the presets."""
    from corelm.registry.packages import NAMES, package_object

    return list(package_object(NAMES, "presets")())


def one_of(values: Sequence[object]) -> Callable[[], list[str]]:
    """Return a completion of fixed choices."""
    return lambda: [str(value) for value in values]
