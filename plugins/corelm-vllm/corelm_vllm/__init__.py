"""corelm's samplers in vLLM, chosen by each request.

Installing the package is enough: vLLM finds `processor.CorelmLogitsProcessor` by its entry point.
"""

import importlib

_MODULES = {"CheckRequests": "processor"}
"""Public names and their modules, imported on first use, as they import vLLM."""

__all__ = [*_MODULES]


def __getattr__(name):
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
