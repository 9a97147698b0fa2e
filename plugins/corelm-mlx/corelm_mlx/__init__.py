"""corelm's samplers in mlx-lm, and mlx-lm's models in corelm."""

import importlib

_MODULES = {
    "MlxModel": "model",
    "as_logits_processor": "processor",
    "as_sampler": "processor",
}
"""Public names and their modules, imported on first use: mlx-lm takes seconds to import."""

__all__ = [*_MODULES]


def __getattr__(name):
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
