"""corelm's samplers in llama.cpp, and GGUF models in corelm."""

import importlib

from corelm.interop import requirements

ENGINE = ("llama-cpp-python", "0.3.36")
"""The engine, and its oldest version that works."""

_MODULES = {
    "LlamaCppModel": "model",
    "LlamaCppSampler": "native_sampler",
    "LlamaCppVocabulary": "vocabulary",
    "as_logits_processor": "processor",
    "as_sampler": "native_sampler",
}
"""The public names, imported on first use: `corelm models` needs no llama.cpp."""

__all__ = sorted(_MODULES)


def __getattr__(name):
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with requirements.requires(*ENGINE):
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
