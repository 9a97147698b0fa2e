"""The toolkit for adapters of other engines, next to `EngineSampler` and `CachedSession`.

It reads tokenizers, finds models on this machine, and imports TensorFlow without its messages.
"""

from corelm.model.hub_cache import check_hub_model, hub_models
from corelm.model.keras_import import quiet_tensorflow
from corelm.model.tokenizer_vocabulary import vocabulary_of

__all__ = ["check_hub_model", "hub_models", "quiet_tensorflow", "vocabulary_of"]
