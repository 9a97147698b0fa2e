"""corelm's samplers in transformers, and transformers' models in corelm."""

import importlib

from corelm.interop import requirements

ENGINE = ("transformers", "5.18")
"""The engine, and its oldest version that works."""

_MODULES = {
    "TransformersModel": "model",
    "as_logits_processor": "processor",
    "corelm_loop": "loop",
    "from_generation_config": "generation_config",
    "from_logits_processor": "wrapped",
    "to_generation_config": "generation_config",
}
"""Public names and their modules, imported on first use: transformers takes seconds to import."""

__all__ = [*_MODULES]


def __getattr__(name):
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with requirements.requires(*ENGINE):
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
