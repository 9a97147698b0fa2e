"""corelm's samplers in llama.cpp, and GGUF models in corelm."""

from corelm.interop import requirements

ENGINE = requirements.requires("llama-cpp-python", "0.3.36")
"""The engine, and its oldest version that works."""

_HOMES = {
    "LlamaCppModel": "model",
    "LlamaCppSampler": "native_sampler",
    "LlamaCppVocabulary": "vocabulary",
    "as_logits_processor": "processor",
    "as_sampler": "native_sampler",
}
__all__ = sorted(_HOMES)
__getattr__ = ENGINE.lazy_names(__name__, _HOMES)
