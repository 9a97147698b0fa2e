"""corelm's samplers in mlx-lm, and mlx-lm's models in corelm."""

from corelm.interop import requirements

ENGINE = requirements.requires("mlx-lm", "0.32")
"""The engine, and its oldest version that works."""

_HOMES = {"MlxModel": "model", "as_logits_processor": "processor", "as_sampler": "processor"}
__all__ = [*_HOMES]
__getattr__ = ENGINE.lazy_names(__name__, _HOMES)
