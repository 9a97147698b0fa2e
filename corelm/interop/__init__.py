"""The toolkit for adapters of other engines, next to `EngineSampler` and `CachedSession`.

It reads tokenizers, finds models on this machine, names the version of an engine that works, and
imports TensorFlow without its messages.
"""

from corelm.interop.hub_cache import check_hub_model, hub_models
from corelm.interop.requirements import check_model_folder, requires
from corelm.interop.tokenizer_vocabulary import vocabulary_of
from corelm.models.keras_import import quiet_tensorflow

__all__ = [
    "check_hub_model",
    "check_model_folder",
    "hub_models",
    "quiet_tensorflow",
    "requires",
    "vocabulary_of",
]
