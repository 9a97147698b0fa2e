"""corelm's samplers in transformers, and transformers' models in corelm."""

from corelm.interop import requirements

ENGINE = requirements.requires("transformers", "5.18")
"""The engine, and its oldest version that works."""

_HOMES = {
    "TransformersModel": "model",
    "as_logits_processor": "processor",
    "corelm_loop": "processor",
    "from_generation_config": "generation_config",
    "from_logits_processor": "wrapped",
    "to_generation_config": "generation_config",
}
__all__ = [*_HOMES]
__getattr__ = ENGINE.lazy_names(__name__, _HOMES)
