"""corelm's samplers in mlx-lm, and mlx-lm's models in corelm."""

import importlib

from corelm.interop import requirements

ENGINE = ("mlx-lm", "0.32")
"""The engine, and its oldest version that works."""

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
    with requirements.requires(*ENGINE):
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
